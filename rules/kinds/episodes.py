"""What the kinds that look at many messages have in common: rows, episodes, and what was told of them.

Such a kind is a function from the set of rows of a key to a list of episodes: times in which something was
so. A row that comes late, twice or out of order changes the set or does not, and the episodes are worked out
anew. What was told is kept beside the rows: an episode that touches one that was told is the same alert,
another is a new one, and one that is over resolves its alert. So nothing is told twice, and nothing is taken
back without a word.

Times are whole microseconds since 1970: they compare and add fast, and are short in a stored state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, chain
from operator import attrgetter, itemgetter
from typing import ClassVar, Final, Generic, NamedTuple, TypeVar

import msgspec

from rules.access import interest_of
from rules.conditions import (
    ANYTHING,
    AllOf,
    AnyOf,
    Attachments,
    Condition,
    Field,
    Flag,
    Interest,
    Mentions,
    Metadata,
    Not,
    Tags,
    Test,
    TextMatch,
    always,
)
from rules.fields import FIELDS, carriers, reader, words_of
from rules.kinds.base import Found, Ruling, Wait, evidence
from rules.model import Message, Status, Tick, UserId, Value, WatchSet, watched
from rules.templates import Facts, message_facts
from rules.templates import name as shown_name

SECOND: Final = 1_000_000
GRACE: Final = 3600 * SECOND
"""How late a row may come and still find the rows that it belongs to."""
REMEMBERED: Final = 2 * 86400 * SECOND
"""How long what was told, and is over, is remembered: late rows of it tell nothing new."""
MAX_ROWS: Final = 2_000  # of one key
MAX_AT_LEAST: Final = 1_000  # rows that a rule may ask for: half of what is kept
MAX_MESSAGES: Final = 5  # that an alert carries, and that a key keeps whole
FIRST_SHOWN: Final = 2  # of the messages of an alert are the first ones of its episode, if there are more
MAX_EPISODES: Final = 100  # of one key that were told and are remembered when their rows are gone

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """A time as microseconds since 1970."""
    return (at - EPOCH) // MICROSECOND


def length(span: timedelta) -> int:
    return span // MICROSECOND


def moment_of(at: int) -> datetime:
    return EPOCH + timedelta(microseconds=at)


# --- rows, episodes, what was told -------------------------------------------------------------------


class Row(NamedTuple):
    """A message as a kind counts it. Rows compare in event order: by `at`, then by `id`.

    A message makes a row for each `value` that the kind sees in it; most kinds see one, the empty one.
    """

    at: int
    id: int
    lag: int = 0  #: seconds from `at` to when it was taken, by our clock
    value: str = ""


class Kept(NamedTuple):
    """A message kept whole, for the alerts to show."""

    at: int
    id: int
    raw: msgspec.Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A time in which something was so, as the rows of a key tell it now.

    `marks` are the rows at which it was so, in order, `at` being the time when it became apparent: the first
    one raises the alert. Later ones raise another if all before them was told and is over.
    """

    first: int
    last: int
    marks: Sequence[Row]
    over: int | None = None  #: it is over when nothing changes until then; None: it does not end by itself
    ended: str | None = None  #: why it is over already, at `last`
    level: int = 0  #: a higher one than was told is worth an update
    figures: tuple[int, ...] = ()  #: what the kind wants to say of it; the largest are remembered
    strand: str = ""  #: episodes of different strands have nothing to do with each other


class Told(Value, frozen=True, kw_only=True, array_like=True):
    """An episode that an alert was raised for."""

    episode: str  #: part of the alert's id
    found: int  #: our time when it was raised
    first: int
    last: int
    over: int | None = None
    level: int = 0
    figures: tuple[int, ...] = ()
    revision: int = 0
    shown: tuple[int, ...] = ()  #: ids of the messages that it was raised with
    closed: int | None = None  #: up to when all is told: it is resolved
    closed_at: int | None = None  #: our time when it was resolved
    strand: str = ""

    def touches(self, episode: Episode) -> bool:
        return self.first <= episode.last and episode.first <= self.last and self.strand == episode.strand


class News(NamedTuple):
    """Something to tell: an alert is raised, brought up to date (a revision), or resolved."""

    told: Told
    status: Status
    at: int
    reason: str | None = None  #: why it is resolved, if not by the end that was waited for


