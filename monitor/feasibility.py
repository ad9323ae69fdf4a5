"""Which promises of the configuration can't be kept, each with the nearest that can.

Refused by `check` and by a fresh start. A running monitor never refuses: it stretches all promises alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final, NamedTuple

from monitor.configuration import Configuration
from monitor.lists import group_list
from monitor.schedule.promises import needed_rate
from monitor.schedule.turns import LOOK_EVERY, Wish
from monitor.settings import Reader
from monitor.settings.forms import duration_text
from monitor.settings.text import Loc
from monitor.updates import REACH
from rules.text import Problem

COMMON: Final[Loc] = ("poll", "max_staleness")
MOST: Final = 20_000  # requests a minute that CometChat sells


class Promised(NamedTuple):
    """What one place of the settings promises."""

    seconds: float
    lists: int

    @property
    def per_minute(self) -> float:
        """The requests that keep it if nothing happens."""
        return 60.0 * self.lists / self.seconds


def broken_promises(
    reader: Reader, configuration: Configuration, terms: Mapping[str, Wish]
) -> tuple[Problem, ...]:
    """Promises that no budget, or not this budget, can keep for the lists of `terms`.

    Users to be discovered are not known yet, so they don't count.
    """
    promised = _promised(configuration, terms)
    too_short = tuple(_shorter_than_polls(reader, configuration, promised))
    return too_short or tuple(_beyond_the_budget(reader, configuration, terms, promised))


def seldom_updates(reader: Reader, configuration: Configuration, lists: int) -> Iterator[Problem]:
    """A warning if `poll.updates` asks each of so many lists later than it says, or too late to be of use."""
    every, budget = configuration.settings.poll.updates, configuration.settings.api.requests_per_minute
    if every == "off":
        return
    round_ = timedelta(minutes=math.ceil(lists * LOOK_EVERY / budget))
    real, place = max(every, round_), reader.place(("poll", "updates"))
    if round_ > every:
        message = (
            f"poll.updates: one request in {LOOK_EVERY} is spent on it: each of {lists} lists is asked every "
            f"{duration_text(round_)}, not every {duration_text(every)}"
        )
        yield Problem(place, message, f"updates: {duration_text(round_)}", is_warning=True)
    if real > REACH / 2:
        message = (
            f"poll.updates: a message is looked at again for {duration_text(REACH)} after it was sent; what "
            f"changes later than {duration_text(max(REACH - real, timedelta(0)))} after it may be missed"
        )
        yield Problem(place, message, is_warning=True)


def _promised(configuration: Configuration, terms: Mapping[str, Wish]) -> dict[Loc, Promised]:
    """By the place where each promise was made; `auto` is none."""
    places = _places(configuration)
    promised: dict[Loc, Promised] = {}
    for uid, wish in terms.items():
        if wish.max_staleness is not None:
            place = places.get(uid, COMMON)
            lists = promised[place].lists if place in promised else 0
            promised[place] = Promised(wish.max_staleness, lists + 1)
    return promised


def _places(configuration: Configuration) -> dict[str, Loc]:
    """Where the promise of a list was made, if not for all."""
    watch, members = configuration.settings.watch, configuration.roster.members
    cohorts = {
        cohort.name: ("watch", "cohorts", position, "max_staleness")
        for position, cohort in enumerate(watch.cohorts)
        if cohort.max_staleness is not None
    }
    places: dict[str, Loc] = {
        str(uid): cohorts[member.cohort] for uid, member in members.items() if member.cohort in cohorts
    }
    for kind, named in (
        ("users", ((user.uid, user) for user in watch.users)),
        ("groups", ((group_list(group.guid), group) for group in watch.groups)),
    ):
        for position, (uid, one) in enumerate(named):
            if one.max_staleness is not None:
                places[uid] = ("watch", kind, position, "max_staleness")
    return places


def _shorter_than_polls(
    reader: Reader, configuration: Configuration, promised: Mapping[Loc, Promised]
) -> Iterator[Problem]:
    least = configuration.settings.poll.min_interval
    for place, promise in promised.items():
        if promise.seconds < least.total_seconds():
            message = (
                f"{_dotted(place)}: {_text(promise.seconds)} can't be kept, no list is polled again within "
                f"poll.min_interval ({duration_text(least)}): promise as much or more, or lower that"
            )
            yield Problem(reader.place(place), message, f"max_staleness: {duration_text(least)}")


def _beyond_the_budget(
    reader: Reader,
    configuration: Configuration,
    terms: Mapping[str, Wish],
    promised: Mapping[Loc, Promised],
) -> Iterator[Problem]:
    budget = configuration.settings.api.requests_per_minute
    needed = math.ceil(60.0 * needed_rate(wish.max_staleness for wish in terms.values()) - 1e-6)
    if needed <= budget:
        return
    place, promise = max(promised.items(), key=lambda one: one[1].per_minute)
    longer = needed / budget
    nearest = _text(math.ceil(promise.seconds * longer))
    is_alone = len(promised) == 1
    total = math.ceil(sum(one.per_minute for one in promised.values()))
    of_all = "" if is_alone else f", all promises together {total}"
    others = "" if is_alone else f" (and {longer:.3g} times as long elsewhere)"
    more = f"set api.requests_per_minute to {needed}" if needed <= MOST else "watch fewer users"
    message = (
        f"{_dotted(place)}: {_text(promise.seconds)} for {promise.lists} of {len(terms)} lists takes "
        f"{math.ceil(promise.per_minute)} requests a minute{of_all}, but they may take half of {budget} "
        f"and leave the rest to busy lists: the nearest that can be kept is {nearest}{others}; or {more}"
    )
    yield Problem(reader.place(place), message, f"max_staleness: {nearest}")


def _text(seconds: float) -> str:
    return duration_text(timedelta(seconds=seconds))


def _dotted(place: Loc) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
