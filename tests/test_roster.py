"""Who is watched, and on which terms, when a user is named in several places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from monitor.roster import Member, Roster, roster
from monitor.settings import load
from rules.model import UserId


def made(
    folder: Path,
    watch: str,
    *,
    listed: dict[str, list[str]] | None = None,
    found: dict[str, list[str]] | None = None,
    poll: dict[str, Any] | None = None,
) -> Roster:
    api = {"app_id": "1", "region": "us", "api_key": "sesame"}
    written = {"api": api, "watch": yaml.safe_load(watch), "poll": poll or {}}
    (folder / "c.yaml").write_text(yaml.safe_dump(written), encoding="utf-8")
    settings = load(folder / "c.yaml", {})
    return roster(settings, listed=named(listed), found=named(found))


def named(uids: dict[str, list[str]] | None) -> dict[str, list[UserId]]:
    return {name: [UserId(uid) for uid in some] for name, some in (uids or {}).items()}


WATCH = """
users: [ann, {uid: ben, labels: {team: night}, weight: 4, max_staleness: 30s}]
cohorts:
  - {name: vip, users: [ann, ben, cid], labels: {tier: gold}, weight: 25, max_staleness: 1m}
  - {name: agents, file: agents.txt, max_staleness: auto}
  - {name: support, discover: {tags: [support]}, labels: {team: support}}
groups: [hiking, {guid: books, weight: 2, max_staleness: 2m}]
"""


def test_who_is_listed_singly_comes_first_and_then_the_first_cohort(tmp_path: Path) -> None:
    everybody = made(
        tmp_path,
        WATCH,
        listed={"agents": ["ben", "cid", "dan"]},
        found={"support": ["ann", "dan", "eve"], "gone": ["zoe"]},
        poll={"max_staleness": "5m"},
    )
    assert everybody.members == {
        "ann": Member({}, 1.0, 300.0, None),
        "ben": Member({"team": "night"}, 4.0, 30.0, None),
        "cid": Member({"tier": "gold"}, 25.0, 60.0, "vip"),
        "dan": Member({}, 1.0, None, "agents"),
        "eve": Member({"team": "support"}, 1.0, 300.0, "support"),
    }
    assert everybody.groups == {
        "hiking": Member({}, 1.0, 300.0, None),
        "books": Member({}, 2.0, 120.0, None),
    }
    assert everybody.watch_set == {
        "ann": {}, "ben": {"team": "night"}, "cid": {"tier": "gold"}, "dan": {}, "eve": {"team": "support"},
    }  # fmt: skip


def test_without_a_promise_of_their_own_or_a_common_one_it_is_automatic(tmp_path: Path) -> None:
    everybody = made(tmp_path, WATCH, found={"support": ["eve"]})
    promises = {uid: member.max_staleness for uid, member in everybody.members.items()}
    assert promises == {"ann": None, "ben": 30.0, "cid": 60.0, "eve": None}


def test_who_is_not_found_yet_is_nobody(tmp_path: Path) -> None:
    assert made(tmp_path, "{cohorts: [{name: all, discover: {}}]}").members == {}


def test_users_of_a_cohort_share_their_terms(tmp_path: Path) -> None:
    everybody = made(tmp_path, "{cohorts: [{name: all, discover: {}}]}", found={"all": ["ann", "ben"]})
    first, second = everybody.members.values()
    assert first is second
