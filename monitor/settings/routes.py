"""Routes, as the operator writes them: a tree, as in Alertmanager."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

from monitor.delivery.matchers import parse
from monitor.errors import ConfigError
from monitor.settings.forms import Duration, LabelName, Name, Text, Texts, matching, several, wrong
from monitor.settings.section import Section
from monitor.settings.text import Loc

NOW: Final = timedelta(0)


def _matcher(text: str) -> str:
    try:
        parse(text)
    except ConfigError as error:
        raise wrong(str(error)) from None
    return text


MatcherText = Annotated[Text, AfterValidator(_matcher)]
Matchers = Annotated[tuple[MatcherText, ...], BeforeValidator(several)]


GroupLabel = Annotated[
    Text, matching(r"[A-Za-z_][A-Za-z0-9_]{0,62}|\.\.\.", "a label name, or ... for each alone")
]


class Step(Section):
    """Who else is told, when nobody has resolved or acknowledged an alert for so long."""

    after: Duration = Field(gt=NOW, le=timedelta(days=7), examples=["15m"])
    receivers: tuple[Name, ...] = Field(min_length=1, examples=[["lead"]])


class Route(Section):
    """Alerts whose labels match go to these receivers; the first match wins unless it says `continue`.

    The routes inside of a route are tried first; what they do not say is as it says.
    """

    match: dict[LabelName, Texts] = Field(default={}, examples=[{"severity": ["critical", "warning"]}])
    matchers: Matchers = Field(
        default=(), examples=[["team!=payments"]], description="As in Alertmanager: = != =~ !~."
    )
    receivers: tuple[Name, ...] | None = Field(
        default=None,
        examples=[["oncall"]],
        description="[], not within another route: nobody is to hear of these; they are recorded.",
    )
    continue_: bool = Field(default=False, alias="continue")
    routes: tuple[Route, ...] = Field(default=(), description="Tried first, for what this one takes.")
    group_by: tuple[GroupLabel, ...] | None = Field(
        default=None,
        examples=[["rule", "team"]],
        description="Alerts that agree in these labels are told together. Without it each is told at once.",
    )
    group_wait: Duration | None = Field(
        default=None, ge=NOW, examples=["30s"], description="For more of a group, before it is told of: 30s."
    )
    group_interval: Duration | None = Field(
        default=None, ge=NOW, examples=["5m"], description="Between two messages about a group: 5m."
    )
    repeat_interval: Duration | None = Field(
        default=None,
        ge=timedelta(seconds=1),
        examples=["4h"],
        description="After which what still fires is told again: 4h for groups; without group_by, never.",
    )
    during: Text | None = Field(
        default=None, examples=["office"], description="A calendar of the rules: takes alerts only then."
    )
    except_: Text | None = Field(
        default=None, alias="except", examples=["office"], description="A calendar: takes none then."
    )
    escalate: tuple[Step, ...] = Field(default=(), examples=[[{"after": "15m", "receivers": ["lead"]}]])

    @property
    def takes_everything(self) -> bool:
        """Whether no alert ever gets to the routes behind it."""
        has_terms = self.match or self.matchers or self.during or self.except_
        return not has_terms and not self.continue_


def walk(routes: Any, at: Loc = ("routes",)) -> Iterator[tuple[Loc, Any]]:
    """Every route of a tree, written or read, with its way through the YAML keys; the outer ones first."""
    for number, route in enumerate(routes if isinstance(routes, list | tuple) else ()):
        loc = (*at, number)
        yield loc, route
        inner = route.get("routes") if isinstance(route, dict) else getattr(route, "routes", ())
        yield from walk(inner, (*loc, "routes"))
