"""How fast rules are asked: messages a second through 10, 100 and 1,000 of them, on one core."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

from msgspec.structs import replace

from monitor.source.pages import decode
from rules.conditions import Test
from rules.engine import RuleSet, step
from rules.kinds.match import Match
from rules.model import Message, UserId, WatchSet
from rules.spec import Source, load
from tests.bench.figures import Figure

ROWS: Final = 1_000  # in a page
PAGES: Final = 5
USERS: Final = 2_000  # who write
FOUND: Final = 0.001  # part of the rows that the first rules name the sender of
NOW: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
WATCH: Final[WatchSet] = {UserId(f"user{number}"): {} for number in range(USERS)}
LONGEST: Final = 65_536  # characters of a text that rules look at
WORDS: Final = ("hello", "please", "my", "order", "is", "late", "again", "thanks", "invoice", "see", "you")

FIELDS: Final = (
    "{{sender: vip{n}}}",
    "{{receiver: vip{n}, type: image}}",
    "{{category: message, type: [image, video], sender: [vip{n}, boss{n}]}}",
    "{{conversation: 'user{n}_user_vip{n}'}}",
    "{{tags: [tag{n}, late{n}]}}",
    "{{category: action, action: [kicked, banned], subject: vip{n}}}",
    "{{caller: vip{n}}}",
    "{{mentions: {{users: [vip{n}]}}}}",
    "{{sender: 'bot{n}-*', direction: inbound}}",
    "{{metadata: {{path: order{n}.priority, equals: high}}, receiver_type: user}}",
)
TEXTS: Final = ("{{type: text, text: [word{n}, charge word{n}]}}",)


async def measure(runs: int, folder: Path) -> list[Figure]:
    bodies = _bodies(Random(7))  # the same pages in each run
    pages = [decode(body).messages for body in bodies]
    figures = [_rate("pages decoded", runs, lambda: [decode(body) for body in bodies])]
    for count in (10, 100, 1_000):
        figures += _fields(count, bodies, pages, runs)
    for count in (10, 100, 1_000):
        figures.append(_asked(f"{count:,} text rules", _rules(count, TEXTS), pages, runs))
    return [*figures, _hostile(runs)]


Pages = Sequence[Sequence[Message]]


def _fields(count: int, bodies: Sequence[bytes], pages: Pages, runs: int) -> Iterator[Figure]:
    rules = _rules(count, FIELDS)
    least = 100_000 if count == 100 else None
    yield _asked(f"{count:,} rules, decoded rows", rules, pages, runs, at_least=least)
    yield _rate(
        f"{count:,} rules, page bytes",
        runs,
        lambda: [step(rules, WATCH, {}, decode(body).messages, now=NOW) for body in bodies],
        at_least=least,
    )
    tests = [rule.logic.condition.compile() for rule in rules.rules if isinstance(rule.logic, Match)]
    yield Figure(
        name=f"{count:,} rules, by the index",
        unit="×",
        values=[
            _seconds(lambda: _ask_each(tests, pages[0])) * PAGES / _seconds(lambda: _ask(rules, pages))
            for _ in range(runs)
        ],
        about="as fast as asking each rule about each message",
        at_least=5 if count > 10 else None,
    )


def _asked(name: str, rules: RuleSet, pages: Pages, runs: int, *, at_least: float | None = None) -> Figure:
    return _rate(name, runs, lambda: _ask(rules, pages), at_least=at_least)


def _ask(rules: RuleSet, pages: Pages) -> None:
    for page in pages:
        step(rules, WATCH, {}, page, now=NOW)


def _ask_each(tests: Sequence[Test], page: Sequence[Message]) -> int:
    return sum(test(message, WATCH) for message in page for test in tests)


def _hostile(runs: int) -> Figure:
    """Expressions that take others forever: a text twice as long must take about twice as long."""
    rules = _rules(1, ("{{text: {{regex: ['(a+)+$', '(x+x+)+y', '(.*)*z']}}}}",))
    (page,) = (decode(_body([_row(1, Random(7))])).messages,)

    def seconds(length: int) -> float:
        texts = [_with_text(page[0], ("a" * 9 + "x") * (length // 10))] * 20
        return min(_seconds(lambda: step(rules, WATCH, {}, texts, now=NOW)) for _ in range(3))

    return Figure(
        name="regex on hostile text",
        unit="×",
        values=[seconds(LONGEST) / seconds(LONGEST // 4) for _ in range(runs)],
        about="the time of a text of a quarter of its length: 4 is linear, 16 quadratic",
        at_most=6,
    )


def _rate(name: str, runs: int, work: Callable[[], object], *, at_least: float | None = None) -> Figure:
    work()  # the first time some tables are made
    values = [ROWS * PAGES / _seconds(work) for _ in range(runs)]
    return Figure(name=name, unit="msg/s", values=values, about="per CPU second", at_least=at_least)


def _seconds(work: Callable[[], object]) -> float:
    """Processor time, so that whoever else is busy here does not count."""
    began = time.process_time()
    work()
    return time.process_time() - began


# --- rules and rows ---------------------------------------------------------------------------------


def _rules(count: int, patterns: Sequence[str]) -> RuleSet:
    lines = [
        f"  - {{name: rule{number}, when: {patterns[number % len(patterns)].format(n=number)}}}"
        for number in range(count)
    ]
    return load([Source("bench.yaml", "rules:\n" + "\n".join(lines))], app="bench")


def _bodies(random: Random) -> list[bytes]:
    return [
        _body([_row(page * ROWS + number + 1, random) for number in range(ROWS)]) for page in range(PAGES)
    ]


def _body(rows: Sequence[Any]) -> bytes:
    return json.dumps({"data": rows, "meta": {"pagination": {"per_page": ROWS}}}).encode()


def _row(id_: int, random: Random) -> dict[str, Any]:
    """A row of chat as it is: texts mostly, some images, a few mentions, tags and metadata."""
    sender = "vip0" if random.random() < FOUND else f"user{random.randrange(USERS)}"
    is_group, is_image = random.random() < 0.3, random.random() < 0.1
    receiver = f"group{random.randrange(50)}" if is_group else f"user{random.randrange(USERS)}"
    text = " ".join(random.choices(WORDS, k=random.randint(2, 15)))
    return {
        "id": str(id_),
        "conversationId": f"group_{receiver}" if is_group else f"{sender}_user_{receiver}",
        "sender": sender,
        "receiverType": "group" if is_group else "user",
        "receiver": receiver,
        "category": "message",
        "type": "image" if is_image else "text",
        "data": {
            "entities": {
                "sender": _user(sender),
                "receiver": _group(receiver) if is_group else _user(receiver),
            },
            "text": f"<@uid:{sender}> {text}" if is_group and random.random() < 0.1 else text,
            **({"attachments": [_file(id_)]} if is_image else {}),
            **({"metadata": {"order": {"priority": "low"}}} if random.random() < 0.1 else {}),
        },
        "sentAt": 1_795_000_000 + id_,
        "updatedAt": 1_795_000_000 + id_,
        "tags": ["shop"] if random.random() < 0.1 else [],
    }


def _user(uid: str) -> dict[str, Any]:
    told = {"uid": uid, "name": uid.title(), "role": "default", "status": "offline", "conversationId": uid}
    return {"entityType": "user", "entity": told}


def _group(guid: str) -> dict[str, Any]:
    return {"entityType": "group", "entity": {"guid": guid, "name": guid.title(), "membersCount": 5}}


def _file(id_: int) -> dict[str, Any]:
    name = f"photo{id_}.jpg"
    return {
        "name": name,
        "extension": "jpg",
        "mimeType": "image/jpeg",
        "size": 48_213,
        "url": f"https://x/{name}",
    }


def _with_text(message: Message, text: str) -> Message:
    return replace(message, text=text)
