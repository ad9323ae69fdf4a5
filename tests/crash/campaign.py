"""One campaign: traffic and receiver live on, the monitor between them dies and is started again."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final

import httpx
import trio

from tests.crash import lasting
from tests.crash.floods import AT_LEAST, QUIET_S
from tests.crash.judge import Stored, StoredEntry, Truth, Violation, judge, read_truth
from tests.crash.lasting import Heard
from tests.crash.points import Charge, charges
from tests.crash.receivers import SECRET, SENDER_TIMEOUT_S, Inbox, Post, receiving
from tests.crash.traffic import KEY, WATCHED
from tests.delivery.slack_api import CHANNEL, TOKEN

WORD: Final = "a-word-of-the-kill-campaign-only"
ACKNOWLEDGED: Final = 3  # one in so many floods
ACK_EVERY_S: Final = 0.5
START_WITHIN_S: Final = 60.0  # a cold cache on a busy machine
PATIENCE_S: Final = 4.0  # from the first page, for a life to come to its point; then it is killed anyway
QUIET_WITHIN_S: Final = 300.0
QUIET_TWICE_S: Final = 5.0  # the monitor renews what it shows of itself every 2 s
PAGE: Final = 20_000
RATE: Final = 25.0
FOLDER: Final = Path(__file__).parents[2]

CONFIG: Final = """
api: {{base_url: "{source}/v3", api_key: "{key}", requests_per_minute: 20000, timeout: 5s}}
watch: {{users: [{users}], start: beginning}}
poll: {{min_interval: 100ms, page_size: 10}}
store: {{url: "sqlite:///{store}"}}
server: {{listen: "127.0.0.1:{port}", token: "{word}"}}
rules: {{packs: [attachments, mentions], files: [missed-calls.yaml]}}
receivers:
  - {{name: hook, webhook: {{url: "{receiver}/hook", secret: "{secret}"}}, timeout: {timeout}s}}
  - {{name: slack, slack: {{webhook_url: "{receiver}/slack"}}, rate: 4, timeout: {timeout}s}}
  - name: bot
    slack: {{token: {token}, channel: {channel}, url: "{receiver}/bot"}}
    rate: 10
    summary_over: 10000
    timeout: {timeout}s
  - name: room
    slack: {{token: {token}, channel: {channel}, url: "{receiver}/bot"}}
    rate: 10
    summary_over: 10000
    timeout: {timeout}s
  - {{name: am, alertmanager: {{urls: ["{receiver}/am"]}}, timeout: {timeout}s}}
  - {{name: lead, webhook: {{url: "{receiver}/lead", secret: "{secret}"}}, timeout: {timeout}s}}
routes:
  - {{receivers: [hook], continue: true}}
  - {{matchers: ["rule=~'attachment.*|mention'"], receivers: [slack]}}
  - match: {{rule: flood}}
    receivers: [bot, am]
    repeat_interval: 10s
    escalate: [{{after: {escalate:g}s, receivers: [lead]}}]
    continue: true
  - match: {{rule: flood}}
    receivers: [room]
    group_by: [desk]
    group_wait: 1s
    group_interval: 3s
    repeat_interval: 12s
log: {{format: json}}
"""

# As in the pack, but a ring with no end is given up after 8 s instead of 90: a campaign ends sooner, and
# many more timers are waiting whenever the monitor dies. Nothing in the script is answered after 8 s.
RULES: Final = f"""
rules:
  - name: missed-call
    kind: missed_call
    severity: warning
    ring_timeout: 8s
  - name: flood
    kind: count
    severity: warning
    when: {{text: {{words: [flood]}}}}
    by: [text]
    at_least: {AT_LEAST}
    within: 10s
    resolve_after: {QUIET_S}s
"""


class CampaignError(Exception):
    """The campaign could not be carried through: the monitor did what no kill explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    kills: int
    seed: int
    only: str | None = None  #: one point alone
    rate: float = RATE  #: stages of the script a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One life of the monitor, from its start to its kill."""

    charge: Charge
    started_at: float
    died_at: float
    read_after_s: float | None  #: from the start of the process to its first page; None: it died before
    came_to_point: bool  #: False: it was killed when the campaign lost its patience


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    plan: Plan
    lives: tuple[Life, ...]
    truth: Truth
    posts: tuple[Post, ...]
    stored: Stored
    heard: Heard
    violations: tuple[Violation, ...]
    lasted_s: float


