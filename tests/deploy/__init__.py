"""What is deployed is held against what the code really has: settings, metrics, commands, versions."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@cache  # nobody changes what it returns
def yaml_of(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def rules(kind: str) -> list[dict[str, Any]]:
    """The rules of one kind: "alert" or "record"."""
    groups = yaml_of(DEPLOY / "prometheus" / "rules.yaml")["groups"]
    return [rule for group in groups for rule in group["rules"] if kind in rule]
