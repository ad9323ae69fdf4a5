"""The status page: one self-contained document, made from values."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib.resources import files

import jinja2

from monitor.store.values import Ack, Silence
from monitor.web.view import AlertView, StatusView, readiness, span
from rules.model import AlertId, Value


def _ago(then: datetime | None, now: datetime) -> str:
    return "never" if then is None else f"{span(now - then)} ago" if then <= now else f"in {span(then - now)}"


def _seconds(count: float | None) -> str:
    return "–" if count is None else span(timedelta(seconds=count))


def _exact(then: datetime) -> str:
    return f"{then:%Y-%m-%d %H:%M:%S} UTC"


class Shown(Value, frozen=True, kw_only=True):
    """What the page shows of the store."""

    alerts: tuple[AlertView, ...] = ()  #: the latest
    acks: Mapping[AlertId, Ack] = {}  #: of these
    silences: tuple[Silence, ...] = ()  #: in force and to come


class Page:
    """The template, and the policy that lets exactly its own style and script run."""

    def __init__(self) -> None:
        folder = files("monitor.web")
        self._style = (folder / "status.css").read_text("utf-8")
        self._script = (folder / "status.js").read_text("utf-8")
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters.update(ago=_ago, seconds=_seconds, exact=_exact)
        self._template = environment.from_string((folder / "status.html").read_text("utf-8"))

    @property
    def policy(self) -> str:
        """The Content-Security-Policy that goes with the page."""
        return (
            f"default-src 'none'; style-src {_hash(self._style)}; script-src {_hash(self._script)}; "
            "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def render(self, view: StatusView, shown: Shown, *, trouble: str | None = None) -> str:
        """The page at `view.now`. `trouble` says why the store could not be read."""
        reasons = readiness(view, view.now)
        return self._template.render(
            view=view,
            now=view.now,
            reasons=reasons,
            hidden=max(0, view.lists.total - len(view.worst)),
            pending=sum(depth.pending for depth in view.receivers),
            dead=sum(depth.dead for depth in view.receivers),
            alerts=shown.alerts,
            acks=shown.acks,
            silences=shown.silences,
            trouble=trouble,
            style=self._style,
            script=self._script,
        )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