async def run(plan: Plan, folder: Path, *, tell: Callable[[str], None]) -> Result:
    """Carry it out in `folder`, where the store, the logs and all evidence stay. Raises CampaignError."""
    began, inbox, lives = time.monotonic(), Inbox(seed=plan.seed), []
    acknowledged: dict[str, float] = {}
    with receiving(inbox) as receiver:
        async with trafficking(plan, folder) as traffic:
            monitor = Monitor.prepare(folder, source=traffic.url, receiver=receiver)
            async with acknowledging(monitor, acknowledged):
                for number, charge in enumerate(charges(plan.kills, seed=plan.seed, only=plan.only), 1):
                    lives.append(await monitor.live(charge))
                    if number % 25 == 0 or number == plan.kills:
                        tell(f"{number} of {plan.kills} kills, {len(inbox.posts)} posts")
            inbox.calm.set()
            truth = await monitor.finish(traffic, tell=tell)
    posts = tuple(inbox.posts)
    keep(truth, inbox, folder)
    stored = read_store(monitor.store)
    heard = Heard(
        messages=tuple(inbox.slack.messages.values()),
        asserted=tuple(inbox.asserted),
        acknowledged=acknowledged,
    )
    return Result(
        plan=plan,
        lives=tuple(lives),
        truth=truth,
        posts=posts,
        stored=stored,
        heard=heard,
        violations=(*judge(truth, posts, stored), *lasting.judge(stored, heard)),
        lasted_s=time.monotonic() - began,
    )


# --- the person on call ----------------------------------------------------------------------------------


@asynccontextmanager
async def acknowledging(monitor: Monitor, acknowledged: dict[str, float]) -> AsyncIterator[None]:
    """Somebody takes one flood in three, over HTTP; `acknowledged` keeps those that were confirmed."""
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{monitor.port}", timeout=1) as http,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_acknowledge, monitor, http, acknowledged)
        yield
        nursery.cancel_scope.cancel()


async def _acknowledge(monitor: Monitor, http: httpx.AsyncClient, acknowledged: dict[str, float]) -> None:
    while True:
        await trio.sleep(ACK_EVERY_S)
        for alert in _unlooked(monitor.store):
            if alert not in acknowledged and int(alert, 16) % ACKNOWLEDGED == 0:
                with suppress(httpx.HTTPError):
                    answer = await http.post(
                        f"/api/alerts/{alert}/ack",
                        json={"by": "ann"},
                        headers={"authorization": f"Bearer {WORD}"},
                    )
                    if answer.status_code == 201:
                        acknowledged[alert] = time.time()


def _unlooked(store: Path) -> list[str]:
    """The floods that are on; none while the store can't be read."""
    asked = "SELECT id FROM alerts WHERE rule = 'flood' AND status = 'firing'"
    try:
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
            return [id_ for (id_,) in db.execute(asked)]
    except sqlite3.OperationalError:
        return []


# --- the traffic -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The simulated CometChat, a process of its own."""

    url: str
    process: trio.Process
    lines: AsyncIterator[bytes]

    async def end(self) -> Truth:
        """Let the script come to its end; returns all that was true, once the last row shows."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()
        if (said := await anext(self.lines, b"")) != b"played":
            raise CampaignError(f"the simulator ended before its script: {said!r}; see traffic.log")
        truth = read_truth(await self._messages(), WATCHED)
        await trio.sleep(max(0.0, truth.last_shown - time.time()))
        return truth

    async def _messages(self) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as http:
            while True:
                after = messages[-1]["id"] if messages else "0"
                answer = await http.get("/_sim/truth", params={"after": after, "limit": PAGE})
                page = answer.json()["messages"]
                messages += page
                if len(page) < PAGE:
                    return messages


@asynccontextmanager
async def trafficking(plan: Plan, folder: Path) -> AsyncIterator[Traffic]:
    command = [sys.executable, "-m", "tests.crash.traffic", str(plan.seed), str(plan.rate)]
    with (folder / "traffic.log").open("wb") as log:
        process = await trio.lowlevel.open_process(
            command,
            cwd=FOLDER,
            env=environment(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            assert process.stdout is not None
            lines = _lines(process.stdout)
            url = await anext(lines, b"")
            if not url:
                raise CampaignError("the simulator did not start; see traffic.log")
            yield Traffic(url=url.decode(), process=process, lines=lines)
        finally:
            await _end(process)


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[bytes]:
    rest = b""
    async for some in stream:
        *lines, rest = (rest + some).split(b"\n")
        for line in lines:
            yield line


async def _end(process: trio.Process) -> None:
    if process.returncode is None:
        process.kill()
    with trio.CancelScope(shield=True):
        await process.wait()


def environment(folder: Path) -> dict[str, str]:
    """Of a child: no settings from outside, and compiled code kept, as an installation keeps it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMETWATCH_")}
    if kept.pop("PYTHONDONTWRITEBYTECODE", None):
        kept.setdefault("PYTHONPYCACHEPREFIX", str(folder / "pycache"))
    return kept