TAKEN_BACK: Final = "messages that came late show that it was not so"


def reconcile(
    told: Sequence[Told], episodes: Sequence[Episode], *, seen: int, complete_from: int = 0, now: int
) -> tuple[tuple[Told, ...], list[News]]:
    """What is told of the episodes from now on, and what of that is news.

    `seen`: all rows up to then are known. `complete_from`: since when `episodes` has all there were; what
    was told of earlier ones stands, though the rows are gone.
    """
    news: list[News] = []
    around = _Along(episodes)
    after = [
        _followed(one, around.touching(one), news, seen=seen, complete_from=complete_from, now=now)
        for one in told
    ]
    known, new = _Along(after), list[Told]()
    for episode in episodes:
        near = (*known.touching(episode), *(one for one in new if one.touches(episode)))
        mark = _untold(episode, near)
        if mark is not None:
            new.append(_raised(episode, mark, news, seen=seen, now=now))
    return (*after, *new), news


A = TypeVar("A", Episode, Told)


class _Along(Generic[A]):
    """Times of something, of which there may be thousands, to look up those that touch another time."""

    def __init__(self, times: Sequence[A]) -> None:
        self._times: list[A] = sorted(times, key=attrgetter("first"))
        self._firsts: list[int] = [one.first for one in self._times]
        self._reached: list[int] = list(accumulate((one.last for one in self._times), max))

    def touching(self, other: Episode | Told) -> list[A]:
        start = bisect_left(self._reached, other.first)
        end = bisect_right(self._firsts, other.last)
        return [
            one for one in self._times[start:end] if one.last >= other.first and one.strand == other.strand
        ]


def _untold(episode: Episode, near: Iterable[Told]) -> Row | None:
    """The row at which a new alert is due for the episode, if one is; `near` was told of the same."""
    until = -1
    for one in near:
        if one.closed is None:
            return None
        until = max(until, one.closed)
    return next((mark for mark in episode.marks if mark.at > until), None)


def _raised(episode: Episode, mark: Row, news: list[News], *, seen: int, now: int) -> Told:
    one = Told(
        episode=f"{mark.id}-{episode.strand}" if episode.strand else str(mark.id),
        found=now,
        first=episode.first,
        last=episode.last,
        over=episode.over,
        level=episode.level,
        figures=episode.figures,
        strand=episode.strand,
    )
    news.append(News(one, Status.FIRING, mark.at))
    return _closed_if_over(one, episode, news, seen=seen, now=now)


def _followed(
    one: Told, mine: Sequence[Episode], news: list[News], *, seen: int, complete_from: int, now: int
) -> Told:
    """What was told, brought up to date with the episodes that it is about now."""
    if one.closed is not None:
        # What late rows add to it is told as well: this is known when its own rows are gone.
        return _widened(one, mine) if mine else one
    if not mine:
        if one.last >= complete_from:
            return _closed(one, one.last, news, now=now, reason=TAKEN_BACK)
        return _closed_if_over(one, None, news, seen=seen, now=now)
    latest = max(mine, key=lambda episode: episode.last)
    level = max(episode.level for episode in mine)
    is_news = level > one.level
    one = msgspec.structs.replace(
        _widened(one, mine),
        last=latest.last,
        over=latest.over,
        level=max(level, one.level),
        figures=max(one.figures, *(episode.figures for episode in mine)),
        revision=one.revision + is_news,
    )
    if is_news:
        news.append(News(one, Status.FIRING, one.last))
    return _closed_if_over(one, latest, news, seen=seen, now=now)


def _widened(one: Told, mine: Sequence[Episode]) -> Told:
    first = min(one.first, *(episode.first for episode in mine))
    last = max(one.last, *(episode.last for episode in mine))
    is_same = first == one.first and last == one.last
    return one if is_same else msgspec.structs.replace(one, first=first, last=last)


def _closed_if_over(one: Told, latest: Episode | None, news: list[News], *, seen: int, now: int) -> Told:
    if latest is not None and latest.ended is not None:
        return _closed(one, latest.last, news, now=now, reason=latest.ended)
    if one.over is not None and seen >= one.over:
        return _closed(one, one.over, news, now=now)
    return one


