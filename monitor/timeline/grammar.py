"""How tests are written: one table of keys, from which parser, messages and schema are made."""

from __future__ import annotations

from typing import Any, Final

from monitor.lists import SOURCES
from monitor.timeline.model import WHATS
from monitor.timeline.shapes import Json, Moment, Named, Offset, Placed, Some
from rules.grammar import (
    Choice,
    Either,
    Flag,
    Key,
    Many,
    Record,
    Shape,
    Size,
    Text,
    Words,
)
from rules.model import Severity

STATUSES: Final = ("ongoing", "ended", "unanswered", "cancelled", "rejected", "busy")
ANSWERS: Final = ("up", "down", "429", "400", "hangs")
KINDS: Final = ("alerts", "summary", "digest")

UID: Final = Placed(
    of=Text(
        pattern=r"(?:[A-Za-z0-9_-]|\{n\}){1,100}",
        expected="a uid: letters, digits, - and _",
        example="superhero2",
    )
)
NAME: Final = Placed(of=Text(max_length=100, expected="a name", example="hello"))
RULE: Final = Placed(of=Text(max_length=100, expected="the name of a rule", example="missed-call"))
LINE: Final = Text(max_length=10_000)
TAG: Final = Placed(of=Text(max_length=100, expected="a tag", example="vip"))
SPAN: Final = Offset()
"""A time since the start of the test, or a length of time."""


def _key(shape: Shape, description: str, example: str | None = None) -> Key:
    return Key(shape, description, example)


# --- the timeline --------------------------------------------------------------------------------------

FILE: Final = Either(
    plain=Text(max_length=300, expected="the name of a file", example="photo.png"),
    mapping=Record(
        name="a file",
        required=("name",),
        keys={
            "name": _key(Text(max_length=300), "Its name; extension and kind follow from it.", "name: a.zip"),
            "size": _key(Size(), "How large it is. Default: 48kB.", "size: 50MB"),
            "mime": _key(Text(max_length=200), "Its MIME type, if not by its name.", "mime: text/plain"),
            "url": _key(Text(max_length=2_000), "Where it is.", "url: https://files.example/a.zip"),
        },
    ),
)

MESSAGE: Final = Record(
    name="a message",
    required=("from",),
    keys={
        "from": _key(UID, "Who writes; app_system is the app itself.", "from: ann"),
        "to": _key(UID, "Who is written to.", "to: bob"),
        "group": _key(UID, "Which group is written to.", "group: heroes"),
        "text": _key(LINE, "What is written; <@uid:bob> mentions bob. Default: hello.", "text: help!"),
        "mentions": _key(Many(each=UID), "Who is mentioned; all for everybody.", "mentions: bob"),
        "attachments": _key(Many(each=FILE), "Files that go with it.", "attachments: [photo.png]"),
        "id": _key(NAME, "A name for it, by which other entries mean it.", "id: question"),
        "category": _key(Text(max_length=100), "Default: message, or custom with `custom`.", None),
        "type": _key(Text(max_length=100), "Default: text, or the kind of the first file.", "type: card"),
        "tags": _key(Many(each=TAG), "Its tags.", "tags: [vip]"),
        "metadata": _key(Json(), "`data.metadata` as sent.", "metadata: {order: {priority: high}}"),
        "custom": _key(Json(), "`data.customData` as sent.", "custom: {callType: audio}"),
        "thread": _key(NAME, "The message in whose thread it replies.", "thread: question"),
        "sent": _key(
            Offset(is_signed=True), "It was sent so long before it came: `sentAt` is older.", "sent: -5m"
        ),
        "late": _key(
            SPAN, "Lists show it so much later, when rows after it may have been read.", "late: 5s"
        ),
        "raw": _key(
            Json(), "Laid over the row as CometChat sends it, for what has no key here.",
            "raw: {data: {moderation: {status: disapproved}}}",
        ),
    },
)  # fmt: skip

BECOMES: Final = Either(
    plain=SPAN,
    mapping=Record(
        name="a change of the call",
        required=("after",),
        keys={
            "after": _key(SPAN, "How long after its start.", "after: 10s"),
            "by": _key(UID, "Who causes it, if not who usually does.", "by: carl"),
        },
    ),
)

