"""A monitor does not start on promises that it can not keep; what is not known yet is no obstacle."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.configuration import read
from monitor.feasibility import broken_promises, seldom_updates
from monitor.serving import refuse_impossible
from monitor.settings import Reader, SettingsError

LEAST = """\
api: {app_id: a, region: us, api_key: sesame-sesame, requests_per_minute: 60}
receivers: [{name: here, console: {}}]
"""


def told(tmp_path: Path, rest: str) -> list[str]:
    """What is said of the promises, without the file's name."""
    file = tmp_path / "c.yaml"
    file.write_text(LEAST + rest)
    configuration = read(file, {})
    problems = broken_promises(Reader(file, {}), configuration, configuration.terms)
    return [str(problem).removeprefix(f"{file}:") for problem in problems]


@pytest.mark.parametrize(
    ("updates", "lists", "said"),
    [
        ("off", 1000, []),
        ("5m", 15, []),
        ("5m", 30, ["each of 30 lists is asked every 10m, not every 5m"]),
        ("45m", 15, ["what changes later than 10m after it may be missed"]),
        ("5m", 300, ["is asked every 1h40m, not every 5m", "what changes later than 0s after it"]),
    ],
)
def test_looks_for_updates_that_come_late_are_warned_of(
    tmp_path: Path, updates: str, lists: int, said: list[str]
) -> None:
    """Of 60 requests a minute three may be looks."""
    file = tmp_path / "c.yaml"
    file.write_text(f"{LEAST}watch: {{users: [anna]}}\npoll: {{updates: {updates}}}\n")
    told = list(seldom_updates(Reader(file, {}), read(file, {}), lists))
    assert [part in str(one) for part, one in zip(said, told, strict=True)] == [True] * len(said)
    assert all(one.is_warning for one in told)


def test_a_start_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        LEAST + "watch: {users: [anna, {uid: ben, max_staleness: 3s}]}\npoll: {max_staleness: 3s}\n"
    )
    with pytest.raises(
        SettingsError, match=r"c\.yaml:4:23: poll\.max_staleness: 3s for 1 of 2 lists takes 20"
    ):
        refuse_impossible(Reader(file, {}), read(file, {}))


@pytest.mark.parametrize(("promise", "is_kept"), [("4s", False), ("7s", False), ("8s", True), ("auto", True)])
def test_half_of_the_budget_is_there_for_promises(tmp_path: Path, promise: str, *, is_kept: bool) -> None:
    """Four lists every 8 s are 30 requests a minute."""
    found = told(tmp_path, f"watch: {{users: [a, b, c, d]}}\npoll: {{max_staleness: {promise}}}\n")
    assert (found == []) is is_kept


def test_the_nearest_that_is_told_is_exact(tmp_path: Path) -> None:
    (line,) = told(tmp_path, "watch: {users: [a, b, c, d]}\npoll: {max_staleness: 4s}\n")
    assert "the nearest that can be kept is 8s; or set api.requests_per_minute to 120; for example" in line


def test_users_without_a_promise_need_their_part_too(tmp_path: Path) -> None:
    """Half of the lists are on auto: four rounds, an eighth of the budget. Three eighths remain."""
    users = "[{uid: a, max_staleness: 5s}, {uid: b, max_staleness: 5s}, c, d]"
    (line,) = told(tmp_path, f"watch: {{users: {users}}}\n")
    assert line.startswith(
        "3:41: watch.users[0].max_staleness: 5s for 1 of 4 lists takes 12 requests a minute"
    )
    assert "all promises together 24" in line
    assert "to 64;" in line


def test_who_is_yet_to_be_discovered_does_not_keep_us_from_starting(tmp_path: Path) -> None:
    cohort = "{name: all, discover: {}, max_staleness: 2s}"
    assert told(tmp_path, f"watch: {{cohorts: [{cohort}]}}\n") == []


def test_one_list_for_all_has_no_promises_to_break(tmp_path: Path) -> None:
    users = ", ".join(f"{{uid: u{number}, max_staleness: 5s}}" for number in range(50))
    assert told(tmp_path, f"watch: {{source: app, users: [{users}]}}\n") == []