def _closed(one: Told, at: int, news: list[News], *, now: int, reason: str | None = None) -> Told:
    one = msgspec.structs.replace(one, closed=at, closed_at=now)
    news.append(News(one, Status.RESOLVED, at, reason))
    return one


# --- the state of a key ------------------------------------------------------------------------------


class Story(Value, frozen=True, kw_only=True):
    """All that is known of a key: the rows, what was told of them, and some messages to show."""

    values: tuple[str, ...]  #: of the fields that make the key
    rows: tuple[Row, ...] = ()  #: in event order
    kept: tuple[Kept, ...] = ()  #: in event order
    told: tuple[Told, ...] = ()
    seen: int = 0  #: all rows up to then are known
    began: int = 0  #: the time of the earliest row there ever was
    in_groups: bool = False  #: whether a row of a group was ever among them
    floor: int = 0  #: no row later than this was ever dropped
    lost: int = 0  #: nor one later than this without being in `sums`
    sums: tuple[tuple[int, int], ...] = ()  #: what the kind must know of dropped rows: pairs of its own
    fresh: tuple[Message, ...] = ()  #: taken in this step, and not yet looked at; stored by no state

    @property
    def open(self) -> Iterator[Told]:
        return (one for one in self.told if one.closed is None)


ENCODER: Final = msgspec.json.Encoder()
DECODER: Final = msgspec.json.Decoder(Story)
MESSAGE: Final = msgspec.json.Decoder(Message)


def with_row(rows: list[Row], new: Row) -> bool:
    """Put a row in its place; False if it is known."""
    place = bisect_left(rows, (new.at, new.id))
    while place < len(rows) and rows[place][:2] == new[:2]:
        if rows[place].value == new.value:
            return False
        if rows[place].value > new.value:
            break
        place += 1
    rows.insert(place, new)
    return True


def needed_from(story: Story, lasts: int, pending: int | None) -> int:
    """Rows before this are of no more use, unless others that belong to them are still on their way."""
    edge = min([story.rows[-1].at, *(one.last for one in story.open)]) - lasts
    return (edge if pending is None else min(edge, pending)) - GRACE


def retained(story: Story, lasts: int, pending: int | None, *, now: int) -> Story:
    """Without the rows that are no longer needed, and what was told so long ago that none is left of it."""
    rows = story.rows
    if not rows:
        return story
    edge, past = needed_from(story, lasts, pending), 0
    while rows[past].at < edge and rows[past].at + rows[past].lag * SECOND + GRACE < now:
        past += 1
    past = max(past, len(rows) - MAX_ROWS)
    told = story.told
    if told:
        told = _remembered(told, min([rows[past].at, *(at for at, _ in story.sums[:1])]), now)
    if not past and len(told) == len(story.told):
        return story
    floor = max(rows[past - 1].at, story.floor) if past else story.floor
    lost = floor if past else story.lost
    return msgspec.structs.replace(story, rows=rows[past:], told=told, floor=floor, lost=lost)


def _remembered(told: tuple[Told, ...], oldest: int, now: int) -> tuple[Told, ...]:
    """Without what was over long ago, or is too much to remember.

    What is not over stays, and so does what there are rows of: it would be told again.
    """
    gone = [one for one in told if one.closed_at is not None and one.last < oldest]
    spare = len(gone) - MAX_EPISODES
    forgotten = {
        one.episode
        for place, one in enumerate(gone)
        if place < spare or (one.closed_at is not None and now - one.closed_at > REMEMBERED)
    }
    return tuple(one for one in told if one.episode not in forgotten) if forgotten else told


# --- messages to show --------------------------------------------------------------------------------


