"""Our payloads against the vendors' own schemas, as they publish them.

Get openapiv3.json from reference/events-v2 of github.com/PagerDuty/api-schema, and openapi.yaml from api/v2
of github.com/prometheus/alertmanager, then:

    python -m tests.delivery.published pagerduty openapiv3.json
    python -m tests.delivery.published alertmanager openapi.yaml
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema
import yaml
from hypothesis import HealthCheck, Phase, given, settings

from monitor.delivery.render import alertmanager, pagerduty
from monitor.store.values import Notification
from tests.delivery.samples import NOW
from tests.delivery.told import told

Validator = jsonschema.protocols.Validator


def of_pagerduty(published: Any) -> Validator:
    (body,) = published["paths"]["/enqueue"]["post"]["requestBody"]["content"].values()
    schema = {**body["schema"], "components": published["components"]}
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


def of_alertmanager(published: Any) -> Validator:
    schema = {"$ref": "#/definitions/postableAlerts", "definitions": published["definitions"]}
    return jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker())


def for_pagerduty(notification: Notification) -> Iterator[Any]:
    for event in pagerduty.events(notification, app="275211"):
        yield {"routing_key": "e93facc04764012d7bfb002500d5d1a6", **event}


def for_alertmanager(notification: Notification) -> Iterator[Any]:
    yield alertmanager.alerts(notification, app="275211", labels={"source": "chat"}, now=NOW)


SYSTEMS: Final = {
    "alertmanager": (of_alertmanager, for_alertmanager),
    "pagerduty": (of_pagerduty, for_pagerduty),
}


def check(system: str, published: Any, examples: int) -> int:
    """How many payloads fit. Raises jsonschema.ValidationError for the first that does not."""
    validator_of, payloads_of = SYSTEMS[system]
    validator, fine = validator_of(published), 0

    @settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
    )
    @given(told)
    def look(notification: Notification) -> None:
        nonlocal fine
        for payload in payloads_of(notification):
            validator.validate(json.loads(json.dumps(payload)))
            fine += 1

    look()
    return fine


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("system", choices=sorted(SYSTEMS))
    parser.add_argument("file", type=Path)
    parser.add_argument("--examples", type=int, default=1000)
    given_ = parser.parse_args()
    fine = check(given_.system, yaml.safe_load(given_.file.read_text("utf-8")), given_.examples)
    print(f"{fine} payloads of {given_.examples} notifications fit the schema of {given_.system}")


if __name__ == "__main__":
    main()
