"""Receivers, as the operator writes them: a name, one protocol with what it needs, and what holds for all."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, SecretStr, model_validator

from monitor.settings.forms import (
    Duration,
    FileName,
    LabelName,
    Name,
    SecretAddress,
    SigningSecret,
    Text,
    WebAddress,
    matching,
    signing_secret,
    web_address,
    wrong,
)
from monitor.settings.secrets import Confidant, Forms, SecretError, from_file
from monitor.settings.section import Section, at_most_one, exactly_one

NOW: Final = timedelta(0)

CHANNEL: Final = "a channel's id such as C0123456789, from its details (Slack can't search by name)"
HeaderName = Annotated[str, matching(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", "a header name")]


class Slack(Confidant):
    """A Slack app's bot, which edits what it posted; or an incoming webhook, which can't."""

    token: SecretStr | None = None
    token_file: FileName | None = Field(default=None, examples=["/run/secrets/slack-bot"])
    channel: Annotated[Text, matching(r"[CGD][A-Z0-9]{2,20}", CHANNEL)] | None = Field(
        default=None, examples=["C0123456789"], description="Where the bot posts; invite it there."
    )
    webhook_url: SecretAddress | None = None
    webhook_url_file: FileName | None = Field(default=None, examples=["/run/secrets/slack"])
    url: WebAddress = Field(default="https://slack.com/api", description="Of the Web API.")

    forms: ClassVar[Forms] = {"webhook_url": web_address}

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        exactly_one(self, "token_file", "token", "webhook_url_file", "webhook_url")
        if self.is_bot and not self.channel:
            raise wrong("channel missing: where the bot posts, for example channel: C0123456789")
        if not self.is_bot and self.channel:
            raise wrong("channel belongs to a bot's token_file; a webhook has its channel")
        return self

    @property
    def is_bot(self) -> bool:
        return self.token is not None or self.token_file is not None

    def bot_token(self) -> str:
        """The bot's token as it is now. Raises SecretError."""
        return self.read("token") or ""

    def address(self) -> str:
        """The webhook's address as it is now. Raises SecretError."""
        return self.read("webhook_url") or ""


class Webhook(Confidant):
    """Any receiver of signed Standard Webhooks, or of CloudEvents."""

    url: SecretAddress | None = Field(default=None, examples=["https://hooks.example.net/chat"])
    url_file: FileName | None = Field(default=None, examples=["/run/secrets/hook"])
    secret: SigningSecret | None = None
    secret_file: FileName | None = Field(default=None, examples=["/run/secrets/whsec"])
    previous_secret: SigningSecret | None = Field(
        default=None, description="Signs too, until the receiver knows the new one."
    )
    previous_secret_file: FileName | None = Field(default=None, examples=["/run/secrets/whsec-previous"])
    headers: dict[HeaderName, SecretStr] = Field(default={}, examples=[{"X-Team": "payments"}])
    header_files: dict[HeaderName, FileName] = Field(
        default={},
        examples=[{"Authorization": "/run/secrets/hook-token"}],
        description="Headers whose values stand in files, read for each send.",
    )
    format: Literal["standard", "cloudevents-structured", "cloudevents-binary"] = Field(
        default="standard", description="The body: ours as it is, or in a CloudEvents 1.0 envelope."
    )

    forms: ClassVar[Forms] = {
        "url": web_address, "secret": signing_secret, "previous_secret": signing_secret,
    }  # fmt: skip

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        exactly_one(self, "url", "url_file")
        at_most_one(self, "secret", "secret_file")
        at_most_one(self, "previous_secret", "previous_secret_file")
        if twice := self.headers.keys() & self.header_files.keys():
            raise wrong(f"{sorted(twice)[0]} stands under headers and under header_files: take one")
        if (self.previous_secret or self.previous_secret_file) and not (self.secret or self.secret_file):
            raise wrong("previous_secret stands beside secret_file (or secret), never alone")
        return self

    def address(self) -> str:
        """Where to post, as it is now. Raises SecretError."""
        return self.read("url") or ""

    def signing_secrets(self) -> tuple[str, ...]:
        """The secrets to sign with as they are now, the newest first. Raises SecretError."""
        both = (self.read("secret"), self.read("previous_secret"))
        return tuple(secret for secret in both if secret)

    def extra_headers(self) -> Mapping[str, str]:
        """Our own headers as they are now. Raises SecretError."""
        given = {name: value.get_secret_value() for name, value in self.headers.items()}
        return {
            **given,
            **{name: from_file("header_files", file) for name, file in self.header_files.items()},
        }

    def known_secrets(self) -> Iterator[str]:
        yield from super().known_secrets()
        yield from (value.get_secret_value() for value in self.headers.values())
        for file in self.header_files.values():
            with suppress(SecretError):
                yield from_file("header_files", file)

    def secret_errors(self) -> Iterator[SecretError]:
        yield from super().secret_errors()
        try:
            self.extra_headers()
        except SecretError as error:
            yield error


