"""Whose turn it is: stride scheduling by the square root of the expected traffic, with deadlines.

A row of a list that is polled `f` times a second waits 1/(2f) on average. The least waiting for R requests
a second, Σ ωλ/(2f) under Σ f = R, has f ∝ √(ωλ): λ the rows a second expected of the list now, ω its
weight. (In proportion to λ would be no better than round robin.) Strides bring that about without prices,
due times or a controller: every list has a key in virtual time; the least key is next and becomes the
present; after its poll the list's key is the present + 1/√(ωλ). However many requests the budget lets
through, they are shared out like this.

On top of it every list has a promise of staleness, kept by a deadline; rows known to wait are caught up
with; and now and then there is a second look. Each lane has slots of its own, so that none starves another.

Sources: Cho and Garcia-Molina 2003, Effective page refresh policies for web crawlers; Azar, Horvitz,
Lubetzky, Peres and Shahaf 2018, Tractable near-optimal policies for crawling (the index of a list, of which
this is the form for steady rates); Waldspurger and Weihl 1995, Stride scheduling.

`now` is monotonic seconds throughout; nothing here sleeps.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from types import MappingProxyType
from typing import Final, NamedTuple

from monitor.schedule.activity import Activity
from monitor.schedule.agenda import Agenda
from monitor.schedule.deadlines import Deadlines
from monitor.schedule.plan import Load

JITTER: Final = 0.05  # without it equal lists move in lock-step, and others wait behind whole sweeps of them
LOOK_EVERY: Final = 20
LONGEST_FLIGHT_S: Final = 60.0  # no request takes as long


class Lane(StrEnum):
    """Why a list is polled."""

    SHARE = "share"
    DEADLINE = "deadline"
    CATCH_UP = "catch_up"
    SECOND_LOOK = "second_look"


# Who goes first in four successive requests. Whoever is always waiting gets every fourth at least;
# deadlines get every second and, others waiting, never more: a backlog of them is the quietest lists first.
SLOTS: Final = (
    (Lane.DEADLINE, Lane.CATCH_UP, Lane.SHARE),
    (Lane.SHARE, Lane.CATCH_UP, Lane.DEADLINE),
    (Lane.DEADLINE, Lane.SHARE, Lane.CATCH_UP),
    (Lane.CATCH_UP, Lane.SHARE, Lane.DEADLINE),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator wants for a list: a weight above 0, and its promise in seconds (None: auto)."""

    weight: float = 1.0
    max_staleness: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.weight < math.inf:
            raise ValueError(f"a weight must be above 0, not {self.weight}")
        if self.max_staleness is not None and not 0.0 < self.max_staleness < math.inf:
            raise ValueError(f"a promise must be longer than 0 s, not {self.max_staleness}")


