"""`cometwatch demo` as somebody meets it who has no account yet."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Callable

from monitor.demo import RULES
from tests.process.conftest import PATIENCE_S, Process

Processes = Callable[..., Process]


def test_it_shows_every_kind_of_alert_until_told_to_stop(processes: Processes) -> None:
    demo = processes("demo")
    url = demo.wait_for(r"status page +(http://\S+)/$")[1]
    with urllib.request.urlopen(f"{url}/readyz") as answer:
        assert answer.status == 200
    for rule in ("attachment", "mention", "missed-call"):
        demo.wait_for(rf"^ +rule +{rule}$")
    assert demo.end(signal.SIGINT) == 0
    demo.wait_for(r"deliveries were accepted, 0 are dead letters")


def test_with_json_the_last_line_tells_all(processes: Processes) -> None:
    demo = processes("demo", "--duration", "2", "--json")
    summary = json.loads(demo.wait_for(r'^\{"polls".*\}$')[0])
    assert set(summary["alerts"]) == set(RULES)
    assert summary["polls"] > 0
    assert summary["dead"] == 0
    assert demo.popen.wait(PATIENCE_S) == 0
