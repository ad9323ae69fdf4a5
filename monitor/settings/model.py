"""What the operator may set, with the reason of each default (editors show it, from the JSON Schema)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, SecretStr, model_validator

from monitor.settings.forms import (
    BearerToken,
    Duration,
    FileName,
    Occasion,
    Size,
    Staleness,
    Text,
    WebAddress,
    bearer_token,
    matching,
    wrong,
)
from monitor.settings.receivers import Heartbeat, Receiver
from monitor.settings.routes import Route
from monitor.settings.secrets import Confidant, Forms
from monitor.settings.section import Section, at_most_one, exactly_one
from monitor.settings.text import Loc
from monitor.settings.watch import Watch
from rules.text import Problem

NOW: Final = timedelta(0)


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


class Server(Confidant):
    """Metrics, health and the status page."""

    listen: Annotated[Text, matching(r"(\[[0-9a-fA-F:.]+\]|[^\s:/]*):\d{1,5}", "host:port")] = Field(
        default="127.0.0.1:9464", examples=["0.0.0.0:9464"]
    )
    hosts: tuple[str, ...] = Field(
        default=(),
        examples=[["status.example.net"]],
        description="Names under which the page may be opened, beside addresses and localhost.",
    )
    token: BearerToken | None = None
    token_file: FileName | None = Field(
        default=None,
        examples=["/run/secrets/cometwatch-token"],
        description="Its bearer may silence and acknowledge over HTTP; without it, nobody.",
    )

    forms: ClassVar[Forms] = {"token": bearer_token}

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        at_most_one(self, "token_file", "token")
        return self

    def bearer(self) -> str | None:
        """The token as it is now, None if none is set. Raises SecretError."""
        return self.read("token")


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
    heartbeats: tuple[Heartbeat, ...] = Field(
        default=(),
        examples=[[{"url_file": "/run/secrets/heartbeat", "every": "1m"}]],
        description="Asked while the whole road works: who listens there misses us when it does not.",
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
    yield ("server",), settings.server
    for position, receiver in enumerate(settings.receivers):
        if isinstance(section := receiver.section, Confidant):
            yield ("receivers", position, receiver.key), section
    for position, heartbeat in enumerate(settings.heartbeats):
        yield ("heartbeats", position), heartbeat


def known_secrets(settings: Settings) -> frozenset[str]:
    """All secrets that can be read now, so that logs can leave them out wherever they turn up."""
    found: set[str] = set()
    for _, section in confidants(settings):
        found.update(section.known_secrets())
    return frozenset(found - {""})


def redacted(settings: Settings) -> dict[str, Any]:
    """The settings as they are in force, for people: durations as text, secrets as stars."""
    return settings.model_dump(mode="json", by_alias=True, exclude_none=True)


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the settings file, for editors."""
    made = Settings.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "Cometwatch settings"}