# --- the monitor -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Reading:
    """Whether a life has come to read its first page, and when."""

    at: float | None = None
    began: trio.Event = field(default_factory=trio.Event)

    async def listen(self, stream: trio.abc.ReceiveStream) -> None:
        async for _ in stream:
            self.at = time.time()
            self.began.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """The monitor's place on this machine: its configuration, store, port and log."""

    folder: Path
    config: Path
    store: Path
    port: int

    @classmethod
    def prepare(cls, folder: Path, *, source: str, receiver: str) -> Monitor:
        (folder / "config").mkdir()
        (folder / "store").mkdir()
        port = _free_port()
        monitor = cls(
            folder=folder,
            config=folder / "config" / "cometwatch.yaml",
            store=folder / "store" / "cometwatch.db",
            port=port,
        )
        text = CONFIG.format(
            source=source, key=KEY, users=", ".join(map(_watched, WATCHED)), store=monitor.store, port=port,
            receiver=receiver, secret=SECRET, timeout=SENDER_TIMEOUT_S, token=TOKEN, channel=CHANNEL,
            escalate=lasting.ESCALATE_S, word=WORD,
        )  # fmt: skip
        monitor.config.write_text(text, encoding="utf-8")
        monitor.config.with_name("missed-calls.yaml").write_text(RULES, encoding="utf-8")
        return monitor

    async def live(self, charge: Charge) -> Life:
        """One life, ended by SIGKILL. Raises CampaignError if it ends in any other way."""
        hook = charge.point.hook
        bomb = [hook, str(charge.nth), str(charge.delay_s)] if hook else []
        started_at = time.time()
        async with self._process(*bomb) as (process, reading):
            with trio.move_on_after(START_WITHIN_S if hook else charge.delay_s) as waiting:
                async with trio.open_nursery() as nursery:
                    if hook:
                        nursery.start_soon(_grow_impatient, reading, waiting)
                    await process.wait()
                    nursery.cancel_scope.cancel()
            process.kill()
            await process.wait()
        if process.returncode != -SIGKILL:
            raise CampaignError(f"the monitor ended by itself with exit code {process.returncode}")
        return Life(
            charge=charge,
            started_at=started_at,
            died_at=time.time(),
            read_after_s=reading.at - started_at if reading.at else None,
            came_to_point=not waiting.cancelled_caught or hook is None,
        )

    async def finish(self, traffic: Traffic, *, tell: Callable[[str], None]) -> Truth:
        """A last life that is let live until all is quiet and is then stopped as an operator stops it."""
        async with self._process() as (process, _):
            tell("the last life: waiting for the script to end")
            truth = await traffic.end()
            tell("waiting for quiet")
            with trio.move_on_after(QUIET_WITHIN_S) as waiting:
                await self._until_quiet(truth)
            if waiting.cancelled_caught:
                tell(f"no quiet within {QUIET_WITHIN_S:g} s")  # the verdict says what is unsettled
            process.terminate()
            code = await process.wait()
        if code != 0:
            raise CampaignError(f"stopped by SIGTERM, the monitor ended with exit code {code}")
        return truth

    @asynccontextmanager
    async def _process(self, *bomb: str) -> AsyncIterator[tuple[trio.Process, Reading]]:
        """The running monitor, and word of its first page."""
        reading = Reading()
        with (self.folder / "monitor.log").open("ab") as log:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "tests.crash.child", str(self.config), *bomb],
                cwd=FOLDER,
                env=environment(self.folder),
                stdout=subprocess.PIPE,
                stderr=log,
            )
            async with trio.open_nursery() as nursery:
                assert process.stdout is not None
                nursery.start_soon(reading.listen, process.stdout)
                try:
                    yield process, reading
                finally:
                    await _end(process)

    async def _until_quiet(self, truth: Truth) -> None:
        """Every list read past the last row, no timer and no delivery pending, seen twice."""
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=10) as http:
            seen = 0
            while seen < 2:
                seen = seen + 1 if await self._is_quiet(http, truth) else 0
                await trio.sleep(QUIET_TWICE_S)

    async def _is_quiet(self, http: httpx.AsyncClient, truth: Truth) -> bool:
        try:
            status = (await http.get("/api/status")).raise_for_status().json()
            users = (await http.get("/api/users")).raise_for_status().json()["users"]
        except httpx.HTTPError:
            return False
        is_idle = not status["timers_pending"] and not any(one["pending"] for one in status["receivers"])
        return is_idle and all(_seen_until(user) > truth.last_shown for user in users)


