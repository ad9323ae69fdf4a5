"""Models of `sequence`, `change`, `new_value` and `unanswered`: as slow and plain as their definitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Final

from rules.model import Message, MessageId, Party
from tests.properties.oracle import Fact, Model, Truth
from tests.properties.stories import Draw, Subject
from tests.rules.builders import a_message, after

DAY: Final = 86_400


class Happened(Model):
    """What happened between two people, and is never over."""

    resolves = False

    def keys(self, message: Message) -> list[str]:
        return [message.sender.id]


# --- sequence ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SequenceModel(Happened):
    steps: str  #: a letter for the tag that each step asks for
    within: int

    def values(self, message: Message, key: str) -> list[str]:
        return ["".join(message.tags)] if set(message.tags) & set(self.steps) else []

    def truths(self, facts: Sequence[Fact], seen: int) -> list[Truth]:
        groups: list[list[tuple[int, Fact]]] = []
        for start, end in sorted(self._runs(facts)):
            if groups and start <= max(done.at for _, done in groups[-1]):
                groups[-1].append((start, end))
            else:
                groups.append([(start, end)])
        return [self._truth(group) for group in groups]

    def _truth(self, group: Sequence[tuple[int, Fact]]) -> Truth:
        ends = sorted(end for _, end in group)
        return Truth(first=group[0][0], last=ends[-1].at, marks=[(ends[0].at, ends[0].id)])

    def _runs(self, facts: Sequence[Fact]) -> Iterator[tuple[int, Fact]]:
        for place, fact in enumerate(facts):
            starts = list(self._starts(facts, place, len(self.steps) - 1))
            if starts and fact.at - max(starts) <= self.within:
                yield max(starts), fact

    def _starts(self, facts: Sequence[Fact], place: int, step: int) -> Iterator[int]:
        """Where runs may begin whose step this message is."""
        if self.steps[step] not in facts[place].value:
            return
        if step == 0:
            yield facts[place].at
            return
        for earlier in range(place):
            if facts[place].at - facts[earlier].at <= self.within:
                yield from self._starts(facts, earlier, step - 1)


def tagged(random: Random, id_: int, at: int) -> Message:
    sender = Party(id=random.choice(("ann", "ann", "eve")))
    tags = tuple(sorted(random.sample("abc", random.choice((1, 2, 2, 3)))))
    return a_message(id=MessageId(id_), sent_at=after(at), sender=sender, tags=tags)


def sequence(random: Random) -> Subject:
    steps = random.choice(("ab", "ab", "abc", "aa", "aba", "aab"))
    within = random.choice((10, 60, 3600))
    conditions = ", ".join(f"{{tags: {step}}}" for step in steps)
    return Subject(
        options=f"kind: sequence, by: [sender], within: {within}s, steps: [{conditions}]",
        model=SequenceModel(steps, within),
        pace=max(1, within // random.randint(1, 6)),
        write=tagged,
    )


# --- change ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChangeModel(Happened):
    forget: int

    def values(self, message: Message, key: str) -> list[str]:
        return [message.sender.role] if message.sender.role else []

    def truths(self, facts: Sequence[Fact], seen: int) -> list[Truth]:
        last = {fact.at: fact for fact in facts}  # of one instant the last one stays
        return [
            Truth(first=before.at + 0.5, last=now.at, marks=[(now.at, now.id)], ended=True)
            for before, now in pairwise(last.values())
            if before.value != now.value and now.at - before.at <= self.forget
        ]


def in_roles(random: Random, id_: int, at: int) -> Message:
    role = random.choice((None, "agent", "agent", "customer", "guest"))
    sender = Party(id=random.choice(("ann", "ann", "eve")), role=role)
    return a_message(id=MessageId(id_), sent_at=after(at), sender=sender)


def change(random: Random) -> Subject:
    forget = random.choice((1, 10, 30 * 24)) * 3600
    return Subject(
        options=f"kind: change, field: role, by: [sender], forget: {forget // 3600}h",
        model=ChangeModel(forget),
        pace=random.choice((1, 60, 600, 1800)),
        write=in_roles,
    )


# --- new_value ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NewValueModel(Happened):
    learn: int
    forget: int

    def keys(self, message: Message) -> list[str]:
        return ["all"]

    def values(self, message: Message, key: str) -> list[str]:
        return list(message.tags)

    def truths(self, facts: Sequence[Fact], seen: int) -> list[Truth]:
        return [truth for value in {fact.value for fact in facts} for truth in self._of(value, facts)]

    def _of(self, value: str, facts: Sequence[Fact]) -> Iterator[Truth]:
        part = self.forget // 100
        noon = round(after(0).timestamp())
        mine = [fact for fact in facts if fact.value == value]
        runs = [[mine[0]]]
        for before, now in pairwise(mine):
            if (noon + now.at) // part - (noon + before.at) // part > 100:
                runs.append([])
            runs[-1].append(now)
        for run in runs:
            first = run[0]
            marks = [(first.at, first.id)] if first.at >= facts[0].at + self.learn else []
            yield Truth(first=first.at, last=run[-1].at, marks=marks, ended=True, strand=value)


def with_tags(random: Random, id_: int, at: int) -> Message:
    tags = tuple(sorted(random.sample(("p", "q", "r", "s", "t", "u", "v"), random.choice((0, 1, 1, 2)))))
    return a_message(id=MessageId(id_), sent_at=after(at), sender=Party(id="ann"), tags=tags)


def new_value(random: Random) -> Subject:
    learn = random.choice((0, 60, 3600, DAY))
    forget = random.choice((3600, 10 * 3600, DAY))
    return Subject(
        options=f"kind: new_value, field: tag, learn: {learn}s, forget: {forget}s",
        model=NewValueModel(learn, forget),
        pace=random.choice((1, 60, forget // 100, forget // 20)),
        write=with_tags,
    )


# --- unanswered --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UnansweredModel(Model):
    within: int
    give_up: int
    answer_from: str

    @property
    def is_personal(self) -> bool:
        return self.answer_from in ("receiver", "mentioned")

    def keys(self, message: Message) -> list[str]:
        room = message.conversation_id
        if not self.is_personal:
            return [room]
        named = message.mentions if self.answer_from == "mentioned" else (message.receiver.id,)
        asked = named if "q" in message.tags else ()
        return [f"{room} {uid}" for uid in dict.fromkeys((*asked, message.sender.id)) if uid in WATCHED]

    def values(self, message: Message, key: str) -> list[str]:
        who = message.sender.id
        if self.is_personal:
            is_awaited = key.endswith(f" {who}")
            return [f"says {who}"] if is_awaited else [f"asks {who}"]
        return [("asks " if "q" in message.tags else "says ") + who]

    def truths(self, facts: Sequence[Fact], seen: int) -> list[Truth]:
        return [truth for truth in self._waits(facts, seen) if not truth.marks or truth.marks[0][0] <= seen]

    def due(self, facts: Sequence[Fact], seen: int) -> int | None:
        marks = [truth.marks[0][0] for truth in self._waits(facts, seen) if truth.marks]
        return min((mark for mark in marks if mark > seen), default=None)

    def _waits(self, facts: Sequence[Fact], seen: int) -> Iterator[Truth]:
        """Each question, from when it was asked until it was answered, or nobody waits any more."""
        rest = list(facts)
        while rest:
            question = rest.pop(0)
            if not question.value.startswith("asks "):
                continue
            due = question.at + self.within
            over = due + self.give_up
            answer = next((fact for fact in rest if self._answers(fact, question)), None)
            expired = next((fact for fact in rest if fact.at > over), None)
            mark = (due, question.id)
            if answer is not None and answer.at <= over:
                marks = [mark] if answer.at > due else []
                yield Truth(first=question.at, last=answer.at, marks=marks, ended=True)
                rest = rest[rest.index(answer) :]  # it may ask in turn
            elif expired is not None:
                yield Truth(first=question.at, last=over, marks=[mark], over=over)
                rest = rest[rest.index(expired) :]
            else:
                last = min(over, max(due, seen, facts[-1].at))
                yield Truth(first=question.at, last=last, marks=[mark], over=over)
                return

    def _answers(self, fact: Fact, question: Fact) -> bool:
        who, asker = fact.value.split()[1], question.value.split()[1]
        if self.is_personal:
            return fact.value.startswith("says ")
        return who != asker and (self.answer_from != "watched" or who in WATCHED)


WATCHED: Final = ("ann", "bob", "eve")


def in_talk(random: Random, id_: int, at: int) -> Message:
    """People of whom most are watched write to each other, or in a group."""
    tags = ("q",) if random.random() < 0.5 else ()
    who, whom = random.sample(("ann", "bob", "bob", "joe"), 2)
    room = random.choice(("ann", "bob", "joe"))
    facts = {"id": MessageId(id_), "sent_at": after(at), "sender": Party(id=who), "tags": tags}
    if room == "joe" or who == whom:
        mentions = tuple(sorted({*random.sample(("ann", "bob", "joe"), random.randint(0, 2))}))
        return a_message(
            **facts,
            receiver=Party(id="team"),
            receiver_type="group",
            conversation_id="group_team",
            mentions=mentions,
        )
    ends = sorted((who, whom))
    return a_message(**facts, receiver=Party(id=whom), conversation_id=f"{ends[0]}_user_{ends[1]}")


def between_two(random: Random, id_: int, at: int) -> Message:
    """Ann and Bob write to each other."""
    who, whom = random.sample(("ann", "bob"), 2)
    return a_message(
        id=MessageId(id_),
        sent_at=after(at),
        sender=Party(id=who),
        receiver=Party(id=whom),
        tags=("q",) if random.random() < 0.6 else (),
    )


def unanswered(random: Random) -> Subject:
    within = random.choice((10, 60, 900, 7200))
    give_up = random.choice((60, 3600, 7 * DAY))
    answer_from = random.choice(("receiver", "mentioned", "watched", "anyone"))
    # Who writes is put down as part of the conversation: the receiver of a group is nobody.
    write = between_two if answer_from == "receiver" else in_talk
    return Subject(
        options=f"kind: unanswered, when: {{tags: q}}, within: {within}s, give_up: {give_up}s, "
        f"answer_from: {answer_from}",
        model=UnansweredModel(within, give_up, answer_from),
        pace=max(1, within // random.randint(1, 5)),
        write=write,
    )


SUBJECTS: Final[Mapping[str, Draw]] = {
    "sequence": sequence,
    "change": change,
    "new_value": new_value,
    "unanswered": unanswered,
}