class Pool:
    """The messages that can be shown: those kept, and those of this step."""

    def __init__(self, kept: Iterable[Kept], fresh: Iterable[Message]) -> None:
        self._kept = {one.id: one for one in kept}
        self._fresh = {int(message.id): message for message in fresh}
        times = [(one.at, one.id) for one in self._kept.values()]
        times += [(micros(message.sent_at), id_) for id_, message in self._fresh.items()]
        self._order = sorted(times)

    def shown(self, told: Told, *, back: int) -> tuple[int, ...]:
        """The ids to show: the first and the last ones of the episode. There always is one.

        The episode began with what was so `back` before its first row.
        """
        first = told.first - back
        ids = [id_ for at, id_ in self._order if first <= at <= told.last or id_ in told.shown]
        ids = ids or [id_ for _, id_ in self._order[-1:]]
        return tuple(
            ids if len(ids) <= MAX_MESSAGES else [*ids[:FIRST_SHOWN], *ids[FIRST_SHOWN - MAX_MESSAGES :]]
        )

    def messages(self, ids: Iterable[int]) -> tuple[Message, ...]:
        return tuple(
            evidence(self._fresh[id_]) if id_ in self._fresh else MESSAGE.decode(self._kept[id_].raw)
            for id_ in ids
        )

    def needed(self, told: Iterable[Told], pending: int | None) -> Iterator[Kept]:
        """The messages that open alerts show, and those of what is pending."""
        shown = {id_ for one in told if one.closed is None for id_ in one.shown}
        for at, id_ in self._order:
            if id_ in shown or at == pending:
                yield self._kept.get(id_) or whole(self._fresh[id_])


def whole(message: Message) -> Kept:
    raw = msgspec.Raw(ENCODER.encode(evidence(message)))
    return Kept(micros(message.sent_at), int(message.id), raw)


def newest(kept: Iterable[Kept], fresh: Sequence[Message], number: int) -> tuple[Kept, ...]:
    """So many of the newest messages, in event order."""
    if len(fresh) > number:
        fresh = sorted(fresh, key=lambda message: (message.sent_at, message.id))[-number:]
    return tuple(sorted([*kept, *map(whole, fresh)], key=_place)[-number:])


_place = itemgetter(0, 1)


# --- conditions --------------------------------------------------------------------------------------


class Filter:
    """A condition on messages, tested in two parts: by itself, and against the watch set.

    The first part spares the state of a message that is of no concern. Without a condition, all pass.
    """

    def __init__(self, condition: Condition | None) -> None:
        parts = condition.conditions if isinstance(condition, AllOf) else (condition,) if condition else ()
        alone = tuple(part for part in parts if stands_alone(part))
        self.interest: Interest = interest_of(condition) if condition else ANYTHING
        self.alone: Test = AllOf(conditions=alone).compile() if alone else always
        rest = tuple(part for part in parts if part not in alone)
        self.rest: Test = AllOf(conditions=rest).compile() if rest else always


def stands_alone(condition: Condition) -> bool:
    """Whether a condition is known not to ask who is watched."""
    match condition:
        case Field() | Tags() | Flag() | TextMatch() | Metadata() | Attachments():
            return True
        case Mentions(who=who):
            return "watched" not in who
        case AllOf(conditions=parts) | AnyOf(conditions=parts):
            return all(map(stands_alone, parts))
        case Not(condition=part):
            return stands_alone(part)
        case _:
            return False


def concerns(message: Message, watch: WatchSet) -> bool:
    """Whether a message is about anybody watched. Who is in a group is not known: it came for someone."""
    return message.receiver_type == "group" or any(
        uid in watch for uid in chain(message.participants, message.mentions)
    )


# --- a kind that tells episodes ----------------------------------------------------------------------


class Look(NamedTuple):
    """What a kind sees in the rows of a key."""

    episodes: Sequence[Episode] = ()
    due: int | None = None  #: when there may be more to see though no row comes
    pending: int | None = None  #: since when the rows are needed for what will be seen then