async def _grow_impatient(reading: Reading, waiting: trio.CancelScope) -> None:
    await reading.began.wait()
    waiting.deadline = trio.current_time() + PATIENCE_S


def _seen_until(user: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(user["watermark"]).timestamp() if user["watermark"] else 0.0


def _watched(uid: str) -> str:
    """Everybody is a group, so that groups open and end all the time."""
    return f"{{uid: {uid}, labels: {{desk: {uid}}}}}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


ENTRIES: Final = """
SELECT alert_id, entries.status, entries.receiver, entries.state, entries.created_at / 1e6,
       notification, subject
FROM entries LEFT JOIN notifications ON notifications.id = notification
ORDER BY entries.id
"""
EMPTY: Final = (
    "timers",
    "closures",
    "tombstones",
    "escalations",
    "groups WHERE closed_at IS NULL",
    "shown WHERE due_at IS NOT NULL AND NOT is_over",
)


# --- the store -------------------------------------------------------------------------------------------


def read_store(file: Path) -> Stored:
    """What is in the file now, by plain SQL."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        alerts = dict(db.execute("SELECT id, first_seen_at / 1e6 FROM alerts"))
        rules = dict(db.execute("SELECT id, rule FROM alerts"))
        acks = dict(db.execute("SELECT alert, at / 1e6 FROM acks"))
        entries = db.execute(ENTRIES).fetchall()
        rejects = db.execute("SELECT message_id FROM rejects").fetchall()
        left = {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in EMPTY}
        tallies = dict(db.execute("SELECT name, total FROM tallies"))
        verdict = db.execute("PRAGMA integrity_check").fetchone()[0]
    if verdict != "ok":
        raise CampaignError(f"{file} is damaged: {verdict}")
    return Stored(
        alerts=alerts,
        entries=tuple(
            StoredEntry(
                alert=alert,
                status=status,
                receiver=receiver,
                state=state,
                created_at=created_at,
                notification=notification,
                subject=subject,
            )
            for alert, status, receiver, state, created_at, notification, subject in entries
        ),
        tallies=tallies,
        rejects=tuple(id_ for (id_,) in rejects),
        left=left,
        rules=rules,
        acks=acks,
    )


def keep(truth: Truth, inbox: Inbox, folder: Path) -> None:
    """Write down what the receivers got and what was expected, beside the store and the logs."""
    got = [
        {
            "at": p.at,
            "receiver": p.receiver,
            "id": p.id,
            "fate": p.fate,
            "body": p.body.decode("utf-8", "replace"),
        }
        for p in inbox.posts
    ]
    (folder / "slack.json").write_text(json.dumps(list(map(asdict, inbox.slack.messages.values()))), "utf-8")
    (folder / "asserted.json").write_text(json.dumps(list(map(asdict, inbox.asserted))), "utf-8")
    (folder / "posts.json").write_text(json.dumps(got), encoding="utf-8")
    expected = [
        {"rule": e.fact.rule, "key": e.fact.key, "users": sorted(e.users), "must": e.must, "at": e.known_at}
        for e in truth.expected.values()
    ]
    (folder / "expected.json").write_text(json.dumps(expected), encoding="utf-8")
