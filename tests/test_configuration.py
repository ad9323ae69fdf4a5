"""Everything the operator wrote, read together: files of users, what a reload compares, what it looks at."""

from __future__ import annotations

from pathlib import Path
from time import process_time

import pytest

from monitor.configuration import Configuration, read
from monitor.settings import SettingsError
from rules.model import UserId

TEXT = """\
api: {app_id: 275211, region: us, api_key: sesame-sesame}
watch:
  cohorts:
    - {name: agents, file: agents.txt}
    - {name: support, discover: {tags: [support]}}
rules: {files: ["more/*.yaml"]}
receivers: [{name: here, console: {}}]
"""


def write(folder: Path, agents: str | None = "ann\nben\n") -> Path:
    (folder / "more").mkdir(exist_ok=True)
    (folder / "c.yaml").write_text(TEXT, encoding="utf-8")
    if agents is not None:
        (folder / "agents.txt").write_text(agents, encoding="utf-8")
    return folder / "c.yaml"


def reading(folder: Path, agents: str | None = "ann\nben\n") -> Configuration:
    return read(write(folder, agents), {})


def test_users_in_a_file_are_watched_and_the_file_with_them(tmp_path: Path) -> None:
    configuration = reading(tmp_path)
    assert configuration.orders.watch == {"ann": {}, "ben": {}}
    assert tmp_path / "agents.txt" in configuration.files


def test_another_user_in_a_file_is_another_configuration(tmp_path: Path) -> None:
    first = reading(tmp_path)
    assert reading(tmp_path, "ann\nben\n# nothing new\n").is_same(first)
    assert not reading(tmp_path, "ann\nben\ncid\n").is_same(first)
    assert not reading(tmp_path, "ann\n").is_same(first)


def test_who_was_found_is_watched_and_is_no_change_of_what_was_written(tmp_path: Path) -> None:
    configuration = reading(tmp_path)
    with_eve = configuration.finding({"support": [UserId("eve")]})
    assert list(with_eve.orders.watch) == ["ann", "ben", "eve"]
    assert with_eve.roster.members[UserId("eve")].cohort == "support"
    assert with_eve.is_same(configuration)
    assert list(with_eve.finding({"support": [UserId("dan")]}).orders.watch) == ["ann", "ben", "dan"]


@pytest.mark.parametrize(
    ("agents", "expected"),
    [
        (
            None,
            "c.yaml:4:28: watch.cohorts[0].file: agents.txt can't be read: No such file or directory; "
            "mend its name or its permissions",
        ),
        (
            "ann\nben cid\n",
            "agents.txt:2:1: a uid has 1 to 100 characters, no spaces and no slashes; one uid a line; "
            "for example superhero2",
        ),
    ],
)
def test_a_file_that_is_no_list_of_users_is_refused_with_the_place(
    tmp_path: Path, agents: str | None, expected: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        reading(tmp_path, agents)
    assert str(caught.value).replace(f"{tmp_path}/", "") == expected


def test_a_change_of_what_was_written_is_told_from_other_changes_beside_it(tmp_path: Path) -> None:
    configuration = reading(tmp_path)
    assert configuration.folders == {tmp_path, tmp_path / "more"}
    ours = ("c.yaml", "agents.txt", "more/new.yaml", "..data", "..2026_11_22_08_00_00.1234")
    others = (
        "cometwatch.db",
        "cometwatch.db-wal",
        "cometwatch.db-shm",
        "cometwatch.db-journal",
        ".c.yaml.swp",
    )
    assert [name for name in (*ours, *others) if configuration.is_named(tmp_path / name)] == list(ours)


def test_a_hundred_thousand_users_in_a_file_cost_little(tmp_path: Path) -> None:
    few, many = (reading_cost(tmp_path, users) for users in (10_000, 100_000))
    assert many < 30 * few  # ten times as many users; nothing grows with their square


def reading_cost(folder: Path, users: int) -> float:
    config = write(folder, "\n".join(f"user-{number:06}" for number in range(users)))
    began = process_time()
    assert len(read(config, {}).orders.watch) == users
    return process_time() - began
