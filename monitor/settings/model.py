"""What the operator may set, with the reason of each default (editors show it, from the JSON Schema)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from monitor.errors import ConfigError
from monitor.settings.forms import (
    Duration,
    FileName,
    LabelName,
    Name,
    Occasion,
    SecretAddress,
    SigningSecret,
    Size,
    Staleness,
    Text,
    Texts,
    WebAddress,
    matching,
    signing_secret,
    web_address,
    wrong,
)
from monitor.settings.section import Section, at_most_one, exactly_one
from monitor.settings.text import Loc
from monitor.settings.watch import Watch
from rules.text import Problem

NOW: Final = timedelta(0)

Forms = Mapping[str, Callable[[str], str]]
"""How to check secrets that stand in files, by the name of their setting."""


class SecretError(ConfigError):
    """A secret's file can't be used as it is; `key` is the setting that names it."""

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__(f"{key}: {message}")


class Confidant(Section):
    """A section whose secrets stand in it or, under the same key with `_file`, in a file."""

    forms: ClassVar[Forms] = {}

    @classmethod
    def secret_names(cls) -> tuple[str, ...]:
        return tuple(name for name in cls.model_fields if f"{name}_file" in cls.model_fields)

    def read(self, name: str) -> str | None:
        """The secret as it is now: a file is read each time, so that it can be exchanged while we run.

        None if neither form is set. Raises SecretError when the file can't be read, is empty or holds
        something else.
        """
        given: SecretStr | None = getattr(self, name)
        if given is not None:
            return given.get_secret_value()
        file: str | None = getattr(self, f"{name}_file")
        return None if file is None else self._from_file(name, file)

    def _from_file(self, name: str, file: str) -> str:
        key = f"{name}_file"
        try:
            text = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise SecretError(key, f"can't read {file}: {reason}; put the secret there") from error
        if not text:
            raise SecretError(key, f"{file} is empty; it has to hold the secret and nothing else")
        try:
            return self.forms.get(name, str)(text)
        except PydanticCustomError as error:
            raise SecretError(key, f"{file}: {error.message()}") from None


class Api(Confidant):
    """Where CometChat is, and how much of its quota we may spend."""

    app_id: Annotated[Text, matching(r"[A-Za-z0-9-]{1,63}", "the app id of the dashboard")] | None = Field(
        default=None, examples=["275211"]
    )
    region: Annotated[str, matching(r"[a-z][a-z0-9-]{0,30}", "a region such as us, eu or in")] | None = Field(
        default=None, examples=["us"]
    )
    base_url: WebAddress | None = Field(
        default=None,
        examples=["http://127.0.0.1:9000/v3"],
        description="Takes the place of app_id and region: simulator, proxy, on-premise.",
    )
    api_key: SecretStr | None = None
    api_key_file: FileName | None = Field(default=None, examples=["/run/secrets/apikey"])
    requests_per_minute: int = Field(
        default=250, ge=1, le=20_000, description="Half the free plan: your product needs the rest."
    )
    share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="At most this part of what CometChat says the key has left; the rest is for others.",
    )
    timeout: Duration = Field(
        default=timedelta(seconds=30),
        gt=NOW,
        le=timedelta(minutes=5),
        description="Of one whole request; a slower answer counts as none.",
    )
    max_body: Size = Field(
        default=32 * 2**20,
        ge=2**16,
        le=2**30,
        examples=["32MiB"],
        description="Of one answer, decompressed. A page of 1,000 rows has some 2 MiB.",
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.base_url and (self.app_id or self.region):
            raise wrong("give app_id and region, or base_url alone, not both")
        if not self.base_url and not (self.app_id and self.region):
            missing = [key for key in ("app_id", "region") if not getattr(self, key)]
            raise wrong(f"{' and '.join(missing)} missing: the CometChat dashboard shows both")
        exactly_one(self, "api_key_file", "api_key")
        return self

    @property
    def app(self) -> str:
        """What the store and every alert id are bound to: the app id, else host and path of the base URL."""
        if self.app_id:
            return self.app_id
        address = urlsplit(self.base_url or "")
        return f"{address.netloc}{address.path.rstrip('/')}".lower()

    def key(self) -> str:
        """The API key as it is now. Raises SecretError."""
        return self.read("api_key") or ""


class Poll(Section):
    """How often we ask."""

    min_interval: Duration = Field(
        default=timedelta(seconds=2),
        ge=timedelta(milliseconds=100),
        description="For one user; nobody reacts to an alert faster.",
    )
    max_staleness: Staleness = Field(default="auto", description="auto: 4 x users / budget.")
    page_size: int = Field(
        default=100, ge=1, le=1000, description="What the official SDK asks for; catching up takes more."
    )
    settle: Duration = Field(
        default=timedelta(seconds=10),
        ge=NOW,
        le=timedelta(minutes=10),
        description="A row with a smaller id may turn up this late; the stored cursor waits for it.",
    )
    second_look: Occasion = Field(
        default=timedelta(days=1),
        description="How often the end of each list is compared with what was read of it, or off. "
        "At most one request in 20 is spent on it.",
    )
    updates: Occasion = Field(
        default="off",
        examples=["5m"],
        description="How often each list is asked for messages that changed after they were sent: moderated, "
        "edited, deleted. Not documented by CometChat: ask `cometwatch doctor` first. At most one request in "
        "20 is spent on it and second looks.",
    )
    concurrency: int = Field(
        default=64,
        ge=1,
        le=500,
        description="Requests in flight, each on its own connection: polls a second times their seconds.",
    )


DatabaseUrl = Annotated[str, matching(r"sqlite:///.+", "a path behind sqlite:///", is_quoted=False)]


class StoreSettings(Section):
    """Where we remember."""

    url: DatabaseUrl = "sqlite:////var/lib/cometwatch/cometwatch.db"


class Server(Section):
    """Metrics, health and the status page."""

    listen: Annotated[Text, matching(r"(\[[0-9a-fA-F:.]+\]|[^\s:/]*):\d{1,5}", "host:port")] = Field(
        default="127.0.0.1:9464", examples=["0.0.0.0:9464"]
    )
    hosts: tuple[str, ...] = Field(
        default=(),
        examples=[["status.example.net"]],
        description="Names under which the page may be opened, beside addresses and localhost.",
    )


class Rules(Section):
    """What is looked for: shipped packs and files of your own."""

    packs: tuple[str, ...] = ("missed-calls", "attachments", "mentions")
    files: tuple[FileName, ...] = Field(
        default=(), examples=[["/etc/cometwatch/rules/*.yaml"]], description="Paths, or patterns with *."
    )
    shadow: tuple[str, ...] = Field(
        default=(),
        examples=[["big-attachment"]],
        description="Rules whose alerts are recorded and counted, and sent to nobody.",
    )
    off: tuple[str, ...] = Field(
        default=(), examples=[["mention"]], description="Rules that are checked and not run."
    )


class SlackSink(Confidant):
    """A Slack incoming webhook."""

    webhook_url: SecretAddress | None = None
    webhook_url_file: FileName | None = Field(default=None, examples=["/run/secrets/slack"])

    forms: ClassVar[Forms] = {"webhook_url": web_address}

    @model_validator(mode="after")
    def _one_url(self) -> Self:
        exactly_one(self, "webhook_url_file", "webhook_url")
        return self

    def address(self) -> str:
        """The webhook's address as it is now. Raises SecretError."""
        return self.read("webhook_url") or ""