class Alertmanager(Confidant):
    """Prometheus Alertmanager by its v2 API: every instance is told, as Prometheus does it."""

    urls: tuple[WebAddress, ...] = Field(
        min_length=1,
        examples=[["http://alertmanager-0:9093", "http://alertmanager-1:9093"]],
        description="All instances of a cluster: they share silences, not alerts.",
    )
    username: Text | None = None
    password: SecretStr | None = None
    password_file: FileName | None = None
    token: SecretStr | None = None
    token_file: FileName | None = Field(default=None, description="Sent as a bearer token.")
    labels: dict[LabelName, Text] = Field(
        default={}, examples=[{"source": "chat"}], description="Added to every alert's own."
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if any("/api/v" in url for url in self.urls):
            raise wrong(
                "urls are Alertmanager's own, without /api/v2/alerts, for example http://alertmanager-0:9093"
            )
        at_most_one(self, "password_file", "password")
        at_most_one(self, "token_file", "token")
        has_password, has_token = self.password or self.password_file, self.token or self.token_file
        if has_password and has_token:
            raise wrong("give username and password_file, or token_file, not both")
        if bool(has_password) != bool(self.username):
            raise wrong("username and password_file belong together")
        return self

    def credentials(self) -> tuple[str, str] | None:
        """User and password as they are now, if they are asked for. Raises SecretError."""
        return (self.username, self.read("password") or "") if self.username else None

    def bearer(self) -> str | None:
        """The token as it is now. Raises SecretError."""
        return self.read("token")


class PagerDuty(Confidant):
    """A PagerDuty service by its Events API v2 integration."""

    routing_key: SecretStr | None = None
    routing_key_file: FileName | None = Field(default=None, examples=["/run/secrets/pagerduty"])
    url: WebAddress = Field(
        default="https://events.pagerduty.com", description="https://events.eu.pagerduty.com in the EU."
    )

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        exactly_one(self, "routing_key_file", "routing_key")
        return self

    def key(self) -> str:
        """The integration's key as it is now. Raises SecretError."""
        return self.read("routing_key") or ""


class Jsm(Confidant):
    """Jira Service Management operations (what Opsgenie became) by an API integration."""

    api_key: SecretStr | None = None
    api_key_file: FileName | None = Field(default=None, examples=["/run/secrets/jsm"])
    url: WebAddress = "https://api.atlassian.com/jsm/ops/integration"

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        exactly_one(self, "api_key_file", "api_key")
        return self

    def key(self) -> str:
        """The integration's key as it is now. Raises SecretError."""
        return self.read("api_key") or ""


class _ByAddress(Confidant):
    """A service whose whole secret is an address."""

    webhook_url: SecretAddress | None = None
    webhook_url_file: FileName | None = Field(default=None, examples=["/run/secrets/channel"])

    forms: ClassVar[Forms] = {"webhook_url": web_address}

    @model_validator(mode="after")
    def _one_url(self) -> Self:
        exactly_one(self, "webhook_url_file", "webhook_url")
        return self

    def address(self) -> str:
        """The address as it is now. Raises SecretError."""
        return self.read("webhook_url") or ""


class Teams(_ByAddress):
    """A Microsoft Teams channel, by a workflow that posts what it gets."""


class Discord(_ByAddress):
    """A Discord channel, by its webhook."""


class Telegram(Confidant):
    """A Telegram chat, by a bot that is in it."""

    token: SecretStr | None = None
    token_file: FileName | None = Field(default=None, examples=["/run/secrets/telegram"])
    chat_id: Annotated[Text, matching(r"-?\d{1,20}|@\w{5,32}", "a chat's number or @channel")] = Field(
        examples=["-1001234567890"]
    )
    url: WebAddress = "https://api.telegram.org"

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        exactly_one(self, "token_file", "token")
        return self

    def bot_token(self) -> str:
        """The bot's token as it is now. Raises SecretError."""
        return self.read("token") or ""


class Apprise(Confidant):
    """Over a hundred other services, e-mail among them, by Apprise: pip install 'cometwatch[apprise]'."""

    urls: SecretStr | None = Field(default=None, description="Apprise URLs, one a line.")
    urls_file: FileName | None = Field(default=None, examples=["/run/secrets/apprise"])

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        exactly_one(self, "urls_file", "urls")
        return self

    def addresses(self) -> tuple[str, ...]:
        """The URLs as they are now; lines that begin with # are notes. Raises SecretError."""
        lines = (line.strip() for line in (self.read("urls") or "").splitlines())
        return tuple(line for line in lines if line and not line.startswith("#"))

    def known_secrets(self) -> Iterator[str]:
        for text in super().known_secrets():
            yield from text.splitlines()


class Console(Section):
    """Writes alerts to standard output."""


Sink = Slack | Webhook | Alertmanager | PagerDuty | Jsm | Teams | Discord | Telegram | Apprise | Console

SINKS: Final = (
    *("slack", "webhook", "alertmanager", "pagerduty", "jsm", "teams", "discord", "telegram", "apprise"),
    "console",
)
RATES: Final = {"slack": 1.0, "teams": 1.0, "discord": 1.0, "telegram": 1.0, "apprise": 1.0, "pagerduty": 2.0,
    "console": 100.0,
}  # fmt: skip
"""Sends a second where nothing else is set: what chats take (https://docs.slack.dev/apis/web-api/rate-limits)."""
MACHINE_RATE: Final = 20.0


KEY_OF_CERT: Final = "which stands there too, or in key_file; it has no password"


class Tls(Section):
    """Whom we trust there, and who we are."""

    ca_file: FileName | None = Field(
        default=None, examples=["/etc/ssl/own-ca.pem"], description="In place of the public authorities."
    )
    cert_file: FileName | None = Field(default=None, description="Ours, if the receiver asks for one.")
    key_file: FileName | None = None

    @model_validator(mode="after")
    def _a_pair(self) -> Self:
        if self.key_file and not self.cert_file:
            raise wrong("key_file belongs to a cert_file")
        return self

    def troubles(self) -> Iterator[tuple[str, str]]:
        """What keeps its files from being used now, each with the key that names the file."""
        named = {key: getattr(self, key) for key in ("ca_file", "cert_file", "key_file")}
        missing = [(key, trouble) for key, file in named.items() if file and (trouble := _unreadable(file))]
        yield from missing
        if self.ca_file and not missing:
            try:
                ssl.create_default_context(cafile=self.ca_file)
            except ssl.SSLError:
                yield "ca_file", f"{self.ca_file} holds no certificates in PEM"
        if self.cert_file and not missing:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
                    self.cert_file, self.key_file, password=""
                )
            except ssl.SSLError:
                yield (
                    "cert_file",
                    f"{self.cert_file} holds no certificate in PEM that fits its key, {KEY_OF_CERT}",
                )


