"""What is tried: rule files made by their own schema and then damaged, templates, expressions, messages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from random import Random
from typing import Any, Final

from rules.cel_names import FUNCTIONS, VARIABLES
from rules.model import Attachment, Call, Message, MessageId, Party
from rules.spec import schema
from tests.rules.builders import NOON

UIDS: Final = ("ann", "bob", "Eve", "vip-1", "app_system", "*", "a?n", "vip-*", "über")
WORDS: Final = (
    *("refund", "charge back", "a", "ß", "ſ", "é", "#", "c#", "\u202eevil", "x" * 199, "a b  c", "*", "42"),
    *("message", "text", "image", "call", "unanswered", "edited", "pdf", ".exe", "image/*", "group_team"),
    *("ann_user_bob", "order.priority", "list", "office", "vip", "true", "https://x.example"),
)
REGEXES: Final = (
    *("refund", "(?i)order #?[0-9]{6}", "(a|aa)+$", "a[ab]{100}c", "x.{0,200}y", r"\pL+\d", "(x+x+)+y"),
    *("((a{9}){9}){9}", "(?=x)", "(", "[", "a{1001}", "(?i)" + "e" * 300, r"(.*)(.*)(.*)(.*)x", "", "^$"),
)
TEMPLATES: Final = (
    *("hello", "{{ rule.name }}", "{{ sender.label }} {{ message.type | upper }}", "{{ nobody }}", "{{"),
    *("{% if files %}{{ files }}{% endif %}", "{% for a in b %}x{% endfor %}", "{{ 'a' * 999999 }}"),
    *(
        "{{ message.__class__ }}",
        "{{ watched | join(', ') }}",
        "{{ sender.name | truncate(3) }}",
        "{{ 1/0 }}",
    ),
)
NAMED: Final = ("vip", "words", "office", "first", "second")
PATTERNED: Final = (
    *("90s", "5m", "1h", "2d", "10ms", "1.5h", "10MB", "1kB", "09:00-17:00", "22:00-06:00", "mon-fri", "sun"),
    *("DE", "a_b", "team", *NAMED),
)


def rule_file(rng: Random) -> str:
    """A rule file: right in form, of any content, and one time in three damaged."""
    tree = Sampler(rng).file()
    text = json.dumps(tree, ensure_ascii=rng.random() < 0.5)
    return damaged(rng, text) if rng.random() < 0.33 else text


RIGHT: Final[Mapping[str, Any]] = {
    "lists": ["ann", "vip-*", "refund"],
    "calendars": {"timezone": "Europe/Berlin", "open": {"days": "mon-fri", "hours": "09:00-17:00"}},
    "conditions": {"not": {"sender": "app_system"}},
}


class Sampler:
    """Values that a JSON Schema allows, with words that mean something under their keys."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._schema = schema()

    def file(self) -> dict[str, Any]:
        properties = self._schema["properties"]
        made: dict[str, Any] = {
            key: {name: self._defined(key, properties[key]["additionalProperties"]) for name in NAMED}
            for key in RIGHT
            if self._rng.random() < 0.97
        }
        kinds = [each["$ref"] for each in properties["rules"]["items"]["oneOf"]]
        rules = [
            self.value({"$ref": self._rng.choice(kinds)}, "rule", 0) for _ in range(self._rng.randint(1, 3))
        ]
        for number, rule in enumerate(rules):
            rule["name"] = f"rule-{number}"
        return made | {"rules": rules}

    def _defined(self, key: str, shape: Mapping[str, Any]) -> Any:
        return RIGHT[key] if self._rng.random() < 0.95 else self.value(shape, key, 0)

    def value(self, shape: Mapping[str, Any], key: str, depth: int) -> Any:
        if "$ref" in shape:
            return self.value(self._schema["$defs"][shape["$ref"].rpartition("/")[2]], key, depth)
        if "const" in shape:
            return shape["const"]
        if "enum" in shape:
            return self._rng.choice(shape["enum"])
        for several in ("anyOf", "oneOf"):
            if several in shape:
                own = [one for one in shape[several] if one.get("$ref") != "#/$defs/list"]
                ways = shape[several] if self._rng.random() < 0.1 else own
                return self.value(self._rng.choice(ways), key, depth)
        types = shape.get("type", "string")
        first = [types] if isinstance(types, str) else types
        kind = first[0] if self._rng.random() < 0.95 else self._rng.choice(first)
        return self._of(kind, shape, key, depth)

    def _of(self, kind: str, shape: Mapping[str, Any], key: str, depth: int) -> Any:
        match kind:
            case "object":
                return self._object(shape, key, depth)
            case "array":
                size = self._rng.randint(shape.get("minItems", 1), 3)
                return [self.value(shape["items"], key, depth + 1) for _ in range(size)]
            case "boolean":
                return self._rng.random() < 0.5
            case "integer" | "number":
                return self._rng.choice([shape.get("minimum", 1), 3, 20, shape.get("maximum", 99)])
            case "null":
                return None
            case _:
                return self._text(shape, key)

    def _object(self, shape: Mapping[str, Any], key: str, depth: int) -> dict[str, Any]:
        properties: Mapping[str, Any] = shape.get("properties", {})
        required = shape.get("required", [])
        others = [name for name in properties if name not in required]
        most = 0 if depth > 4 else max(0, 4 - depth)
        picked = self._rng.sample(others, min(len(others), self._rng.randint(0, most)))
        if not required and not picked and others:
            picked = [self._rng.choice([name for name in others if name not in ("all", "any", "not", "use")])]
        made = {name: self.value(properties[name], name, depth + 1) for name in (*required, *picked)}
        if isinstance(more := shape.get("additionalProperties"), dict):
            made |= {name: self.value(more, key, depth + 1) for name in self._rng.sample(NAMED, 2)}
        if key == "lists":
            made = dict([made.popitem()])
        return made

    def _text(self, shape: Mapping[str, Any], key: str) -> str:
        if key in TEXTS:
            return TEXTS[key](self._rng)
        if pattern := shape.get("pattern"):
            fitting = [word for word in PATTERNED if re.fullmatch(pattern, word)]
            return self._rng.choice(fitting or PATTERNED)
        if key in ("conditions", "when", "answer", "steps", "all", "any", "not"):
            return asked(self._rng)
        return self._rng.choice(UIDS if key in ("sender", "receiver", "caller", "callee", "role") else WORDS)