class WebhookSink(Confidant):
    """Any receiver of signed Standard Webhooks."""

    url: SecretAddress | None = Field(default=None, examples=["https://hooks.example.net/chat"])
    url_file: FileName | None = Field(default=None, examples=["/run/secrets/hook"])
    secret: SigningSecret | None = None
    secret_file: FileName | None = Field(default=None, examples=["/run/secrets/whsec"])
    previous_secret: SigningSecret | None = Field(
        default=None, description="Signs too, until the receiver knows the new one."
    )
    previous_secret_file: FileName | None = Field(default=None, examples=["/run/secrets/whsec-previous"])
    headers: dict[Annotated[str, matching(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", "a header name")], SecretStr] = (
        Field(default={}, examples=[{"X-Team": "payments"}])
    )

    forms: ClassVar[Forms] = {
        "url": web_address, "secret": signing_secret, "previous_secret": signing_secret,
    }  # fmt: skip

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        exactly_one(self, "url", "url_file")
        at_most_one(self, "secret", "secret_file")
        at_most_one(self, "previous_secret", "previous_secret_file")
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


class ConsoleSink(Section):
    """Writes alerts to standard output."""


SINKS: Final = ("slack", "webhook", "console")
RATES: Final = {"slack": 1.0, "webhook": 20.0, "console": 100.0}  # Slack's own limit is one a second


class Receiver(Section):
    """A named destination: exactly one of slack, webhook, console."""

    name: Name = Field(examples=["oncall"])
    slack: SlackSink | None = None
    webhook: WebhookSink | None = None
    console: ConsoleSink | None = None
    text: Literal["none", "preview", "full"] = Field(
        default="none", description="How much of a message's text leaves the house."
    )
    links: bool = Field(default=False, description="Whether links to media leave it; they may be signed.")
    timeout: Duration = Field(default=timedelta(seconds=10), gt=NOW, le=timedelta(minutes=2))
    rate: float | None = Field(
        default=None, gt=0, le=1000, examples=[1], description="Sends a second. Slack 1, webhook 20."
    )
    summary_over: int = Field(
        default=20, ge=2, description="With more waiting than a person reads, one message sums them up."
    )

    @model_validator(mode="before")
    @classmethod
    def _bare_console(cls, value: Any) -> Any:
        if isinstance(value, dict) and "console" in value and value["console"] is None:
            return {**value, "console": {}}
        return value

    @model_validator(mode="after")
    def _one_sink(self) -> Self:
        exactly_one(self, *SINKS)
        return self

    @property
    def sink(self) -> str:
        return next(name for name in SINKS if getattr(self, name) is not None)

    @property
    def rate_per_s(self) -> float:
        return self.rate or RATES[self.sink]


class Route(Section):
    """Alerts whose labels match go to these receivers; the first match wins unless it says `continue`."""

    match: dict[LabelName, Texts] = Field(default={}, examples=[{"severity": ["critical", "warning"]}])
    receivers: tuple[Name, ...] = Field(min_length=1, examples=[["oncall"]])
    continue_: bool = Field(default=False, alias="continue")


LinkTemplate = Annotated[
    str, matching(r"https?://\S+", "a link such as https://support.example/{conversation_id}")
]


class Alerts(Section):
    """What every alert carries."""

    link: LinkTemplate | None = Field(
        default=None,
        examples=["https://support.example/{conversation_id}"],
        description="Into your own tools.",
    )


class Log(Section):
    """What we say of ourselves, on standard error."""

    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="auto: console on a terminal, else JSON lines."
    )
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section):
    """Everything; made by `load`."""

    api: Api = Field(examples=[{"app_id": "275211", "region": "us", "api_key_file": "/run/secrets/apikey"}])
    watch: Watch = Field(examples=[{"users": ["superhero2"]}])
    poll: Poll = Poll()
    store: StoreSettings = StoreSettings()
    server: Server = Server()
    rules: Rules = Rules()
    receivers: tuple[Receiver, ...] = Field(
        default=(), examples=[[{"name": "oncall", "slack": {"webhook_url_file": "/run/secrets/slack"}}]]
    )
    routes: tuple[Route, ...] = Field(
        default=(),
        examples=[[{"receivers": ["oncall"]}]],
        description="Without any, all go to every receiver.",
    )
    alerts: Alerts = Alerts()
    alert_max_age: Duration = Field(
        default=timedelta(hours=1), gt=NOW, description="Older when found: part of a digest, never a page."
    )
    retention: Duration = Field(
        default=timedelta(days=30),
        ge=timedelta(days=1),
        description="How long settled alerts are kept; their ids are known for ever.",
    )
    blind_after: Duration = Field(
        default=timedelta(minutes=3),
        ge=timedelta(seconds=10),
        description="Receivers are told when we could not read CometChat for so long.",
    )
    drain_timeout: Duration = Field(
        default=timedelta(seconds=10),
        ge=NOW,
        le=timedelta(minutes=5),
        description="For the last deliveries after SIGTERM; Kubernetes kills after 30 s.",
    )
    log: Log = Log()

    _warnings: tuple[Problem, ...] = PrivateAttr(())

    @model_validator(mode="before")
    @classmethod
    def _all_to_everybody(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "routes" in value or not isinstance(value.get("receivers"), list):
            return value
        names = [one.get("name") for one in value["receivers"] if isinstance(one, dict)]
        return {**value, "routes": [{"receivers": names}]} if names and all(names) else value

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What works but was probably not meant."""
        return self._warnings


def confidants(settings: Settings) -> Iterator[tuple[Loc, Confidant]]:
    """The sections that hold secrets, each with its way through the YAML keys."""
    yield ("api",), settings.api
    for position, receiver in enumerate(settings.receivers):
        if sink := receiver.slack or receiver.webhook:
            yield ("receivers", position, receiver.sink), sink


def known_secrets(settings: Settings) -> frozenset[str]:
    """All secrets that can be read now, so that logs can leave them out wherever they turn up."""
    found: set[str] = set()
    for _, section in confidants(settings):
        for name in section.secret_names():
            try:
                found.add(section.read(name) or "")
            except SecretError:
                continue  # what we can't read we can't leak
        if isinstance(section, WebhookSink):
            found.update(value.get_secret_value() for value in section.headers.values())
    return frozenset(found - {""})


def redacted(settings: Settings) -> dict[str, Any]:
    """The settings as they are in force, for people: durations as text, secrets as stars."""
    return settings.model_dump(mode="json", by_alias=True, exclude_none=True)


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the settings file, for editors."""
    made = Settings.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "Cometwatch settings"}
