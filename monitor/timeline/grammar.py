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


# --- the timeline --------------------------------------------------------------------------------------

FILE: Final = Either(
    plain=Text(max_length=300, expected="the name of a file", example="photo.png"),
    mapping=Record(
        name="a file",
        required=("name",),
        keys={
            "name": Key(Text(max_length=300), "Its name; extension and kind follow from it.", "name: a.zip"),
            "size": Key(Size(), "How large it is. Default: 48kB.", "size: 50MB"),
            "mime": Key(Text(max_length=200), "Its MIME type, if not by its name.", "mime: text/plain"),
            "url": Key(Text(max_length=2_000), "Where it is.", "url: https://files.example/a.zip"),
        },
    ),
)

MESSAGE: Final = Record(
    name="a message",
    required=("from",),
    keys={
        "from": Key(UID, "Who writes; app_system is the app itself.", "from: ann"),
        "to": Key(UID, "Who is written to.", "to: bob"),
        "group": Key(UID, "Which group is written to.", "group: heroes"),
        "text": Key(LINE, "What is written; <@uid:bob> mentions bob. Default: hello.", "text: help!"),
        "mentions": Key(Many(each=UID), "Who is mentioned; all for everybody.", "mentions: bob"),
        "attachments": Key(Many(each=FILE), "Files that go with it.", "attachments: [photo.png]"),
        "id": Key(NAME, "A name for it, by which other entries mean it.", "id: question"),
        "category": Key(Text(max_length=100), "Default: message, or custom with `custom`.", None),
        "type": Key(Text(max_length=100), "Default: text, or the kind of the first file.", "type: card"),
        "tags": Key(Many(each=TAG), "Its tags.", "tags: [vip]"),
        "metadata": Key(Json(), "`data.metadata` as sent.", "metadata: {order: {priority: high}}"),
        "custom": Key(Json(), "`data.customData` as sent.", "custom: {callType: audio}"),
        "thread": Key(NAME, "The message in whose thread it replies.", "thread: question"),
        "sent": Key(
            Offset(is_signed=True), "It was sent so long before it came: `sentAt` is older.", "sent: -5m"
        ),
        "late": Key(
            SPAN, "Lists show it so much later, when rows after it may have been read.", "late: 5s"
        ),
        "raw": Key(
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
            "after": Key(SPAN, "How long after its start.", "after: 10s"),
            "by": Key(UID, "Who causes it, if not who usually does.", "by: carl"),
        },
    ),
)

CALL: Final = Record(
    name="a call",
    required=("from",),
    elsewhere={"answered": ': of a call that is answered, say "ongoing: 10s"'},
    keys={
        "from": Key(UID, "Who calls.", "from: ann"),
        "to": Key(UID, "Who is called.", "to: bob"),
        "group": Key(UID, "Which group is called.", "group: heroes"),
        "type": Key(Choice(words=("audio", "video")), "Default: audio.", "type: video"),
        "id": Key(NAME, "A name for it.", "id: first"),
        **{
            status: Key(BECOMES, f'So long after its start the call becomes "{status}".', f"{status}: 30s")
            for status in STATUSES
        },
    },
)

EDIT: Final = Record(
    name="an edit",
    required=("message", "text"),
    keys={
        "message": Key(NAME, "The id that this file gave the message.", "message: question"),
        "text": Key(LINE, "What it says then.", "text: never mind"),
        "by": Key(UID, "Who edits. Default: its sender.", "by: ann"),
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
        "group": Key(UID, "Which group.", "group: heroes"),
        "user": Key(UID, "Who joins or leaves.", "user: carl"),
        "by": Key(UID, "Who adds or kicks, if another does. Default: the user.", "by: ann"),
    },
)