def _unreadable(file: str) -> str | None:
    try:
        with Path(file).open("rb"):
            return None
    except OSError as error:
        return f"can't read {file}: {error.strerror}"


class Fallback(Section):
    """Who is told when a receiver takes nothing."""

    receiver: Name = Field(examples=["lead"])
    after: dict[Literal["critical", "warning", "info"], Duration] = Field(
        default={},
        examples=[{"critical": "2m"}],
        description="By severity: critical 2m, warning 10m, info 1h.",
    )


class Receiver(Section):
    """A named destination: exactly one protocol, and what holds for all of them."""

    name: Name = Field(examples=["oncall"])
    slack: Slack | None = None
    webhook: Webhook | None = None
    alertmanager: Alertmanager | None = None
    pagerduty: PagerDuty | None = None
    jsm: Jsm | None = None
    teams: Teams | None = None
    discord: Discord | None = None
    telegram: Telegram | None = None
    apprise: Apprise | None = None
    console: Console | None = None
    text: Literal["none", "preview", "full"] = Field(
        default="none", description="How much of a message's text leaves the house."
    )
    links: bool = Field(default=False, description="Whether links to media leave it; they may be signed.")
    timeout: Duration = Field(default=timedelta(seconds=10), gt=NOW, le=timedelta(minutes=2))
    rate: float | None = Field(
        default=None, gt=0, le=1000, examples=[1], description="Sends a second. Chats 1, machines 20."
    )
    summary_over: int = Field(
        default=20, ge=2, description="With more waiting than a person reads, one message sums them up."
    )
    fallback: Fallback | None = None
    addresses: Literal["any", "public"] = Field(
        default="any",
        description="public: refuse private addresses too. Link-local and metadata ones are refused always.",
    )
    tls: Tls = Tls()

    @model_validator(mode="before")
    @classmethod
    def _bare_console(cls, value: Any) -> Any:
        if isinstance(value, dict) and "console" in value and value["console"] is None:
            return {**value, "console": {}}
        return value

    @model_validator(mode="after")
    def _one_sink(self) -> Self:
        exactly_one(self, *SINKS)
        if self.fallback and self.fallback.receiver == self.name:
            raise wrong("fallback.receiver is another one than the receiver itself")
        if self.apprise and (self.addresses == "public" or self.tls != Tls()):
            raise wrong("addresses and tls don't hold for apprise, which connects by itself: leave them out")
        return self

    @property
    def key(self) -> str:
        """The key of its protocol's section."""
        return next(name for name in SINKS if getattr(self, name) is not None)

    @property
    def section(self) -> Sink:
        found: Sink = getattr(self, self.key)
        return found

    @property
    def rate_per_s(self) -> float:
        return self.rate or RATES.get(self.key, MACHINE_RATE)


class Heartbeat(Confidant):
    """A sign of life, given only while the whole road works; who waits for it tells if it stays away."""

    url: SecretAddress | None = Field(default=None, examples=["https://hc-ping.com/…"])
    url_file: FileName | None = Field(default=None, examples=["/run/secrets/heartbeat"])
    alertmanager: Name | None = Field(
        default=None,
        examples=["cluster"],
        description="A receiver of that protocol: it is told of CometwatchWatchdog, which always fires.",
    )
    every: Duration = Field(
        default=timedelta(minutes=1), ge=timedelta(seconds=10), le=timedelta(days=1), examples=["1m"]
    )
    queue_limit: Duration = Field(
        default=timedelta(minutes=15),
        ge=timedelta(minutes=1),
        description="None is given while something has waited for a receiver for longer.",
    )

    forms: ClassVar[Forms] = {"url": web_address}

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        exactly_one(self, "url_file", "url", "alertmanager")
        return self

    def address(self) -> str:
        """Where to ask, as it is now. Raises SecretError."""
        return self.read("url") or ""