ORDINARY: Final = Wish()
NO_WISHES: Final[Mapping[str, Wish]] = MappingProxyType({})
NO_ACTIVITIES: Final[Mapping[str, Activity]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Turn:
    """One request for one list, and why."""

    uid: str
    lane: Lane

    @property
    def catch_up(self) -> bool:
        """It continues a list known to have more rows."""
        return self.lane is Lane.CATCH_UP


@dataclass(slots=True, eq=False)
class _Seat:
    wish: Wish
    activity: Activity
    key: float  # in virtual time
    polled_at: float  # start of the latest poll that was answered
    timer: float = math.inf  # somebody waits for this list at that moment
    look_at: float = math.inf
    is_behind: bool = False  # rows are known to wait


class _Flight(NamedTuple):
    lane: Lane
    began: float
    present: float  # in virtual time
    timer: float  # that the poll was to answer, or infinity


class Turns:
    """The order of polls. One request per list is in flight at any time, whatever asked for it.

    Every turn taken must end, in `finished` or in `failed`; until then its list is not polled again.
    """

    def __init__(self, *, random: Random, min_interval: float, rate: float) -> None:
        """`min_interval`: seconds from poll to poll of a list; `rate`: requests a second that are granted."""
        self._random = random
        self._min_interval = min_interval
        self._rate = _positive(rate)
        self._present = 0.0  # virtual time
        self._granted = 0  # turns so far
        self._looked = 0  # and at the latest second look
        self._seats: dict[str, _Seat] = {}
        self._flights: dict[str, _Flight] = {}
        # A list is in flight, or in one of these three; who competes has a deadline too.
        self._competing = Agenda()  # by key
        self._catching_up: OrderedDict[str, None] = OrderedDict()
        self._resting = Agenda()  # until a moment
        self._deadlines = Deadlines(min_interval=min_interval, rate=rate)
        self._looks = Agenda()

    def __len__(self) -> int:
        return len(self._seats)

    @property
    def stretch(self) -> float:
        """What all promises are multiplied by, so that the budget can keep them; 1.0 is as it should be."""
        return self._deadlines.stretch

    # --- who is polled, and how much the operator cares ---------------------------------------------------

    def add(
        self,
        uids: Iterable[str],
        now: float,
        *,
        wishes: Mapping[str, Wish] = NO_WISHES,
        activities: Mapping[str, Activity] = NO_ACTIVITIES,
    ) -> None:
        """Seat new lists at random places of their first round; those seated already are left as they are."""
        fresh = [uid for uid in dict.fromkeys(uids) if uid not in self._seats]
        for uid in fresh:
            activity = activities.get(uid) or Activity(now=now)
            self._seats[uid] = _Seat(
                wish=wishes.get(uid, ORDINARY), activity=activity, key=0.0, polled_at=now
            )
            self._deadlines.count(self._seats[uid].wish.max_staleness, 1)
        self._deadlines.settle(self._rate)
        self._random.shuffle(fresh)
        places = Counter[float | None]()
        for uid in fresh:
            wished = self._seats[uid].wish.max_staleness
            self._place(uid, self._seats[uid], place=places[wished], now=now)
            places[wished] += 1

    def wish(self, uid: str, wish: Wish, now: float) -> None:
        """The operator's wish for a list changed."""
        seat = self._seats.get(uid)
        if seat is None or seat.wish == wish:
            return
        self._deadlines.drop(uid, seat.wish.max_staleness)
        self._deadlines.count(wish.max_staleness, 1)
        self._deadlines.count(seat.wish.max_staleness, -1)
        self._deadlines.settle(self._rate)
        seat.wish = wish
        seat.key = min(seat.key, self._present + _stride(seat, now))
        if uid in self._competing:
            self._compete(uid, seat)

    def remove(self, uid: str) -> None:
        """Forget a list; a poll under way ends without a next one."""
        if seat := self._seats.pop(uid, None):
            self._withdraw(uid, seat)
            self._deadlines.count(seat.wish.max_staleness, -1)
            self._deadlines.settle(self._rate)

    def expect_by(self, uid: str, at: float) -> None:
        """Poll the list no later than at `at`, because a timer waits for it; infinity withdraws that."""
        if seat := self._seats.get(uid):
            seat.timer = at
            self._schedule(uid, seat)

    def look_again(self, uid: str, at: float) -> None:
        """Another look at the list is due at `at`. It waits until every 20th request at most is one."""
        if seat := self._seats.get(uid):
            seat.look_at = at
            if uid in self._competing:
                self._looks.put(uid, at)

    def resize(self, rate: float) -> None:
        """The budget grants another rate, in requests a second."""
        self._rate = _positive(rate)
        self._deadlines.settle(rate)

    # --- whose turn ----------------------------------------------------------------------------------------

    def wait(self, now: float) -> float:
        """Seconds until somebody's turn; infinity if nobody has one."""
        self._advance(now)
        if self._catching_up or self._competing:
            return 0.0
        return max(0.0, self._resting.first() - now)

    def take(self, now: float) -> Turn | None:
        """The next turn, or None before its time."""
        self._advance(now)
        turn = self._next(now)
        if turn is not None:
            self._granted += 1
            self._start(turn, now)
        return turn

    def overdue(self, now: float) -> int:
        """How many lists wait longer than was promised. Lists that failed and rest are not counted."""
        self._advance(now)
        return self._deadlines.overdue(now)

    def looks_late(self, now: float) -> float:
        """For how many seconds the look has been due that waits longest; of lists that can be asked now."""
        self._advance(now)
        return max(0.0, now - self._looks.first())

    def finished(self, uid: str, *, ages: Sequence[float], more: bool, now: float) -> None:
        """A poll was answered, with new rows of these ages in seconds; if there are `more` it goes on."""
        flight = self._flights.pop(uid, None)
        seat = self._seats.get(uid)
        if flight is None or seat is None:
            return
        seat.activity.saw(ages, now)
        if flight.lane is not Lane.SECOND_LOOK:  # which reads backwards and doesn't see what is new
            seat.polled_at = flight.began
            seat.key = flight.present + _stride(seat, now) * self._random.uniform(1 - JITTER, 1 + JITTER)
        seat.is_behind = more
        self._rest(uid, seat, until=now if more else flight.began + self._min_interval, now=now)

    def failed(self, uid: str, *, retry_in: float, now: float) -> None:
        """A poll was not answered; the list waits `retry_in` seconds, timers or not, its place kept.

        Then it goes on catching up, or answers the timer that it was polled for.
        """
        flight = self._flights.pop(uid, None)
        seat = self._seats.get(uid)
        if flight is None or seat is None:
            return
        if flight.lane is Lane.SECOND_LOOK:
            seat.look_at = min(seat.look_at, now)
        seat.timer = min(seat.timer, flight.timer)
        self._rest(uid, seat, until=now + retry_in, now=now)

    # --- what others ask -----------------------------------------------------------------------------------

    def activity(self, uid: str) -> Activity | None:
        """What is known of a list, to be stored; None if it isn't seated."""
        seat = self._seats.get(uid)
        return seat.activity if seat else None

    def staleness(self, uid: str) -> float:
        """The promise in force for a seated list, in seconds: stretched if need be."""
        return self._promise(self._seats[uid])

    def loads(self, now: float, *, most: int, random: Random) -> list[Load]:
        """At most `most` lists, chosen by chance, for the prediction."""
        seats = list(self._seats.values())
        chosen = seats if len(seats) <= most else random.sample(seats, most)
        return [Load(seat.activity.rate(now), seat.wish.weight, self._promise(seat)) for seat in chosen]

    # --- a turn --------------------------------------------------------------------------------------------

    def _next(self, now: float) -> Turn | None:
        is_looks_time = self._granted - self._looked >= LOOK_EVERY and self._looks.first() <= now
        for lane in SLOTS[self._granted % len(SLOTS)]:
            if is_looks_time and lane is not Lane.DEADLINE:  # whose slots are half of all in any case
                return Turn(self._looks.top(), Lane.SECOND_LOOK)
            if uid := self._first(lane, now):
                return Turn(uid, lane)
        return None

    def _first(self, lane: Lane, now: float) -> str | None:
        match lane:
            case Lane.DEADLINE:
                return self._deadlines.take(now)
            case Lane.CATCH_UP:
                return next(iter(self._catching_up), None)
            case _:
                return self._competing.top() if self._competing else None

    def _start(self, turn: Turn, now: float) -> None:
        seat = self._seats[turn.uid]
        self._withdraw(turn.uid, seat)
        timer = seat.timer
        match turn.lane:
            case Lane.SECOND_LOOK:
                seat.look_at = math.inf
                self._looked = self._granted
            case Lane.SHARE:
                seat.timer = math.inf
                self._present = max(self._present, seat.key)
            case Lane.DEADLINE:
                seat.timer = math.inf
        self._flights[turn.uid] = _Flight(turn.lane, now, self._present, timer)

    def _withdraw(self, uid: str, seat: _Seat) -> None:
        self._deadlines.drop(uid, seat.wish.max_staleness)
        for agenda in (self._competing, self._resting, self._looks):
            agenda.drop(uid)
        self._catching_up.pop(uid, None)

    # --- who competes --------------------------------------------------------------------------------------

    def _place(self, uid: str, seat: _Seat, *, place: int, now: float) -> None:
        """The random first phase, in virtual and in real time; else quiet lists always come all at once."""
        wished = seat.wish.max_staleness
        seat.key = self._present + self._random.random() * _stride(seat, now)
        first_by = now + (place + self._random.random()) * self._deadlines.pace(wished)
        seat.polled_at = first_by - self._promise(seat)
        if flight := self._flights.get(uid):  # removed and back while its last poll is under way
            self._resting.put(uid, flight.began + LONGEST_FLIGHT_S)
        else:
            self._compete(uid, seat)

    def _rest(self, uid: str, seat: _Seat, *, until: float, now: float) -> None:
        if until > now:
            self._resting.put(uid, until)
        else:
            self._resting.drop(uid)
            self._rise(uid, seat)

    def _rise(self, uid: str, seat: _Seat) -> None:
        """The rest is over."""
        if seat.is_behind:
            self._catching_up[uid] = None
        else:
            self._compete(uid, seat)

    def _compete(self, uid: str, seat: _Seat) -> None:
        self._competing.put(uid, seat.key)
        self._schedule(uid, seat)
        if seat.look_at < math.inf:
            self._looks.put(uid, seat.look_at)

    def _advance(self, now: float) -> None:
        """Let those compete whose rest is over."""
        while self._resting.first() <= now:
            _, uid = self._resting.pop()
            self._rise(uid, self._seats[uid])

    def _schedule(self, uid: str, seat: _Seat) -> None:
        if uid in self._competing:
            self._deadlines.put(uid, seat.wish.max_staleness, polled_at=seat.polled_at, timer=seat.timer)

    def _promise(self, seat: _Seat) -> float:
        return self._deadlines.promise(seat.wish.max_staleness)


def backoff(failures: int, *, random: Random, first: float = 2.0, most: float = 300.0) -> float:
    """Seconds to leave a failing user alone: doubling from `first` to `most`, half of it random."""
    ceiling = min(most, first * 2.0 ** min(failures - 1, 16))
    return random.uniform(ceiling / 2, ceiling)


def _stride(seat: _Seat, now: float) -> float:
    return 1.0 / math.sqrt(seat.wish.weight * seat.activity.rate(now))


def _positive(rate: float) -> float:
    if not 0.0 < rate < math.inf:
        raise ValueError(f"the rate of requests must be above 0, not {rate}")
    return rate
