"""How conditions are written in YAML: one table of keys, from which parser, messages and schema are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import yaml

from rules import conditions as c
from rules.cel import EXAMPLE, Expression
from rules.grammar import (
    MAX_LIST,
    TEXT_TAGS,
    Choice,
    Either,
    Flag,
    Key,
    Many,
    Record,
    Report,
    Scalar,
    Shape,
    Size,
    Text,
    described,
    did_you_mean,
    entries,
    shown,
    unknown,
)

CATEGORIES: Final = ("message", "call", "action", "custom", "interactive", "agentic", "card")
TYPES: Final = (
    *("text", "image", "video", "audio", "file", "groupMember", "message", "location", "meeting"),
    *("extension_poll", "extension_sticker", "extension_whiteboard", "extension_document"),
    *("form", "card", "customInteractive", "assistant", "tool-result", "tool-arguments"),
)
CALL_STATUSES: Final = ("initiated", "ongoing", "unanswered", "rejected", "busy", "cancelled", "ended")
ACTIONS: Final = (
    *CALL_STATUSES,
    *("edited", "deleted", "joined", "left", "kicked", "banned", "unbanned"),
    *("invited", "added", "scopeChanged", "canceled"),
)
MODERATION: Final = ("approved", "pending", "disapproved")


CEL: Final = Expression()
CEL_SAYS: Final = (
    "An expression in CEL (https://cel.dev) that must hold, for what the other keys can't say; it takes the "
    "place of the whole mapping too. Needs the extra cometwatch[cel]."
)


class Matcher(NamedTuple):
    """One key of `when`: how its value is written and which condition that makes."""

    key: Key
    build: Callable[[Any], c.Condition]


def _field(name: str, shape: Shape, description: str, example: str) -> Matcher:
    return Matcher(
        Key(Many(each=shape), description, f"{name}: {example}"),
        lambda values: c.Field(name=name, values=values),
    )


def _flag(name: str, description: str) -> Matcher:
    return Matcher(Key(Flag(), description, f"{name}: true"), lambda wanted: c.Flag(name=name, wanted=wanted))


def _lower(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(value.lower().removeprefix(".") for value in values)


UID: Final = Text(expected="a uid (* and ? are wild)", max_length=300, example="superhero2")
WORD: Final = Text(expected="a word or phrase", max_length=200, example="refund")
REGEX: Final = Text(
    expected="an RE2 regular expression (no look-around, no back-references)",
    max_length=1_000,
    check=c.regex_problem,
    doubt=c.regex_doubt,
    example=r"'(?i)\border #?[0-9]{6}\b'",
)
PATH: Final = Text(expected="a dotted path", max_length=300, example="order.priority")

TEXT: Final = Record(
    name="a mapping",
    keys={
        "words": Key(Many(each=WORD), "Whole words or phrases, in any case.", "words: [refund, charge back]"),
        "contains": Key(Many(each=WORD), "Parts of the text, in any case.", "contains: refund"),
        "regex": Key(
            Many(each=REGEX),
            "RE2 regular expressions, found anywhere in the text. Case counts unless they begin with (?i).",
            "regex: '(?i)invoice [0-9]+'",
        ),
    },
)

FILES: Final = Record(
    name="a mapping",
    keys={
        "type": Key(Many(each=Choice(words=c.FILE_TYPES)), "Kind of file, by its MIME type.", "type: image"),
        "extension": Key(
            Many(each=Text(max_length=40, example="pdf")),
            "File name extension, without the dot; * and ? are wild.",
            "extension: [exe, bat]",
        ),
        "mime": Key(
            Many(each=Text(max_length=200, example="application/pdf")),
            "MIME type; * and ? are wild.",
            "mime: image/*",
        ),
        "min_size": Key(
            Size(), "At least so large. A file of unknown size does not match.", "min_size: 10MB"
        ),
        "max_size": Key(Size(), "At most so large. A file of unknown size does not match.", "max_size: 1GB"),
    },
)

MENTION_USERS: Final = Record(
    name="a mapping",
    required=("users",),
    keys={"users": Key(Many(each=UID), "Mentioned uids; * and ? are wild.", "users: [superhero2, boss-*]")},
)


def _metadata(where: str) -> Callable[[dict[str, Any]], c.Condition]:
    def build(read: dict[str, Any]) -> c.Condition:
        equals = tuple(value for (value,) in read.get("equals", ()))
        return c.Metadata(where=where, path=read["path"], equals=equals, exists=read.get("exists", True))

    return build


@dataclass(frozen=True, kw_only=True)
class Path:
    """A dotted path, or a list of steps when a step itself contains a dot."""

    expected: str = "a dotted path, or a list of its steps"

    def read(self, node: yaml.Node, report: Report) -> Any:
        steps = Many(each=PATH, has_lists=False).read(node, report)
        return tuple(steps[0].split(".")) if isinstance(node, yaml.ScalarNode) and steps else steps

    def schema(self) -> dict[str, Any]:
        return Many(each=PATH, has_lists=False).schema()


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A path into free-form JSON with what should stand there."""

    record: Record

    @property
    def expected(self) -> str:
        return self.record.expected

    def read(self, node: yaml.Node, report: Report) -> Any:
        read = self.record.read(node, report)
        if read and "equals" in read and read.get("exists") is False:
            return report.refuse(node, '"exists: false" and "equals" exclude each other')
        return read

    def schema(self) -> dict[str, Any]:
        return self.record.schema()