def asked(rng: Random) -> str:
    """An expression as people write them, or one time in eight anything at all."""
    return expression(rng) if rng.random() < 0.12 else question(rng)


TEXTUAL: Final = [name for name, variable in VARIABLES.items() if variable.type == "string"]


def question(rng: Random, depth: int = 0) -> str:
    """An expression that is true or false, unless RE2 or its cost forbids it."""
    if depth < 3 and rng.random() < 0.5:
        one, other = question(rng, depth + 1), question(rng, depth + 1)
        loop, over = (
            rng.choice(["exists", "all", "exists_one"]),
            rng.choice(["mentions", "message.tags", "watched"]),
        )
        return rng.choice(
            [f"({one}) && ({other})", f"({one}) || !({other})", f"({one}) ? ({other}) : true",
             f"{over}.{loop}(m, ({one}) || m == sender.id)", f"attachments.{loop}(a, ({one}) || a.size > 9)"]
        )  # fmt: skip
    text, other = rng.choice(TEXTUAL), rng.choice([*TEXTUAL, "'refund'", "message.metadata.a"])
    return rng.choice(
        [f"{text}.contains({other})", f"{text} == {other}", f"size({text}) > 3",
         f"{text}.search({rng.choice(REGEXES)!r})", f"{text}.has_word('charge back')",
         f"{text}.lower() < {other}", f"{text}.in_list('vip')",
         f"{other} in mentions", f"{other} in message.metadata.a", "message.metadata == message.custom",
         "message.id % 7 == 3", "has(message.custom.a.a)", f"{text} + {text} == {text}", "message.edited",
         "message.metadata.a.a.a.a == 1", f"mentions.map(m, m + {text}).size() > 2",
         "message.sent_at.getDayOfWeek('Europe/Berlin') == 0", f"int({text}) > 1",
         f"timestamp({text}) > message.sent_at"]
    )  # fmt: skip


