"""Every query of the dashboard. `python -m tests.deploy.queries` prints them as a rule file, for promtool."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import yaml

from tests.deploy import DEPLOY

DASHBOARD = DEPLOY / "grafana" / "dashboards" / "cometwatch.json"


class Query(NamedTuple):
    """One query and the title of what shows it."""

    title: str
    expr: str


def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return document


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> list[Query]:
    shown = [Query(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]]
    return shown + [Query(mark["name"], mark["expr"]) for mark in dashboard()["annotations"]["list"]]


def variables() -> list[Query]:
    """Not PromQL but Grafana's own `label_values(query, label)`."""
    listed = dashboard()["templating"]["list"]
    return [Query(each["name"], each["query"]) for each in listed if each["type"] == "query"]


def as_prometheus_sees_it(expr: str) -> str:
    """With Grafana's variables filled in."""
    return re.sub(r"\$\w+", ".+", expr.replace("$__rate_interval", "1m"))


if __name__ == "__main__":
    made = [
        {"record": f"dashboard:query:{number}", "expr": as_prometheus_sees_it(query.expr)}
        for number, query in enumerate(queries())
    ]
    print(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": made}]}))