class Episodic(ABC):
    """A kind as a function from the rows of a key to episodes; all else is the same for all of them.

    `reach`: how far back the rows lie that decide what is so at some time. `lasts`: for how long after its
    last row an episode may go on or end. `shows`: how far before an episode the messages lie that it shows.
    `keeps`: how many of the newest messages are kept to be shown.
    With `is_strict`, a row is passed over if rows around it were dropped already: the kind would judge
    wrongly by what is left. Others would only judge too mildly.
    """

    is_lasting: bool = True  #: as `Correlating` has it
    subject: ClassVar[int] = -1  #: which of the shown messages templates speak of: the last one

    def __init__(
        self,
        *,
        by: Sequence[str],
        conditions: Mapping[str, Condition],
        interest: Interest,
        reach: timedelta,
        lasts: timedelta,
        shows: timedelta = timedelta(0),
        keeps: int = MAX_MESSAGES,
        is_strict: bool = False,
    ) -> None:
        self.by = tuple(by)
        self.conditions = conditions
        self.interest = interest
        self._read = reader(self.by)
        self._reach, self._lasts, self._shows = length(reach), length(reach + lasts), length(shows)
        self._keeps, self._is_strict = keeps, is_strict

    @abstractmethod
    def is_row(self, message: Message) -> bool:
        """Whether a message may make a row, whoever is watched."""

    @abstractmethod
    def row_values(self, message: Message, watch: WatchSet) -> Sequence[str]:
        """A value for each row that a message makes, of those that pass `is_row`; () if it makes none."""

    @abstractmethod
    def look(self, story: Story) -> Look:
        """What the rows tell, and nothing else: no time of ours, no order in which they came."""

    @abstractmethod
    def facts(self, story: Story, told: Told) -> Facts:
        """What templates can name beside the facts of the message it is about and of the key."""

    @abstractmethod
    def end(self, told: Told) -> str:
        """In words: why an episode is over whose end was waited for."""

    @abstractmethod
    def describe(self) -> str: ...

    def keys(self, message: Message) -> Sequence[str]:
        return [one.key for one in self._read(message)] if self.is_row(message) else ()

    def decode(self, value: bytes) -> Story:
        return DECODER.decode(value)

    def encode(self, state: Story) -> bytes:
        return ENCODER.encode(state)

    def take(self, state: Story | None, key: str, message: Message, *, now: datetime) -> Story:  # noqa: ARG002 - the protocol's
        """As of `Correlating`. Who is watched is known when it is judged: it is looked at then."""
        if state is None:
            values = next(one.values for one in self._read(message) if one.key == key)
            return Story(values=values, fresh=(message,))
        return msgspec.structs.replace(state, fresh=(*state.fresh, message))

    def judge(
        self,
        key: str,
        state: Story,
        *,
        tick: Tick | None,
        watch: WatchSet,
        now: datetime,
    ) -> Ruling[Story]:
        clock = micros(now)
        is_ours = all(
            value in watch for name, value in zip(self.by, state.values, strict=True) if name == "watched"
        )
        story, new = self._with_fresh(state, watch if is_ours else {}, clock)
        if not story.rows or not (is_ours or any(story.open)):
            return Ruling(state=None)
        if tick is not None:
            story = msgspec.structs.replace(story, seen=max(story.seen, micros(tick.due)))
        found: tuple[Found, ...] = ()
        looked = self.look(story)
        if new or tick is not None:
            if looked.episodes or story.told:
                story, found = self._told(key, story, looked.episodes, new=new, watch=watch, now=clock)
                looked = self.look(story) if found else looked  # what is still to come is another now
            story = self._trimmed(story, new, looked.pending, now=clock)
        wait = self._wait(story, looked.due, new, watch)
        return Ruling(
            state=story,
            found=found,
            wait=wait,
            keep_until=None if wait else self._keep_until(story, clock),
        )

    def complete_from(self, story: Story) -> int:
        """Since when the rows show all that was so: what they show of earlier times may lack something."""
        return story.lost + self._reach if story.lost else 0

    def retained(self, story: Story, pending: int | None, *, now: int) -> Story:
        """The story without what is no longer needed."""
        return retained(story, self._lasts, pending, now=now)

    def remembered(self, story: Story) -> int:
        """Until when, at least, the key is to be known, told or not."""
        return story.rows[-1].at + self._lasts + GRACE

    def _with_fresh(self, story: Story, watch: WatchSet, now: int) -> tuple[Story, list[Message]]:
        """The story with the rows of the messages that were taken, and those messages that made new rows."""
        if not story.fresh:
            return story, []
        rows, new = list(story.rows), []
        for message in story.fresh:
            at, is_new = micros(message.sent_at), False
            if concerns(message, watch) and not (self._is_strict and at <= story.floor):
                for value in self.row_values(message, watch):
                    row = Row(at, int(message.id), (now - at) // SECOND, value)
                    is_new = with_row(rows, row) or is_new
            if is_new:
                new.append(message)
        if not new:
            return msgspec.structs.replace(story, fresh=()), new
        story = msgspec.structs.replace(
            story,
            rows=tuple(rows),
            began=min(story.began or rows[0].at, rows[0].at),
            in_groups=story.in_groups or any(message.receiver_type == "group" for message in new),
            fresh=(),
        )
        return story, new

    def _trimmed(self, story: Story, new: Sequence[Message], pending: int | None, *, now: int) -> Story:
        """The story with what must be kept, and no more."""
        known = story.kept
        story = self.retained(story, pending, now=now)
        kept = newest(known, new, self._keeps)
        if any(story.open) or (pending is not None and all(one.at != pending for one in kept)):
            ids = {one.id for one in kept}
            more = [one for one in Pool(known, new).needed(story.told, pending) if one.id not in ids]
            kept = tuple(sorted([*kept, *more], key=_place))
        return msgspec.structs.replace(story, kept=kept)

    def _told(
        self,
        key: str,
        story: Story,
        episodes: Sequence[Episode],
        *,
        new: Sequence[Message],
        watch: WatchSet,
        now: int,
    ) -> tuple[Story, tuple[Found, ...]]:
        told, news = reconcile(
            story.told,
            episodes,
            seen=story.seen,
            complete_from=max(self.complete_from(story), story.floor + 1),
            now=now,
        )
        if not news:
            return msgspec.structs.replace(story, told=told), ()
        pool = Pool(story.kept, new)
        shown = {one.told.episode: pool.shown(one.told, back=self._shows) for one in news}
        told = tuple(
            msgspec.structs.replace(one, shown=shown[one.episode])
            if not one.shown and one.episode in shown
            else one
            for one in told
        )
        story = msgspec.structs.replace(story, told=told)
        return story, tuple(self._found(key, story, one, shown=shown, pool=pool, watch=watch) for one in news)

    def _found(
        self,
        key: str,
        story: Story,
        news: News,
        *,
        shown: Mapping[str, tuple[int, ...]],
        pool: Pool,
        watch: WatchSet,
    ) -> Found:
        messages = pool.messages(shown[news.told.episode])
        users = self._users(story, messages, watch)
        is_over = news.status is Status.RESOLVED
        return Found(
            key=key,
            episode=news.told.episode,
            event_at=moment_of(news.at),
            conversation_id=messages[-1].conversation_id,
            watched_users=users,
            messages=messages,
            facts={
                **message_facts(messages[self.subject], users),
                **key_facts(self.by, story.values),
                **self.facts(story, news.told),
            },
            found_at=moment_of(news.told.found),
            resolution=(news.reason or self.end(news.told)) if is_over else None,
            revision=0 if is_over else news.told.revision,
        )

    def _users(self, story: Story, messages: Sequence[Message], watch: WatchSet) -> tuple[UserId, ...]:
        """Those whom the key names, or else those whom the messages are about."""
        named = [
            value
            for name, value in zip(self.by, story.values, strict=True)
            if name in ("watched", "mentioned")
        ]
        return watched(named, watch) or watched(
            chain.from_iterable(message.participants for message in messages), watch
        )

    def _wait(self, story: Story, due: int | None, new: Sequence[Message], watch: WatchSet) -> Wait | None:
        dues = [one.over for one in story.open if one.over is not None]
        dues += [due] if due is not None else []
        if not dues:
            return None
        last = story.kept[-1]
        message = next((one for one in new if one.id == last.id), None) or MESSAGE.decode(last.raw)
        lists, every = carriers(self.by, story.values, (message,), watch, in_groups=story.in_groups)
        return Wait(moment_of(min(dues)), lists, every)

    def _keep_until(self, story: Story, now: int) -> datetime:
        times = [self.remembered(story), now + GRACE, *(now + REMEMBERED for _ in story.told[:1])]
        return moment_of(max(times))


def key_facts(by: Sequence[str], values: Sequence[str]) -> Facts:
    """What templates can name of a key: all of it in words, and the value of each field."""
    shown = {name: shown_name(value) for name, value in zip(by, values, strict=True) if name != "text"}
    return {
        "key": shown_name(words_of(by, values)),
        "by": {**dict.fromkeys(FIELDS, ""), **shown},
    }