CALL: Final = Record(
    name="a call",
    required=("from",),
    elsewhere={"answered": ': of a call that is answered, say "ongoing: 10s"'},
    keys={
        "from": _key(UID, "Who calls.", "from: ann"),
        "to": _key(UID, "Who is called.", "to: bob"),
        "group": _key(UID, "Which group is called.", "group: heroes"),
        "type": _key(Choice(words=("audio", "video")), "Default: audio.", "type: video"),
        "id": _key(NAME, "A name for it.", "id: first"),
        **{
            status: _key(BECOMES, f'So long after its start the call becomes "{status}".', f"{status}: 30s")
            for status in STATUSES
        },
    },
)

EDIT: Final = Record(
    name="an edit",
    required=("message", "text"),
    keys={
        "message": _key(NAME, "The id that this file gave the message.", "message: question"),
        "text": _key(LINE, "What it says then.", "text: never mind"),
        "by": _key(UID, "Who edits. Default: its sender.", "by: ann"),
    },
)
DELETE: Final = Record(
    name="a deletion",
    required=("message",),
    keys={key: EDIT.keys[key] for key in ("message", "by")},
)
MEMBER: Final = Record(
    name="a change of members",
    required=("group", "user"),
    keys={
        "group": _key(UID, "Which group.", "group: heroes"),
        "user": _key(UID, "Who joins or leaves.", "user: carl"),
        "by": _key(UID, "Who adds or kicks, if another does. Default: the user.", "by: ann"),
    },
)

WATCHED: Final = Either(
    plain=UID,
    mapping=Record(
        name="a watched user",
        required=("uid",),
        keys={
            "uid": _key(UID, "The uid.", "uid: bob"),
            "labels": _key(Words(max_length=200), "What alerts inherit.", "labels: {team: payments}"),
        },
    ),
)
WATCH: Final = Many(each=WATCHED)
RULES: Final = Many(
    each=Placed(of=Text(max_length=500, expected="a rule file or the name of a pack", example="missed-calls"))
)

RELOAD: Final = Record(
    name="what changes",
    keys={
        "rules": _key(RULES, "The rule files and packs from then on.", "rules: [v2.yaml]"),
        "watch": _key(WATCH, "Who is watched from then on.", "watch: [bob, carl]"),
    },
)
MUTE: Final = Record(
    name="a mute",
    required=("rule", "for"),
    keys={
        "rule": _key(RULE, "The rule to mute.", "rule: missed-call"),
        "for": _key(SPAN, "For how long.", "for: 1h"),
    },
)

ACTIONS: Final = {
    "message": _key(MESSAGE, "Somebody writes.", "message: {from: ann, to: bob, text: hello}"),
    "call": _key(
        CALL, "Somebody calls, and what becomes of it.", "call: {from: ann, to: bob, unanswered: 45s}"
    ),
    "edit": _key(EDIT, "A message is edited.", "edit: {message: question, text: never mind}"),
    "delete": _key(DELETE, "A message is deleted.", "delete: {message: question}"),
    "join": _key(MEMBER, "Somebody joins a group, or is added.", "join: {group: heroes, user: carl}"),
    "leave": _key(MEMBER, "Somebody leaves a group, or is kicked.", "leave: {group: heroes, user: carl}"),
    "api": _key(Choice(words=("up", "down")), "CometChat answers, or not any more.", "api: down"),
    "receiver": _key(
        Named(name=NAME, each=Choice(words=ANSWERS), expected="receivers with what they answer"),
        "What receivers answer from then on: up; down; 429, too fast; 400, refused; hangs, nothing.",
        "receiver: {oncall: down}",
    ),
    "clock": _key(Offset(is_signed=True), "The clock of the monitor's machine is set.", "clock: +2h"),
    "restart": _key(SPAN, "The monitor ends, and starts again so much later.", "restart: 5m"),
    "reload": _key(RELOAD, "Other rules or watched users take effect.", "reload: {rules: [v2.yaml]}"),
    "mute": _key(MUTE, "A rule is muted.", "mute: {rule: missed-call, for: 1h}"),
}