def expression(rng: Random, depth: int = 0) -> str:
    """Something like an expression."""
    if depth > 3 or rng.random() < 0.3:
        return rng.choice([*VARIABLES, "'refund'", "1", "-1.5", "true", "message.metadata.a", "a.size", "m"])
    one, other = expression(rng, depth + 1), expression(rng, depth + 1)
    name, over = rng.choice([*FUNCTIONS, "contains", "size", "matches"]), rng.choice(["mentions", one])
    argument = rng.choice(["", other, repr(rng.choice(REGEXES))])
    forms: Sequence[str] = (
        *(f"({one}) {sign} ({other})" for sign in ("&&", "||", "==", "!=", "<", "+", "*", "/", "in")),
        *(f"{over}.{loop}({rng.choice('ma')}, {other})" for loop in ("exists", "all", "map", "filter")),
        *(f"{one}.{name}({argument})", f"!({one})", f"{one}[{other}]"),
        *(f"has({one})", f"({one}) ? ({other}) : ({one})", f"message.text.contains({other})"),
    )
    return rng.choice(forms)


def template(rng: Random) -> str:
    pieces = [rng.choice((*TEMPLATES, *WORDS)) for _ in range(rng.randint(1, 4))]
    text = " ".join(pieces)
    return damaged(rng, text) if rng.random() < 0.3 else text


FIELDS: Final = (
    *("sender", "receiver", "conversation", "watched", "mentioned", "caller", "callee", "category", "type"),
    *("action", "role", "tag", "extension", "mime", "thread", "text"),
)


def _field(rng: Random) -> str:
    return rng.choice([*FIELDS, "metadata.a", "custom.order.priority"])


TEXTS: Final[Mapping[str, Callable[[Random], str]]] = {
    "by": _field,
    "field": _field,
    "distinct": _field,
    "dates": lambda rng: rng.choice(["2026-12-24", "12-24", "02-29"]),
    "subdivision": lambda _: "BY",
    "calendar": lambda rng: rng.choice(NAMED),
    "during": lambda rng: rng.choice(NAMED),
    "except": lambda rng: rng.choice(NAMED),
    "title": template,
    "summary": template,
    "cel": asked,
    "regex": lambda rng: rng.choice(REGEXES),
    "use": lambda rng: rng.choice(NAMED),
    "list": lambda rng: rng.choice(NAMED),
    "timezone": lambda rng: rng.choice(["UTC", "Europe/Berlin", "Pacific/Apia"] * 5 + ["America"]),
    "country": lambda rng: rng.choice(["DE"] * 9 + ["XX"]),
    "file": lambda rng: rng.choice(["words.txt"] * 9 + ["no.txt"]),
}