TREE: Final = Tree(
    record=Record(
        required=("path",),
        keys={
            "path": Key(Path(), "Where to look; a number picks from a list.", "path: order.priority"),
            "equals": Key(Many(each=Scalar()), "One of these values, of the same JSON type.", "equals: high"),
            "exists": Key(
                Flag(), "Whether there is anything at the path (the default: true).", "exists: true"
            ),
        },
    )
)


def _text(read: Any) -> c.Condition:
    if isinstance(read, tuple):
        return c.TextMatch(words=read)
    return c.TextMatch(
        words=read.get("words", ()), contains=read.get("contains", ()), patterns=read.get("regex", ())
    )


def _attachments(read: Any) -> c.Condition:
    if isinstance(read, bool):
        return c.Attachments(wanted=read)
    return c.Attachments(
        types=read.get("type", ()),
        extensions=_lower(read.get("extension", ())),
        mime_types=_lower(read.get("mime", ())),
        min_size=read.get("min_size"),
        max_size=read.get("max_size"),
    )


def _mentions(read: Any) -> c.Condition:
    return c.Mentions(who=read) if isinstance(read, tuple) else c.Mentions(users=read["users"])


MATCHERS: Final[Mapping[str, Matcher]] = {
    "category": _field(
        "category",
        Text(max_length=100, known=CATEGORIES),
        "Category of the row; * and ? are wild.",
        "message",
    ),
    "type": _field(
        "type", Text(max_length=100, known=TYPES), "Type of the row; * and ? are wild.", "[image, video]"
    ),
    "action": _field(
        "action",
        Text(max_length=100, known=ACTIONS),
        "What a call or action row tells: unanswered, edited, kicked, …; * and ? are wild.",
        "[kicked, banned]",
    ),
    "sender": _field(
        "sender",
        UID,
        "Uid of the sender; * and ? are wild. Of a call row that is whoever caused the change: see `caller`.",
        "support-*",
    ),
    "receiver": _field("receiver", UID, "Uid or guid of the receiver; * and ? are wild.", "superhero2"),
    "receiver_type": _field(
        "receiver_type", Choice(words=("user", "group")), "Whether a user or a group receives it.", "group"
    ),
    "caller": _field(
        "caller", UID, "Uid of who calls; * and ? are wild. Only call rows match.", "superhero2"
    ),
    "callee": _field(
        "callee", UID, "Uid (or guid) of who is called; * and ? are wild. Only call rows match.", "superhero3"
    ),
    "subject": _field(
        "subject", UID, "Uid of whom a group action is about (kicked, banned, …); * and ? are wild.", "vip-*"
    ),
    "role": _field("role", UID, "Role of the sender; * and ? are wild.", "customer"),
    "direction": Matcher(
        Key(
            Choice(words=("inbound", "outbound")),
            "inbound: a watched user other than the sender receives it, or it goes to a group and its sender "
            "is not watched. outbound: a watched user sent it. Of a call row the caller counts as sender.",
            "direction: inbound",
        ),
        lambda way: c.Direction(way=way),
    ),
    "conversation": _field(
        "conversation",
        Text(expected="a conversation id (* and ? are wild)", max_length=300),
        "Conversation id; * and ? are wild.",
        "group_hiking",
    ),
    "tags": Matcher(
        Key(
            Many(each=Text(expected="a tag (* and ? are wild)", max_length=100)),
            "One of the message's tags is one of these; * and ? are wild.",
            "tags: [urgent, vip-*]",
        ),
        lambda values: c.Tags(values=values),
    ),
    "text": Matcher(
        Key(
            Either(plain=Many(each=WORD), mapping=TEXT),
            "The text or caption contains one of these whole words or phrases, in any case; or a mapping "
            "with `words`, `contains` and `regex`, one of which must be found.",
            "text: [refund, charge back]",
        ),
        _text,
    ),
    "mentions": Matcher(
        Key(
            Either(plain=Many(each=Choice(words=tuple(c.MENTIONED))), mapping=MENTION_USERS),
            "Who is mentioned: watched (a watched user), all (@all in a group), anyone, or given users.",
            "mentions: watched",
        ),
        _mentions,
    ),
    "attachments": Matcher(
        Key(
            Either(plain=Flag(), mapping=FILES),
            "true: has an attachment; false: has none; or a mapping: one attachment meets all its keys.",
            "attachments: {type: image, min_size: 10MB}",
        ),
        _attachments,
    ),
    "metadata": Matcher(
        Key(TREE, "A path inside `data.metadata`.", "metadata: {path: order.priority, equals: high}"),
        _metadata("metadata"),
    ),
    "custom": Matcher(
        Key(TREE, "A path inside `data.customData`.", "custom: {path: callType, equals: audio}"),
        _metadata("custom"),
    ),
    "moderation": _field(
        "moderation",
        Text(max_length=100, known=MODERATION),
        "Moderation status of the message.",
        "disapproved",
    ),
    "edited": _flag("edited", "The message has been edited, or the row tells of an edit."),
    "deleted": _flag("deleted", "The message has been deleted, or the row tells of a deletion."),
    "thread_reply": _flag("thread_reply", "The message replies in a thread."),
}