WATCHED: Final = Either(
    plain=UID,
    mapping=Record(
        name="a watched user",
        required=("uid",),
        keys={
            "uid": Key(UID, "The uid.", "uid: bob"),
            "labels": Key(Words(max_length=200), "What alerts inherit.", "labels: {team: payments}"),
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
        "rules": Key(RULES, "The rule files and packs from then on.", "rules: [v2.yaml]"),
        "watch": Key(WATCH, "Who is watched from then on.", "watch: [bob, carl]"),
    },
)
MUTE: Final = Record(
    name="a mute",
    required=("rule", "for"),
    keys={
        "rule": Key(RULE, "The rule to mute.", "rule: missed-call"),
        "for": Key(SPAN, "For how long.", "for: 1h"),
    },
)

ACTIONS: Final = {
    "message": Key(MESSAGE, "Somebody writes.", "message: {from: ann, to: bob, text: hello}"),
    "call": Key(
        CALL, "Somebody calls, and what becomes of it.", "call: {from: ann, to: bob, unanswered: 45s}"
    ),
    "edit": Key(EDIT, "A message is edited.", "edit: {message: question, text: never mind}"),
    "delete": Key(DELETE, "A message is deleted.", "delete: {message: question}"),
    "join": Key(MEMBER, "Somebody joins a group, or is added.", "join: {group: heroes, user: carl}"),
    "leave": Key(MEMBER, "Somebody leaves a group, or is kicked.", "leave: {group: heroes, user: carl}"),
    "api": Key(Choice(words=("up", "down")), "CometChat answers, or not any more.", "api: down"),
    "receiver": Key(
        Named(name=NAME, each=Choice(words=ANSWERS), expected="receivers with what they answer"),
        "What receivers answer from then on: up; down; 429, too fast; 400, refused; hangs, nothing.",
        "receiver: {oncall: down}",
    ),
    "clock": Key(Offset(is_signed=True), "The clock of the monitor's machine is set.", "clock: +2h"),
    "restart": Key(SPAN, "The monitor ends, and starts again so much later.", "restart: 5m"),
    "reload": Key(RELOAD, "Other rules or watched users take effect.", "reload: {rules: [v2.yaml]}"),
    "mute": Key(MUTE, "A rule is muted.", "mute: {rule: missed-call, for: 1h}"),
}

ENTRY: Final = Record(
    name="an entry of the timeline",
    keys={
        "at": Key(SPAN, "When, since the start. Default: with the entry before.", "at: 5m"),
        "after": Key(SPAN, "When, since the entry before.", "after: 30s"),
        "times": Key(
            Placed(of=Text(pattern="[0-9]{1,4}", expected="a number up to 9999", example="20")),
            "How often; {n} in texts and uids is the number of the time.", "times: 20",
        ),
        "every": Key(SPAN, "How far apart these are. Default: 1s.", "every: 2s"),
        **ACTIONS,
    },
)  # fmt: skip

# --- what is expected ----------------------------------------------------------------------------------

MATCH: Final = Either(
    plain=RULE,
    mapping=Record(
        name="alerts",
        keys={
            "rule": Key(RULE, "Of this rule.", "rule: missed-call"),
            "severity": Key(
                Choice(words=tuple(one.value for one in Severity)), "Of this severity.", "severity: warning"
            ),
            "title": Key(LINE, "With this in the title.", "title: ann to bob"),
            "summary": Key(LINE, "With this in the summary.", "summary: not answered"),
            "about": Key(Many(each=UID), "About these watched users, among others.", "about: bob"),
            "labels": Key(Words(max_length=200), "With these labels.", "labels: {team: payments}"),
            "conversation": Key(LINE, "Of this conversation.", "conversation: ann_user_bob"),
            "message": Key(NAME, "That carry the message with this id.", "message: question"),
            "reason": Key(
                LINE, "With this in the reason why it is over, or why it was held.", "reason: cooldown"
            ),
            "receiver": Key(NAME, "Delivered to this receiver.", "receiver: oncall"),
            "status": Key(
                Choice(words=("firing", "resolved")), "Delivered or held as this.", "status: resolved"
            ),
            "kind": Key(Choice(words=KINDS), "Delivered in a notification of this kind.", "kind: summary"),
            "late": Key(Flag(), "Told as old news, or not.", "late: true"),
        },
    ),
)

NEWS: Final = {
    "raised": Key(MATCH, "An alert is found and recorded.", "raised: missed-call"),
    "updated": Key(MATCH, "A raised alert is brought up to date.", "updated: flood"),
    "resolved": Key(MATCH, "A raised alert is over.", "resolved: missed-call"),
    "delivered": Key(MATCH, "A receiver accepts an alert.", "delivered: {receiver: oncall}"),
    "held": Key(MATCH, "An alert is recorded and not sent at once.", "held: {reason: cooldown}"),
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
        "never": Key(
            Either(plain=RULE, mapping=Record(name="what must not come", keys=NEWS)),
            "This must not come; a rule's name alone: it must not raise anything.",
            "never: {resolved: missed-call}",
        ),
        "by": Key(SPAN, "At the latest so long after the start.", "by: 2m"),
        "at": Key(SPAN, "Then, or up to 15s later: reading takes its time.", "at: 90s"),
        "after": Key(SPAN, "Not sooner than so long after the start.", "after: 1m"),
        "times": Key(
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
            "name": Key(Text(max_length=100), "The display name.", "name: Ann"),
            "role": Key(Text(max_length=100), "The role.", "role: customer"),
            "tags": Key(Many(each=TAG), "The tags.", "tags: [vip]"),
        },
    ),
)

