"""The kind `match`: each message that meets the conditions is a finding."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rules.access import interest_of
from rules.conditions import Condition, Field, Interest, Mentions, Test, beyond_interest
from rules.kinds.base import Found, Kind, Needs, evidence
from rules.model import Attachment, Message, MessageId, Party, UserId, WatchSet, watched
from rules.templates import message_facts
from rules.when import MESSAGE_CONDITIONS


class Match:
    """Event findings: they have no state and never resolve."""

    is_lasting = False

    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self.interest: Interest = interest_of(condition)
        self.test: Test = beyond_interest(condition).compile()
        self.conditions: Mapping[str, Condition] = {"when": condition}
        self._is_about_mentions = any(isinstance(part, Mentions) for part in condition.parts())

    def found(self, message: Message, watch: WatchSet) -> Found | None:
        users = self._watched_users(message, watch)
        # Nobody here is watched any longer. Who is in a group is not known: its rows came to us for someone.
        if not users and message.receiver_type != "group":
            return None
        kept = evidence(message)
        return Found(
            key=str(message.id),
            episode=str(message.id),
            event_at=message.sent_at,
            conversation_id=kept.conversation_id,
            watched_users=users,
            messages=(kept,),
            facts=message_facts(message, users),
        )

    def _watched_users(self, message: Message, watch: WatchSet) -> tuple[UserId, ...]:
        mentioned = watched(message.mentions, watch) if self._is_about_mentions else ()
        return mentioned or watched(message.participants, watch)

    def describe(self) -> str:
        return f"messages with {self.condition.describe()}"


def build(condition: Condition | None, options: Mapping[str, Any]) -> Match:  # noqa: ARG001 - it has none
    assert condition is not None
    return Match(condition)


def needs(condition: Condition | None) -> Needs:
    parts = tuple(condition.parts()) if condition else ()
    calls = any(map(_is_about_calls, parts))
    return Needs(
        groups=any(map(_is_about_groups, parts)),
        calls=calls,
        direct=calls or any(map(_is_about_two, parts)),
        crowd=any(_is_about_groups(part) and not _names_us(part) for part in parts),
    )


def _is_about_groups(part: Condition) -> bool:
    match part:
        case Mentions():
            return True  # mentions live in groups
        case Field(name="receiver_type", values=values):
            return "group" in values
        case Field(name="type", values=values):
            return "groupMember" in values
        case Field(name="conversation", values=values):
            return any(value.startswith("group_") for value in values)
        case _:
            return isinstance(part, Field) and part.name == "subject"


def _names_us(part: Condition) -> bool:
    return isinstance(part, Mentions) and part.who == ("watched",) and not part.users


def _is_about_two(part: Condition) -> bool:
    match part:
        case Field(name="receiver_type", values=values):
            return "user" in values
        case Field(name="conversation", values=values):
            return any("_user_" in value for value in values)
        case _:
            return False


def _is_about_calls(part: Condition) -> bool:
    match part:
        case Field(name="category", values=values):
            return "call" in values
        case Field(name="caller" | "callee"):
            return True
        case _:
            return False


SAMPLE_AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)

SAMPLE = Message(
    id=MessageId(1777),
    conversation_id="group_hiking",
    sender=Party(id="superhero2", name="Captain America", role="default"),
    receiver=Party(id="hiking", name="Hiking Group"),
    receiver_type="group",
    category="message",
    type="image",
    sent_at=SAMPLE_AT,
    action="edited",
    parent_id=MessageId(1776),
    subject=Party(id="superhero3", name="Spiderman"),
    tags=("urgent",),
    attachments=(Attachment(name="photo.jpeg", extension="jpeg", mime_type="image/jpeg", size=48_213),),
    mentions=("superhero3",),
    moderation="approved",
)

KIND = Kind(
    description="Each message that meets the conditions raises one alert, which never resolves.",
    options={},
    conditions=MESSAGE_CONDITIONS,
    is_when_required=True,
    title="{{ rule.name }}: {{ message.type }} from {{ sender.label }} to {{ receiver.label }}",
    summary="{{ message.category }} in {{ message.conversation_id }}, {{ message.sent_at }}",
    sample=message_facts(SAMPLE, ("superhero3",)),
    build=build,
    needs=needs,
)