CALL_MATCHERS: Final[Mapping[str, Matcher]] = {
    name: MATCHERS[name] for name in ("caller", "callee", "type", "receiver_type", "conversation", "role")
}
"""What a rule that looks at whole calls may ask: facts that all rows of one call share."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """A mapping of matchers that must all hold, with `all`, `any` and `not` to nest."""

    matchers: Mapping[str, Matcher]
    ref: str  #: name of the definition in the JSON Schema
    has_cel: bool = False  #: whether an expression may take the place of the mapping, or stand in it

    @property
    def expected(self) -> str:
        return "conditions, such as " + ", ".join(list(self.matchers)[:4])

    @property
    def keys(self) -> dict[str, Key]:
        nested = {
            "all": Key(Several(of=self), "Every one of these holds.", "all: [{type: text}, {tags: vip}]"),
            "any": Key(
                Several(of=self), "At least one of these holds.", "any: [{type: image}, {text: invoice}]"
            ),
            "not": Key(self, "These do not all hold.", "not: {sender: app_system}"),
            "use": Key(
                Use(of=self),
                "A condition that `conditions` defines, in any of the files.",
                "use: from-outside",
            ),
        }
        free = {"cel": Key(CEL, CEL_SAYS, f'cel: "{EXAMPLE}"')} if self.has_cel else {}
        return {name: matcher.key for name, matcher in self.matchers.items()} | free | nested

    def read(self, node: yaml.Node, report: Report) -> Any:
        if self.has_cel and isinstance(node, yaml.ScalarNode) and node.tag in TEXT_TAGS:
            return CEL.read(node, report)
        before, made = report.failures, []
        keys = self.keys
        for name, _, child in entries(node, report, keys, expected=self.expected, hint=self._hint):
            value = keys[name].shape.read(child, report)
            if value is not None:
                made.append(self._build(name, value))
        if report.failures != before:
            return None
        if not made:
            return report.refuse(node, "no condition stands here", expected=self.expected)
        return made[0] if len(made) == 1 else c.AllOf(conditions=tuple(made))

    def _hint(self, name: str) -> str:
        if name in MATCHERS:
            return ": this rule looks at whole calls, and the rows of one call differ in it"
        return did_you_mean(name, self.keys)

    def _build(self, name: str, value: Any) -> Any:
        match name:
            case "all":
                return c.AllOf(conditions=value)
            case "any":
                return c.AnyOf(conditions=value)
            case "not":
                return c.Not(condition=value)
            case "use" | "cel":
                return value
            case _:
                return self.matchers[name].build(value)

    def schema(self) -> dict[str, Any]:
        return {"$ref": f"#/$defs/{self.ref}"}

    def definition(self) -> dict[str, Any]:
        """What `schema` refers to."""
        mapping = {
            "type": "object",
            "minProperties": 1,
            "properties": {name: described(key) for name, key in self.keys.items()},
            "additionalProperties": False,
        }
        return mapping | {"type": ["object", "string"]} if self.has_cel else mapping


@dataclass(frozen=True, kw_only=True)
class Several:
    """A list of conditions."""

    of: Conditions
    expected: str = "a list of conditions"

    def read(self, node: yaml.Node, report: Report) -> Any:
        if not isinstance(node, yaml.SequenceNode) or not 1 <= len(node.value) <= MAX_LIST:
            return report.refuse(
                node,
                f"found {shown(node)}",
                expected=self.expected,
                example="[{type: image}, {text: invoice}]",
            )
        read = [self.of.read(entry, report) for entry in node.value]
        return None if None in read else tuple(read)

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.of.schema(), "minItems": 1, "maxItems": MAX_LIST}


CONDITION_NAME: Final = Text(
    pattern="[a-z0-9][a-z0-9_-]{0,62}",
    expected="the name of a condition: lower-case letters, digits, - and _",
    example="from-outside",
)
DEFINED: Final = "conditions: {from-outside: {not: {sender: agent-*}}}"


@dataclass(frozen=True, kw_only=True)
class Use:
    """The name of a condition that is defined beside the rules; read as that condition."""

    of: Conditions
    expected: str = CONDITION_NAME.expected

    def read(self, node: yaml.Node, report: Report) -> Any:
        name, names = CONDITION_NAME.read(node, report), report.names
        if name is None:
            return None
        if name not in names.conditions:
            return report.refuse(node, unknown("condition", name, names.conditions), example=DEFINED)
        if name in names.broken:
            return c.AllOf(conditions=())  # told where it stands, and nothing is loaded with it
        if (self.of.ref, name) not in names.made:
            names.made[self.of.ref, name] = self._read(name, node, report)
        return names.made[self.of.ref, name]

    def _read(self, name: str, node: yaml.Node, report: Report) -> c.Condition | None:
        """By the grammar of here: what a rule about whole calls may ask is less than others may."""
        definition = report.names.conditions[name]
        inside = Report(source=definition.source, names=report.names)
        made: c.Condition | None = self.of.read(definition.node, inside)
        if inside.failures:
            wrong = inside.problems[0]
            report.refuse(
                node, f'the condition "{name}" can\'t be used here: {wrong.message}, at {wrong.place}',
                expected=wrong.expected,
            )  # fmt: skip
        return made

    def schema(self) -> dict[str, Any]:
        return CONDITION_NAME.schema()


MESSAGE_CONDITIONS: Final = Conditions(matchers=MATCHERS, ref="conditions", has_cel=True)
CALL_CONDITIONS: Final = Conditions(matchers=CALL_MATCHERS, ref="call_conditions")
