"""A list that is read again from further back is not read up to now: nobody was silent in it meanwhile."""

from __future__ import annotations

import httpx
from trio.testing import MockClock

from monitor.simulator import build
from rules.model import MessageId, UserId
from tests.acceptance.stage import CONFIG, Stage, say, until

SUPERHERO2 = UserId("superhero2")
QUIET = "rules:\n  - {name: quiet, kind: absence, when: {type: text}, for: 1m, by: [sender]}\n"
PAGE = 10


class Slow(httpx.AsyncBaseTransport):
    """A CometChat that gives one page of a list, once it is told to, and no other."""

    def __init__(self, stage: Stage) -> None:
        self._api = httpx.ASGITransport(build(stage.world))
        self.is_on = False
        self.pages = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_on and f"/{SUPERHERO2}/" in request.url.path:
            self.pages += 1
            if self.pages > 1:
                return httpx.Response(503, stream=httpx.ByteStream(b"{}"))
        return await self._api.handle_async_request(request)


def configured(stage: Stage, rules: str) -> str:
    (stage.folder / "rules.yaml").write_text(rules, encoding="utf-8")
    return f"{CONFIG}poll: {{page_size: {PAGE}}}\nrules: {{packs: [], files: [rules.yaml]}}\n"


async def test_a_new_rule_and_a_cursor_set_back_conclude_nothing_from_half_of_the_past(
    stage: Stage, autojump_clock: MockClock
) -> None:
    slow = Slow(stage)
    async with stage.monitor(configured(stage, "rules: []\n"), source=slow) as app:
        for number in range(1, 16):
            await until(20 * number)
            say(stage.world, "still here")
        await until(305)
        configured(stage, QUIET)
        assert await app.reload("test")
        slow.is_on = True
        with app.store.write() as tx:
            tx.set_cursor(SUPERHERO2, MessageId(1))
        await until(350)
        assert slow.pages > 1  # the first page is known, in which the last word is 100 s old
        slow.is_on = False
        await until(358)
        assert app.store.alerts() == []
        await until(420)
    assert [alert["status"] for alert in stage.receivers.alerts] == ["firing"]