ENTRY: Final = Record(
    name="an entry of the timeline",
    keys={
        "at": _key(SPAN, "When, since the start. Default: with the entry before.", "at: 5m"),
        "after": _key(SPAN, "When, since the entry before.", "after: 30s"),
        "times": _key(
            Placed(of=Text(pattern="[0-9]{1,4}", expected="a number up to 9999", example="20")),
            "How often; {n} in texts and uids is the number of the time.", "times: 20",
        ),
        "every": _key(SPAN, "How far apart these are. Default: 1s.", "every: 2s"),
        **ACTIONS,
    },
)  # fmt: skip

# --- what is expected ----------------------------------------------------------------------------------

MATCH: Final = Either(
    plain=RULE,
    mapping=Record(
        name="alerts",
        keys={
            "rule": _key(RULE, "Of this rule.", "rule: missed-call"),
            "severity": _key(
                Choice(words=tuple(one.value for one in Severity)), "Of this severity.", "severity: warning"
            ),
            "title": _key(LINE, "With this in the title.", "title: ann to bob"),
            "summary": _key(LINE, "With this in the summary.", "summary: not answered"),
            "about": _key(Many(each=UID), "About these watched users, among others.", "about: bob"),
            "labels": _key(Words(max_length=200), "With these labels.", "labels: {team: payments}"),
            "conversation": _key(LINE, "Of this conversation.", "conversation: ann_user_bob"),
            "message": _key(NAME, "That carry the message with this id.", "message: question"),
            "reason": _key(
                LINE, "With this in the reason why it is over, or why it was held.", "reason: cooldown"
            ),
            "receiver": _key(NAME, "Delivered to this receiver.", "receiver: oncall"),
            "status": _key(
                Choice(words=("firing", "resolved")), "Delivered or held as this.", "status: resolved"
            ),
            "kind": _key(Choice(words=KINDS), "Delivered in a notification of this kind.", "kind: summary"),
            "late": _key(Flag(), "Told as old news, or not.", "late: true"),
        },
    ),
)

NEWS: Final = {
    "raised": _key(MATCH, "An alert is found and recorded.", "raised: missed-call"),
    "updated": _key(MATCH, "A raised alert is brought up to date.", "updated: flood"),
    "resolved": _key(MATCH, "A raised alert is over.", "resolved: missed-call"),
    "delivered": _key(MATCH, "A receiver accepts an alert.", "delivered: {receiver: oncall}"),
    "held": _key(MATCH, "An alert is recorded and not sent at once.", "held: {reason: cooldown}"),
}
assert tuple(NEWS) == WHATS

EXPECT: Final = Record(
    name="an expectation",
    elsewhere={
        "within": ': say "by", or "after" and "by"',
        **dict.fromkeys(("rule", "severity", "title", "about"), ': it belongs inside, as in "raised: {…}"'),
    },
    keys={
        **NEWS,
        "never": _key(
            Either(plain=RULE, mapping=Record(name="what must not come", keys=NEWS)),
            "This must not come; a rule's name alone: it must not raise anything.",
            "never: {resolved: missed-call}",
        ),
        "by": _key(SPAN, "At the latest so long after the start.", "by: 2m"),
        "at": _key(SPAN, "Then, or up to 15s later: reading takes its time.", "at: 90s"),
        "after": _key(SPAN, "Not sooner than so long after the start.", "after: 1m"),
        "times": _key(
            Placed(of=Text(pattern=r"[0-9]{1,4}\+?", expected="a number, or a number and +", example="3")),
            "How often, exactly; 3+ for three times or more. Default: once.",
            "times: 3",
        ),
    },
)

# --- the stage -----------------------------------------------------------------------------------------

PERSON: Final = Either(
    plain=Text(max_length=100, expected="a name", example="Ann"),
    mapping=Record(
        name="a user",
        keys={
            "name": _key(Text(max_length=100), "The display name.", "name: Ann"),
            "role": _key(Text(max_length=100), "The role.", "role: customer"),
            "tags": _key(Many(each=TAG), "The tags.", "tags: [vip]"),
        },
    ),
)

