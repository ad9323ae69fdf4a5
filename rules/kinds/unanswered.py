"""The kind `unanswered`: somebody asked, and nobody who should has answered in time.

In the order of events a question opens if none is open, and an answer closes it. What comes late, twice or
out of order leads to the same questions and answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from rules.calendars import CALENDAR_NAME
from rules.conditions import ANYTHING, Condition, either_interest
from rules.fields import MAX_KEYS, Correlation, kept, key_of
from rules.grammar import Choice, Duration, Key, said
from rules.kinds import match
from rules.kinds.answers import lasted, speaker
from rules.kinds.base import Kind
from rules.kinds.episodes import (
    GRACE,
    Episode,
    Episodic,
    Filter,
    Look,
    Row,
    Story,
    Told,
    key_facts,
    length,
    micros,
    moment_of,
)
from rules.model import Message, Value, WatchSet, once
from rules.templates import Facts, moment
from rules.templates import name as shown_name
from rules.when import MESSAGE_CONDITIONS
from rules.working_time import Calendar

MOST: Final = timedelta(days=30)
GIVE_UP: Final = timedelta(days=7)

MENTIONED, RECEIVER, WATCHED, ANYONE = "mentioned", "receiver", "watched", "anyone"
AWAITED: Final = {
    MENTIONED: "each watched user who is mentioned",
    RECEIVER: "the watched receiver",
    WATCHED: "a watched user",
    ANYONE: "anybody else",
}
ASKS, ANSWERS = "?", "!"  # how the value of a row tells what it may be, as in `?!:superhero2`


class Options(Value, frozen=True, kw_only=True):
    within: timedelta
    answer_from: str = WATCHED
    answer: Condition | None = None
    calendar: Calendar | None = None
    give_up: timedelta = GIVE_UP

    @property
    def allowed(self) -> str:
        """How long an answer may take, in words."""
        return said(self.within) + (" of working time" if self.calendar else "")


class Question(NamedTuple):
    row: Row
    by: str
    due: int  #: when it should have been answered
    over: int  #: when nobody waits any longer


class Unanswered(Episodic):
    """A time from a question to its answer; it counts as one if the answer comes too late, or never."""

    subject = 0  # the question: of the answer, sender and receiver are the other way round

    def __init__(self, condition: Condition, options: Options) -> None:
        self._condition, self._options = condition, options
        self._asks, self._answers = Filter(condition), Filter(options.answer)
        self._within, self._give_up = length(options.within), length(options.give_up)
        self._is_personal = options.answer_from in (MENTIONED, RECEIVER)
        super().__init__(
            by=("conversation",),
            conditions={"when": condition, **({"answer": options.answer} if options.answer else {})},
            interest=either_interest(
                [self._asks.interest, self._answers.interest if options.answer else ANYTHING]
            ),
            reach=timedelta(0),
            lasts=timedelta(0),
            is_strict=True,
        )
        if self._is_personal:
            self.by = ("conversation", "watched")
        self._read = once(self._correlations)

    def _correlations(self, message: Message) -> Sequence[Correlation]:
        """The conversation; or for each one who is asked, or may answer, the conversation and that person."""
        room = kept(message.conversation_id.lower())
        if not self._is_personal:
            return [Correlation(key_of((room,)), (room,))]
        who = speaker(message)
        named = message.mentions if self._options.answer_from == MENTIONED else _other_end(message)
        asked = named if self._asks.alone(message, {}) else ()
        speaks = (who,) if who is not None and self._answers.alone(message, {}) else ()
        people = islice(dict.fromkeys(map(kept, (*speaks, *asked))), MAX_KEYS)
        return [Correlation(key_of((room, uid)), (room, uid)) for uid in people]

    def is_row(self, message: Message) -> bool:
        return speaker(message) is not None and (
            self._asks.alone(message, {}) or self._answers.alone(message, {})
        )

    def row_values(self, message: Message, watch: WatchSet) -> Sequence[str]:
        """Who speaks, and whether that may be a question or an answer."""
        who = speaker(message)
        assert who is not None
        may_answer = self._options.answer_from != WATCHED or who in watch
        flags = ASKS if _holds(self._asks, message, watch) else ""
        flags += ANSWERS if may_answer and _holds(self._answers, message, watch) else ""
        return (f"{flags}:{kept(who)}",) if flags else ()

    def look(self, story: Story) -> Look:
        episodes, asked = self._episodes(story)
        ahead = [one for one in episodes if one.marks and one.marks[0].at > story.seen]
        needed = [one.first for one in ahead] + ([asked.row.at] if asked else [])
        return Look(
            [one for one in episodes if not one.marks or one.marks[0].at <= story.seen],
            due=min((one.marks[0].at for one in ahead), default=None),
            pending=min(needed, default=None),
        )

    def retained(self, story: Story, pending: int | None, *, now: int) -> Story:
        """Never the rest of a question without its beginning: that would look like another one."""
        left = super().retained(story, pending, now=now)
        if len(left.rows) == len(story.rows):
            return left
        episodes, asked = self._episodes(story)
        if asked is not None and asked.row < left.rows[0]:  # of too many, it is the one to keep
            left = msgspec.structs.replace(left, rows=(asked.row, *left.rows))
        first = left.rows[0].at
        # Rows that lie within a question may come for some time after it is over.
        cut = (
            one.first
            for one in episodes
            if one.first < first
            and (
                first <= one.last or one.last + GRACE >= now or any(told.touches(one) for told in story.open)
            )
        )
        begins = min(cut, default=None)
        if begins is None or (pending is not None and begins >= pending):
            return left  # nothing is cut, or only what would be too much to keep
        return self.retained(story, begins, now=now)

    def _episodes(self, story: Story) -> tuple[list[Episode], Question | None]:
        """The questions that are of interest, and the one that is still open."""
        awaited = story.values[1] if self._is_personal else None
        asked: Question | None = None
        episodes: list[Episode] = []
        for row in story.rows:
            flags, _, who = row.value.partition(":")
            if asked is not None and row.at > asked.over:
                episodes.append(_open(asked, asked.over))
                asked = None
            if asked is not None and ANSWERS in flags and who == (awaited or who) != asked.by:
                # One in time is no finding; but if it was told already, the answer came late to us.
                if row.at > asked.due or any(_about(told, asked, row) for told in story.told):
                    episodes.append(_closed(asked, row))
                asked = None
            if asked is None and ASKS in flags and who != awaited:
                asked = self._question(row, who)
        if asked is not None:
            episodes.append(_open(asked, max(asked.due, story.seen, story.rows[-1].at)))
        return episodes, asked

    def _question(self, row: Row, who: str) -> Question:
        calendar = self._options.calendar
        due = row.at + self._within
        if calendar is not None:
            due = micros(calendar.after(moment_of(row.at), self._options.within))
        return Question(row, who, due, due + self._give_up)

    def facts(self, story: Story, told: Told) -> Facts:
        options = self._options
        asked = [row.value for row in story.rows if row.at == told.first and row.value.startswith(ASKS)]
        awaited = story.values[1] if self._is_personal else AWAITED[options.answer_from]
        return unanswered_facts(
            options, asker=asked[0].partition(":")[2] if asked else "", awaited=awaited, since=told.first
        )

    def end(self, told: Told) -> str:  # noqa: ARG002 - they all end alike
        return f"no answer {said(self._options.give_up)} later either: given up"

    def describe(self) -> str:
        options = self._options
        answer = f" with {options.answer.describe()}" if options.answer else ""
        return (
            f"messages with {self._condition.describe()} that {AWAITED[options.answer_from]} does not answer"
            f"{answer} within {options.allowed}"
        )


def _other_end(message: Message) -> Sequence[str]:
    """Who of the two is spoken to. A group is nobody."""
    if message.receiver_type == "group":
        return ()
    who = speaker(message)
    return [uid for uid in message.participants if uid != who]


def _holds(condition: Filter, message: Message, watch: WatchSet) -> bool:
    return condition.alone(message, watch) and condition.rest(message, watch)


def _about(told: Told, asked: Question, answer: Row) -> bool:
    return told.first <= answer.at and asked.row.at <= told.last


def _open(asked: Question, until: int) -> Episode:
    return Episode(
        first=asked.row.at,
        last=min(until, asked.over),
        marks=[asked.row._replace(at=asked.due)],
        over=asked.over,
    )


def _closed(asked: Question, answer: Row) -> Episode:
    waited = timedelta(microseconds=answer.at - asked.row.at)
    return Episode(
        first=asked.row.at,
        last=answer.at,
        marks=[asked.row._replace(at=asked.due)] if answer.at > asked.due else (),
        ended=f"answered after {lasted(waited)}",
    )


def unanswered_facts(options: Options, *, asker: str, awaited: str, since: int) -> Facts:
    """What templates can name: who asked whom, when, and how long an answer may take. People are uids."""
    return {
        "asker": shown_name(asker),
        "awaited": shown_name(awaited),
        "allowed": options.allowed,
        "since": moment(moment_of(since)),
    }


def build(condition: Condition | None, options: Mapping[str, Any]) -> Unanswered:
    assert condition is not None
    return Unanswered(condition, Options(**options))


KIND = Kind(
    description="A message that nobody answered in time; resolved by the answer.",
    options={
        "within": Key(
            Duration(least=timedelta(seconds=10), most=MOST),
            "How long an answer may take. With `calendar`, how much working time.",
            "within: 15m",
        ),
        "answer_from": Key(
            Choice(words=tuple(AWAITED)),
            "Who must answer, by a message, a call, or by taking one, in the same conversation. mentioned: "
            "each watched user who is mentioned, for himself; receiver: the watched user to whom somebody "
            "writes; watched (the default): any watched user but the asker; anyone: anybody but the asker.",
            "answer_from: mentioned",
        ),
        "answer": Key(
            MESSAGE_CONDITIONS,
            "What an answer must meet beside. Default: everything answers.",
            "answer: {not: {tags: auto-reply}}",
        ),
        "calendar": Key(CALENDAR_NAME, "Count the working time of this calendar only.", "calendar: office"),
        "give_up": Key(
            Duration(least=timedelta(minutes=1), most=timedelta(days=90)),
            "If nobody answers for this time after the alert, the alert is resolved and the question "
            "forgotten. Default: 7d.",
            "give_up: 2d",
        ),
    },
    required=("within",),
    conditions=MESSAGE_CONDITIONS,
    is_when_required=True,
    title="{{ rule.name }}: no answer from {{ awaited }} to {{ asker }} within {{ allowed }}",
    summary="Asked at {{ since }} in {{ message.conversation_id }}",
    sample={
        **match.KIND.sample,
        **key_facts(("conversation", "watched"), ("group_hiking", "superhero3")),
        **unanswered_facts(
            Options(within=timedelta(minutes=15)),
            asker="superhero2",
            awaited="superhero3",
            since=micros(match.SAMPLE_AT),
        ),
    },
    build=build,
    needs=match.needs,
)
