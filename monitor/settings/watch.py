"""Whose messages are watched: single users, cohorts of them, groups; and how much each of them matters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from monitor.settings.forms import (
    Duration,
    FileName,
    Guid,
    LabelName,
    Name,
    Staleness,
    Start,
    Text,
    Uid,
    matching,
    wrong,
)
from monitor.settings.section import Section, exactly_one

Word = Annotated[Text, matching(r"[^,\x00-\x1f\x7f]{1,100}", "1 to 100 characters without commas")]
Source = Literal["user", "user-all", "app", "groups"]


class Terms(Section):
    """What one list is worth to the scheduler."""

    weight: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        strict=True,
        examples=[25],
        description="Requests go by the root of it: 25 means five times as many as 1.",
    )
    max_staleness: Staleness | None = Field(
        default=None,
        examples=["30s"],
        description="The age this list shall not exceed; without it poll.max_staleness holds.",
    )


def _or_a_uid(made: dict[str, Any]) -> None:
    made["type"] = ["string", "integer", "object"]


class WatchedUser(Terms):
    """One uid, or `{uid: …, labels: …}`; its alerts carry the labels and routes match them."""

    model_config = ConfigDict(json_schema_extra=_or_a_uid)

    uid: Uid = Field(examples=["superhero2"])
    labels: dict[LabelName, Text] = Field(default={}, examples=[{"team": "payments"}])

    @model_validator(mode="before")
    @classmethod
    def _uid_alone(cls, value: Any) -> Any:
        return value if isinstance(value, dict | cls) else {"uid": value}


class WatchedGroup(Terms):
    """One guid, or `{guid: …, weight: …}`: a group whose own list is read, whoever is in it."""

    model_config = ConfigDict(json_schema_extra=_or_a_uid)

    guid: Guid = Field(examples=["hiking"])

    @model_validator(mode="before")
    @classmethod
    def _guid_alone(cls, value: Any) -> Any:
        return value if isinstance(value, dict | cls) else {"guid": value}


class Discover(Section):
    """What to ask CometChat for (`GET /users`); all of it has to hold, and `{}` means everybody."""

    search: Text | None = Field(
        default=None, examples=["help"], description="The beginning of a name or uid."
    )
    roles: tuple[Word, ...] = Field(default=(), max_length=100, examples=[["agent"]])
    tags: tuple[Word, ...] = Field(default=(), max_length=100, examples=[["support"]])
    status: Literal["available", "offline"] | None = Field(
        default=None, examples=["available"], description="As it is at the moment of asking."
    )


class Cohort(Terms):
    """Users with something in common: written here, in a file, or found by asking CometChat."""

    name: Name = Field(examples=["support"], description="In metrics, logs and the store.")
    users: tuple[Uid, ...] | None = Field(default=None, min_length=1, examples=[["superhero4"]])
    file: FileName | None = Field(
        default=None,
        examples=["/etc/cometwatch/agents.txt"],
        description="One uid a line, # begins a comment. Read again when it changes.",
    )
    discover: Discover | None = Field(
        default=None,
        examples=[{"tags": ["support"]}],
        description="Asked again every watch.refresh; {} means everybody.",
    )
    labels: dict[LabelName, Text] = Field(default={}, examples=[{"tier": "gold"}])

    @model_validator(mode="before")
    @classmethod
    def _bare_discover(cls, value: Any) -> Any:
        if isinstance(value, dict) and "discover" in value and value["discover"] is None:
            return {**value, "discover": {}}
        return value

    @model_validator(mode="after")
    def _one_way_to_know(self) -> Self:
        exactly_one(self, "users", "file", "discover")
        return self


class Watch(Section):
    """Whose messages are watched, from when, and through which list."""

    users: tuple[WatchedUser, ...] = Field(
        default=(),
        examples=[["superhero2", {"uid": "superhero3", "labels": {"team": "payments"}}]],
        description="May be empty beside cohorts or groups. Wins over cohorts that have the user as well.",
    )
    cohorts: tuple[Cohort, ...] = Field(
        default=(),
        examples=[[{"name": "agents", "file": "/etc/cometwatch/agents.txt", "max_staleness": "2m"}]],
        description="Of several cohorts that have a user the first one counts.",
    )
    groups: tuple[WatchedGroup, ...] = Field(
        default=(),
        examples=[["hiking", {"guid": "book-club", "weight": 2, "max_staleness": "1m"}]],
        description="CometChat groups whose own lists are read.",
    )
    refresh: Duration = Field(
        default=timedelta(minutes=5),
        ge=timedelta(seconds=10),
        le=timedelta(days=1),
        description="How often cohorts that are discovered are asked for again.",
    )
    grace: Duration = Field(
        default=timedelta(days=1),
        ge=timedelta(0),
        le=timedelta(days=365),
        description="How long who is no longer found stays watched, and who is unwatched is remembered.",
    )
    start: Start = Field(default="now", description="For users that are new in the store; stored once.")
    source: Source = Field(
        default="user",
        description="user: the one-to-one list of each user. user-all: their groups too, if the key may read "
        "them. app: one list for all. groups: only the lists of watch.groups. See: doctor.",
    )

    @field_validator("source")
    @classmethod
    def _lists_to_read(cls, source: Source, known: ValidationInfo) -> Source:
        if source == "groups" and known.data.get("groups") == ():
            raise wrong(
                "groups reads the lists of watch.groups and no others, and there are none: "
                "add groups: [hiking], or choose another source"
            )
        return source

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not (self.users or self.cohorts or self.groups):
            raise wrong("nobody is watched: give users, cohorts or groups")
        return self

    @property
    def discovered(self) -> Iterator[tuple[str, Discover]]:
        """The cohorts that CometChat is asked for, in their order."""
        return ((one.name, one.discover) for one in self.cohorts if one.discover is not None)