DESTINATION: Final = Either(
    plain=NAME,
    mapping=Record(
        name="a receiver",
        required=("name",),
        keys={
            "name": _key(NAME, "Its name.", "name: hook"),
            "people": _key(
                Flag(), "Read by people (the default), or by a machine, which gets batches.", "people: false"
            ),
        },
    ),
)

ROUTE: Final = Record(
    name="a route",
    required=("receivers",),
    keys={
        "match": _key(
            Named(name=NAME, each=Many(each=NAME), expected="labels with one or several values"),
            "Labels that an alert must have; rule and severity are among them.",
            "match: {severity: critical}",
        ),
        "receivers": _key(Many(each=NAME), "Who is told.", "receivers: [oncall]"),
        "continue": _key(Flag(), "Go on to the next routes.", "continue: true"),
    },
)

STAGE: Final = {
    "start": _key(
        Moment(),
        "When the test starts. Default: Monday 2026-03-02 9:00 UTC.",
        "start: fri 17:30 Europe/Paris",
    ),
    "until": _key(
        SPAN,
        "How long it runs. Default: until no rule waits any more, eight days at most.",
        "until: 20m",
    ),
    "watch": _key(
        WATCH, "Who is watched. Default: who is called, written to first, or mentioned.", "watch: bob"
    ),
    "users": _key(
        Named(name=UID, each=PERSON, expected="uids with names or more"),
        "Names, roles and tags of users. Who takes part need not stand here.",
        "users: {ann: {name: Ann, role: customer}}",
    ),
    "groups": _key(
        Named(name=UID, each=Many(each=UID), expected="groups with their members"),
        "Who is in which group. Default: everybody in every group.",
        "groups: {heroes: [ann, bob]}",
    ),
    "source": _key(
        Choice(words=SOURCES), "As `watch.source` of the settings; groups are watched.", "source: user-all"
    ),
    "receivers": _key(
        Many(each=DESTINATION),
        "Who is told. Default: oncall.",
        "receivers: [oncall, {name: hook, people: false}]",
    ),
    "routes": _key(
        Many(each=ROUTE),
        "Who is told of what, as in the settings. Default: every receiver of everything.",
        "routes: [{match: {severity: critical}, receivers: [oncall]}]",
    ),
    "max_age": _key(SPAN, "Older findings are told as old news. Default: 1h.", "max_age: 15m"),
    "strict": _key(
        Flag(),
        "Whether what is updated and resolved must be expected too, as what is raised.",
        "strict: true",
    ),
}

TEST: Final = Record(
    name="a test",
    required=("name", "timeline"),
    keys={
        "name": _key(Text(max_length=300, expected="a sentence"), "What it shows.", "name: a call is missed"),
        "timeline": _key(
            Some(
                each=Placed(of=ENTRY),
                expected="a list of what happens",
                example="[{at: 0s, call: {from: ann, to: bob}}]",
            ),
            "What happens, in order.",
            "timeline: [{at: 0s, call: {from: ann, to: bob}}]",
        ),
        "expect": _key(
            Some(
                each=Placed(of=EXPECT),
                expected="a list of what must come",
                example="[{raised: missed-call, by: 2m}]",
            ),
            "What must come of it. What is raised and not expected fails the test.",
            "expect: [{raised: missed-call, by: 2m}]",
        ),
        **STAGE,
    },
)

SUITE: Final = Record(
    name="a test file",
    required=("tests",),
    keys={
        "rules": _key(RULES, "Rule files, relative to this one, and packs.", "rules: [rules.yaml]"),
        **STAGE,
        "tests": _key(
            Some(each=Placed(of=TEST), expected="a list of tests", example="[{name: quiet, timeline: []}]"),
            "The tests. What stands beside them holds for all that do not say otherwise.",
            "tests: [{name: a call is missed, timeline: [{call: {from: ann, to: bob}}]}]",
        ),
    },
)


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a test file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Cometwatch rule tests",
        "description": "What happens at which time, and what must have been told by when.",
        **SUITE.schema(),
    }
