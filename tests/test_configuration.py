"""Everything the operator wrote, read together: files of users, what a reload compares, what it looks at."""

from __future__ import annotations

from datetime import timedelta
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


def test_a_rule_file_that_several_names_mean_is_read_once(tmp_path: Path) -> None:
    config = write(tmp_path)
    (tmp_path / "more" / "mine.yaml").write_text(
        "rules: [{name: mine, when: {type: image}}]", encoding="utf-8"
    )
    names = 'files: ["more/*.yaml", more/mine.yaml, ./more/../more/mine.yaml], packs: []'
    config.write_text(TEXT.replace('files: ["more/*.yaml"]', names), encoding="utf-8")
    assert [rule.name for rule in read(config, {}).rules.rules] == ["mine"]


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


# --- what rule files name ---------------------------------------------------------------------------

BLOCKED = """\
lists: {blocked: {file: words.txt}}
rules: [{name: blocked-word, when: {text: {list: blocked}}}, {name: pictures, when: {type: image}}]
"""


def with_rules(folder: Path, words: str | None = "refund\n", settings: str = "") -> Configuration:
    config = write(folder)
    ours = f'files: ["more/*.yaml"], packs: []{settings}'
    config.write_text(TEXT.replace('files: ["more/*.yaml"]', ours), encoding="utf-8")
    (folder / "more" / "own.yaml").write_text(BLOCKED, encoding="utf-8")
    if words is not None:
        (folder / "more" / "words.txt").write_text(words, encoding="utf-8")
    return read(config, {})


def test_a_file_of_words_stands_beside_its_rule_file_and_is_looked_at(tmp_path: Path) -> None:
    first = with_rules(tmp_path)
    assert tmp_path / "more" / "words.txt" in first.files
    assert first.is_named(tmp_path / "more" / "words.txt")
    assert with_rules(tmp_path).is_same(first)
    other = with_rules(tmp_path, "refund\nchargeback\n")
    assert not other.is_same(first)
    assert other.rules.fingerprints == first.rules.fingerprints


@pytest.mark.parametrize(
    ("words", "settings", "expected"),
    [
        (
            None,
            "",
            "own.yaml:1:25: words.txt: can't be read: No such file or directory; mend its name or its "
            "permissions",
        ),
        ("ok\n\x07\n", "", "words.txt:2:1: a control character stands here"),
        (
            "ok\n",
            ", shadow: [blocked-wrod]",
            'c.yaml:6:53: rules.shadow: there is no rule "blocked-wrod" (did you mean "blocked-word"?)',
        ),
        (
            "ok\n",
            ", off: [pictures, no-such]",
            'c.yaml:6:60: rules.off: there is no rule "no-such"; there are blocked-word, pictures',
        ),
    ],
)
def test_what_is_wrong_with_them_is_told_with_its_place(
    tmp_path: Path, words: str | None, settings: str, expected: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        with_rules(tmp_path, words, settings)
    assert expected in str(caught.value)


def test_settings_put_rules_in_shadow_and_out_of_work(tmp_path: Path) -> None:
    loaded = with_rules(tmp_path, settings=", shadow: [blocked-word], off: [pictures]").rules
    assert {rule.name: rule.pacing.shadow for rule in loaded.rules} == {"blocked-word": True}


def test_an_inner_route_without_groups_has_no_usual_repeats(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        """
api: {app_id: "1", region: us, api_key: k}
watch: {users: [ann]}
receivers: [{name: a, console: }]
routes:
  - receivers: [a]
    group_by: [rule]
    group_wait: 10s
    routes: [{match: {severity: critical}, group_by: []}, {match: {team: x}, repeat_interval: 1h}]
  - {receivers: [a], group_by: [...]}
""",
        encoding="utf-8",
    )
    grouped, alone = read(config, {}).orders.routes
    single, hourly = grouped.routes
    hours = timedelta(hours=1)
    assert [spec.timing and spec.timing.repeat for spec in (grouped, single, hourly, alone)] == [
        4 * hours, None, hours, None,
    ]  # fmt: skip
    assert single.timing is not None
    assert single.timing.wait == timedelta(seconds=10)
    assert alone.group_by == ("...",)