def damaged(rng: Random, text: str) -> str:
    """With some characters gone, doubled, or replaced by others that mean something."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text) + 1)
        match rng.randrange(4):
            case 0:
                text = text[:at] + text[at + rng.randint(1, 9) :]
            case 1:
                text = text[:at] + rng.choice("{}[]:,'\"\\&*!|>#%@`\n\t\x00\ud800é~-? ") + text[at:]
            case 2:
                text = text[:at] + text[at : at + rng.randint(1, 30)] + text[at:]
            case _:
                text = text[: at + 5] if rng.random() < 0.1 else text
    return text


# --- messages ---------------------------------------------------------------------------------------


def messages(rng: Random, count: int) -> list[Message]:
    return [message(rng, number) for number in range(1, count + 1)]


def message(rng: Random, number: int) -> Message:
    to_group, is_call = rng.random() < 0.3, rng.random() < 0.3
    sender, receiver = party(rng), party(rng)
    return Message(
        id=MessageId(rng.choice([number, number, 10**30 + number])),
        conversation_id=rng.choice(["ann_user_bob", "group_team", hostile(rng)]),
        sender=sender,
        receiver=receiver,
        receiver_type="group" if to_group else "user",
        category="call" if is_call else rng.choice(["message", "action", "custom", hostile(rng)]),
        type=rng.choice(["text", "image", "audio", "groupMember", hostile(rng)]),
        sent_at=NOON + timedelta(seconds=rng.randint(-100_000, 100_000)),
        action=rng.choice([None, "unanswered", "edited", "kicked", hostile(rng)]),
        text=rng.choice([None, hostile(rng), hostile(rng), huge(rng)]),
        edited_at=rng.choice([None, NOON]),
        deleted_at=rng.choice([None, NOON]),
        parent_id=rng.choice([None, MessageId(1)]),
        subject=rng.choice([None, party(rng)]),
        tags=tuple(rng.choices(HOSTILE, k=rng.choice([0, 1, 300]))),
        attachments=(attachment(rng),) * rng.choice([0, 0, 1, 2, 200]),
        mentions=tuple(rng.choice(UIDS).lower() for _ in range(rng.choice([0, 1, 500]))),
        mentions_all=rng.random() < 0.2,
        call=call(rng, sender, receiver) if is_call else None,
        moderation=rng.choice([None, "approved", "pending"]),
        metadata=free_form(rng),
        custom=free_form(rng),
    )


def party(rng: Random) -> Party:
    return Party(id=rng.choice([*UIDS, hostile(rng)]), name=rng.choice([None, hostile(rng)]),
                 role=rng.choice([None, "agent", hostile(rng)]))  # fmt: skip


def call(rng: Random, caller: Party, callee: Party) -> Call:
    return Call(
        session_id=rng.choice(["s1", "s2", "", hostile(rng)]),
        status=rng.choice(["initiated", "ongoing", "unanswered", "cancelled", "ended", "busy", "new"]),
        caller=caller,
        callee=callee,
        initiated_at=rng.choice([None, NOON]),
    )


def attachment(rng: Random) -> Attachment:
    return Attachment(
        name=rng.choice([None, hostile(rng)]),
        extension=rng.choice([None, "exe", hostile(rng)]),
        mime_type=rng.choice([None, "image/png", "/", hostile(rng)]),
        size=rng.choice([None, 0, 10_000_000, 10**40]),
    )


def _any_text(rng: Random) -> str:
    return "".join(chr(rng.choice([rng.randrange(32, 127), rng.randrange(0x10FFFF)])) for _ in range(20))


HOSTILE: Final = (
    *(
        "",
        " ",
        "refund",
        "a refund, now",
        "\ud800",
        "\x00",
        "\u202e",
        "ſ" * 50,
        "é" * 40,
        "{{ x }}",
        "x" * 300,
    ),
    *(_any_text(Random(number)) for number in range(30)),
)


def hostile(rng: Random) -> str:
    return rng.choice(HOSTILE)


def _huge(seed: int, letters: str, size: int) -> str:
    """A long text of a kind that is bad for searching."""
    return "".join(Random(seed).choices(letters, k=size))


HUGE: Final = (
    *("a" * 65_536, "refund " * 9_000, "ab" * 32_768, "x" * 1_000 + "y"),
    *(_huge(seed, letters, 65_536) for seed in range(3) for letters in ("ab", "xy ", "x é\u0301ſ😀")),
)


def huge(rng: Random) -> str:
    return rng.choice(HUGE)


def free_form(rng: Random) -> dict[str, Any]:
    match rng.randrange(6):
        case 0:
            return {"a": hostile(rng), "order": {"priority": rng.choice(["high", 1, True, None, 1 << 90])}}
        case 1:
            return {f"key-{number}": number for number in range(rng.choice([10, 5_000]))}
        case 2:
            return {"a": huge(rng)}
        case 3:
            return {"a": nested(rng.choice([5, 400]))}
        case _:
            return {}


def nested(levels: int) -> Any:
    tree: Any = 1
    for _ in range(levels):
        tree = {"a": tree}
    return tree
