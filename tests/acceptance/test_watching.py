"""Whom the whole app watches: people who are discovered, who come and go, and the terms of cohorts."""

from __future__ import annotations

from trio.testing import MockClock

from monitor.simulator import Fault
from rules.model import UserId
from tests.acceptance.stage import CONFIG, Stage, say, until

COHORT = "{name: support, discover: {tags: [support]}, labels: {team: helpers}, max_staleness: 10s}"
RULES = "rules: {packs: [], files: [rules.yaml]}\n"
RULE = "rules: [{name: greeting, kind: match, when: {text: {words: [hello]}}, severity: info}]\n"


def config(stage: Stage, watch: str) -> str:
    (stage.folder / "rules.yaml").write_text(RULE, encoding="utf-8")
    head, _, rest = CONFIG.partition("watch:")
    made = f"{head}watch: {{{watch}, refresh: 1m, grace: 10m}}\nstore:{rest.partition('store:')[2]}{RULES}"
    return made.replace("- {receivers:", "- {match: {team: helpers}, receivers:")  # nobody else is told of


def watched(stage: Stage) -> list[tuple[str, ...]]:
    return [users for _, users in stage.receivers.told("greeting")]


async def test_people_are_watched_as_soon_as_they_are_found_until_the_grace_is_over(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.world.change_user("superhero2", tags=["support"])
    seldom = "poll: {min_interval: 9s}\n"  # much time passes: the fewer polls, the better
    async with stage.monitor(config(stage, f"cohorts: [{COHORT}]") + seldom) as app:
        await until(10)
        say(stage.world, "hello", to="superhero2")
        say(stage.world, "hello", sender="superhero1", to="superhero3")  # nobody of ours
        await until(30)
        assert watched(stage) == [("superhero2",)]

        stage.world.change_user("superhero3", tags=["support"])
        stage.world.change_user("superhero2", tags=[])
        await until(110)
        for uid in ("superhero2", "superhero3"):
            say(stage.world, "hello", to=uid)
        await until(130)
        assert sorted(watched(stage)[1:]) == [("superhero2",), ("superhero3",)]

        await until(800)
        say(stage.world, "hello", to="superhero2")
        await until(900)
        assert len(watched(stage)) == 3
        row = app.store.user(UserId("superhero2"))
        assert row is not None
        assert row.left_at is not None
        await until(3_700)
        assert app.store.user(UserId("superhero2")) is None  # and forgotten after as long again
        assert app.store.user(UserId("superhero3")) is not None


async def test_after_a_restart_people_are_watched_before_anybody_can_be_found(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.world.change_user("superhero2", tags=["support"])
    text = config(stage, f"cohorts: [{COHORT}]")
    async with stage.monitor(text):
        await until(20)
    say(stage.world, "hello")  # while nobody looks
    stage.world.change_user("superhero2", tags=[])
    await until(60)
    async with stage.monitor(text) as app:
        await until(61)
        assert app.intake.followed == {"superhero2"}
        await until(80)
    assert watched(stage) == [("superhero2",)]


async def test_a_reload_keeps_who_was_found_and_asks_for_new_cohorts_at_once(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.world.change_user("superhero2", tags=["support"])
    stage.world.change_user("superhero3", role="agent")
    file = stage.folder / "cometwatch.yaml"
    async with stage.monitor(config(stage, f"cohorts: [{COHORT}]")) as app:
        await until(10)
        stage.world.faults.add(Fault(kind="server-error", count=1))
        other = f"{COHORT}, {{name: agents, discover: {{roles: [agent]}}}}"
        file.write_text(file.read_text(encoding="utf-8").replace(COHORT, other), encoding="utf-8")
        assert await app.reload("test")
        assert app.intake.followed == {"superhero2"}
        await until(80)
        assert app.intake.followed == {"superhero2", "superhero3"}
        file.write_text(file.read_text(encoding="utf-8").replace(COHORT + ", ", ""), encoding="utf-8")
        assert await app.reload("test")
        assert app.intake.followed == {"superhero3"}  # the operator's word holds at once
        row = app.store.user(UserId("superhero2"))
        assert row is not None
        assert row.left_at is not None


async def test_one_list_for_all_shows_who_was_found(stage: Stage, autojump_clock: MockClock) -> None:
    stage.world.change_user("superhero2", tags=["support"])
    text = config(stage, f"source: app, cohorts: [{COHORT}]")
    for at in (0, 100):
        await until(at)
        async with stage.monitor(text) as app:
            await until(at + 10)
            assert app.intake.followed == {"@app"}
            say(stage.world, "hello")
            say(stage.world, "hello", to="superhero3")
            await until(at + 40)
            row = app.store.user(UserId("superhero2"))
            assert row is not None
            assert row.left_at is None  # or the next process would not know whom to look for
    assert watched(stage) == [("superhero2",)] * 2