DESTINATION: Final = Either(
    plain=NAME,
    mapping=Record(
        name="a receiver",
        required=("name",),
        keys={
            "name": Key(NAME, "Its name.", "name: hook"),
            "people": Key(
                Flag(), "Read by people (the default), or by a machine, which gets batches.", "people: false"
            ),
        },
    ),
)

ROUTE: Final = Record(
    name="a route",
    required=("receivers",),
    keys={
        "match": Key(
            Named(name=NAME, each=Many(each=NAME), expected="labels with one or several values"),
            "Labels that an alert must have; rule and severity are among them.",
            "match: {severity: critical}",
        ),
        "receivers": Key(Many(each=NAME), "Who is told.", "receivers: [oncall]"),
        "continue": Key(Flag(), "Go on to the next routes.", "continue: true"),
    },
)

STAGE: Final = {
    "start": Key(
        Moment(),
        "When the test starts. Default: Monday 2026-03-02 9:00 UTC.",
        "start: fri 17:30 Europe/Paris",
    ),
    "until": Key(
        SPAN,
        "How long it runs. Default: until no rule waits any more, eight days at most.",
        "until: 20m",
    ),
    "watch": Key(
        WATCH, "Who is watched. Default: who is called, written to first, or mentioned.", "watch: bob"
    ),
    "users": Key(
        Named(name=UID, each=PERSON, expected="uids with names or more"),
        "Names, roles and tags of users. Who takes part need not stand here.",
        "users: {ann: {name: Ann, role: customer}}",
    ),
    "groups": Key(
        Named(name=UID, each=Many(each=UID), expected="groups with their members"),
        "Who is in which group. Default: everybody in every group.",
        "groups: {heroes: [ann, bob]}",
    ),
    "source": Key(
        Choice(words=SOURCES), "As `watch.source` of the settings; groups are watched.", "source: user-all"
    ),
    "receivers": Key(
        Many(each=DESTINATION),
        "Who is told. Default: oncall.",
        "receivers: [oncall, {name: hook, people: false}]",
    ),
    "routes": Key(
        Many(each=ROUTE),
        "Who is told of what, as in the settings. Default: every receiver of everything.",
        "routes: [{match: {severity: critical}, receivers: [oncall]}]",
    ),
    "max_age": Key(SPAN, "Older findings are told as old news. Default: 1h.", "max_age: 15m"),
    "strict": Key(
        Flag(),
        "Whether what is updated and resolved must be expected too, as what is raised.",
        "strict: true",
    ),
}

TEST: Final = Record(
    name="a test",
    required=("name", "timeline"),
    keys={
        "name": Key(Text(max_length=300, expected="a sentence"), "What it shows.", "name: a call is missed"),
        "timeline": Key(
            Some(
                each=Placed(of=ENTRY),
                expected="a list of what happens",
                example="[{at: 0s, call: {from: ann, to: bob}}]",
            ),
            "What happens, in order.",
            "timeline: [{at: 0s, call: {from: ann, to: bob}}]",
        ),
        "expect": Key(
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
        "rules": Key(RULES, "Rule files, relative to this one, and packs.", "rules: [rules.yaml]"),
        **STAGE,
        "tests": Key(
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
