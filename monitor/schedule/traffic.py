"""Chat as it comes: conversations that excite themselves, between people of very unequal activity.

A reference population, for predictions before there is a record and for measuring the scheduler. People of
log-normal activity talk in pairs and groups. Somebody opens a conversation at a rate that follows the hour
of one of four time zones, and every message is answered by a Poisson number of replies, most of them within
seconds (a Hawkes process, as fits of real chat archives find it). Same arguments, same trace.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from random import Random
from typing import Final

DAY_S: Final = 86_400.0
SIGMA: Final = 1.5  # of the logarithm of a person's activity
TALK_SIGMA: Final = 0.5  # of the logarithm of a conversation's own
PAIRS_PER_USER: Final = 4
USERS_PER_GROUP: Final = 10
GROUP_SHARE: Final = 0.3  # of all messages
SMALLEST_GROUP, LARGEST_GROUP = 3, 60
REPLIES: Final = 0.85  # to each message, on average
DELAYS: Final = ((0.6, 15.0), (0.9, 90.0), (1.0, 900.0))  # (cumulated share, mean in seconds) of a reply
ZONES: Final = ((0.4, 1.0), (0.3, -5.0), (0.2, 5.5), (0.1, 9.0))  # (share, hours ahead of UTC)
# How busy each local hour is; only the proportions count.
HOURS: Final = (
    *(0.2, 0.1, 0.05, 0.05, 0.05, 0.1, 0.3, 0.7, 1.2, 1.5, 1.6, 1.6),
    *(1.5, 1.5, 1.6, 1.6, 1.5, 1.4, 1.4, 1.5, 1.6, 1.4, 1.0, 0.5),
)
_BUSIEST: Final = max(HOURS) * len(HOURS) / sum(HOURS)  # where an average hour is 1

Members = tuple[int, ...]
Message = tuple[float, Members]  # when it was sent, in seconds of the trace, and whose lists show it


@dataclass(frozen=True, slots=True)
class Trace:
    """Messages in the order they were sent. Second 0 is midnight UTC; users are numbered from 0."""

    users: int
    seconds: float
    messages: Sequence[Message]

    def lists(self) -> list[list[float]]:
        """For each user, when the messages of the own list were sent, ascending."""
        found: list[list[float]] = [[] for _ in range(self.users)]
        for at, members in self.messages:
            for member in members:
                found[member].append(at)
        return found


def chat(*, users: int, seconds: float, seed: int, per_day: float = 30.0) -> Trace:
    """What `users` people write in the first `seconds` of a day.

    Each has `per_day` new messages a day in the own list on average; half of them have a twelfth of that or
    less, a few have hundreds. Raises ValueError for fewer than two people: nobody talks alone.
    """
    if users < 2:
        raise ValueError(f"a chat needs at least 2 users, not {users}")
    random = Random(seed)  # noqa: S311 - repeatable on purpose, nothing secret
    talks = _talks(users, random)
    seen = sum(share * len(members) for share, members in talks)  # lists that show a message, on average
    openers = per_day * users * (1 - REPLIES) / (DAY_S * seen)
    messages: list[Message] = []
    shares = list(accumulate(share for share, _ in talks))
    ahead = [hours for _, hours in random.choices(ZONES, [share for share, _ in ZONES], k=len(talks))]
    places = range(len(talks))
    for at in _arrivals(openers * _BUSIEST, seconds, random):
        place = random.choices(places, cum_weights=shares)[0]
        if random.random() * max(HOURS) < HOURS[int(at / 3600 + ahead[place]) % 24]:
            members = talks[place][1]
            messages.extend((sent, members) for sent in _conversation(at, seconds, random))
    messages.sort(key=itemgetter(0))
    return Trace(users=users, seconds=seconds, messages=messages)


def _talks(users: int, random: Random) -> list[tuple[float, Members]]:
    """Everybody who talks together, and their share of all messages."""
    busy = list(accumulate(random.lognormvariate(0, SIGMA) for _ in range(users)))
    pairs = [_company(2, busy, random) for _ in range(PAIRS_PER_USER * users)]
    groups = [_company(_group_size(random), busy, random) for _ in range(users // USERS_PER_GROUP)]
    among_groups = GROUP_SHARE if groups else 0.0
    return [*_shared(1 - among_groups, pairs, random), *_shared(among_groups, groups, random)]


def _shared(part: float, talks: list[Members], random: Random) -> Iterator[tuple[float, Members]]:
    """`part` of all messages, shared among the conversations in log-normal pieces."""
    pieces = [random.lognormvariate(0, TALK_SIGMA) for _ in talks]
    whole = sum(pieces)
    return ((part * piece / whole, members) for piece, members in zip(pieces, talks, strict=True))


def _company(size: int, busy: list[float], random: Random) -> Members:
    """At least two different people, the busy ones more often. Who is drawn twice comes once."""
    people = range(len(busy))
    company = dict.fromkeys(random.choices(people, cum_weights=busy, k=size))
    while len(company) < 2:
        company[random.choices(people, cum_weights=busy)[0]] = None
    return tuple(company)


def _group_size(random: Random) -> int:
    """A Pareto law between the smallest and the largest: most groups are small."""
    least, most = 1 / (LARGEST_GROUP + 1), 1 / SMALLEST_GROUP
    return int(1 / random.uniform(least, most))


def _arrivals(rate: float, until: float, random: Random) -> Iterator[float]:
    at = random.expovariate(rate)
    while at < until:
        yield at
        at += random.expovariate(rate)


def _conversation(at: float, until: float, random: Random) -> Iterator[float]:
    """The opener and all its replies, replies to replies too, each before what answers it."""
    waiting = [at]
    while waiting:
        sent = waiting.pop()
        yield sent
        for _ in range(_replies(random)):
            answered = sent + _delay(random)
            if answered < until:
                waiting.append(answered)


def _replies(random: Random, none: float = math.exp(-REPLIES)) -> int:
    """A Poisson number with mean REPLIES."""
    count, product = 0, random.random()
    while product > none:
        count += 1
        product *= random.random()
    return count


def _delay(random: Random) -> float:
    draw = random.random()
    mean = next(mean for share, mean in DELAYS if draw <= share)
    return random.expovariate(1 / mean)
