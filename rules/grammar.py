"""What a YAML node may be: each shape reads it, says what is wrong and where, and knows its JSON Schema.

Parser, error messages and the published schema come from the same shapes, so they cannot disagree.
A shape's `read` returns None after it has reported a problem; whoever asked goes on, so that one run
reports every problem.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol

import re2
import yaml

from rules.names import EMPTY, Names, shortened
from rules.text import Place, Problem, Source, SpecError, compose, place_of, value_of

MAX_BYTES: Final = 256 * 1024  # a rule file is written by people; the largest useful one is a tenth of this
MAX_NODES: Final = 50_000
MAX_LIST: Final = 1_000


@dataclass(kw_only=True)
class Report:
    """Collects the problems of one source while it is read."""

    source: str
    problems: list[Problem] = field(default_factory=list)
    names: Names = field(default_factory=Names)  #: what the files define for all of them

    @property
    def failures(self) -> int:
        return sum(not problem.is_warning for problem in self.problems)

    def place(self, node: yaml.Node) -> Place:
        return place_of(node.start_mark, self.source)

    def refuse(
        self, node: yaml.Node, message: str, *, expected: str | None = None, example: str | None = None
    ) -> Any:
        """Report an error. Returns None, the value of a node that could not be read."""
        self.problems.append(
            Problem(place=self.place(node), message=message, expected=expected, example=example)
        )

    def warn(self, node: yaml.Node, message: str, *, expected: str | None = None) -> None:
        self.problems.append(
            Problem(place=self.place(node), message=message, expected=expected, is_warning=True)
        )


class Shape(Protocol):
    """One form that a node may have."""

    def read(self, node: yaml.Node, report: Report) -> Any:
        """The value, or None after the problem has been reported."""
        ...

    def schema(self) -> dict[str, Any]: ...

    @property
    def expected(self) -> str:
        """In words, to follow "expected"."""
        ...


class Key(NamedTuple):
    """One key of a mapping: what stands under it, what it is for, and an example of its use."""

    shape: Shape
    description: str
    example: str | None = None


def nearest(word: str, known: Iterable[str], meant: Mapping[str, str] | None = None) -> str | None:
    """The known word that `word` was probably meant to be. `meant` tells of words that others use for it."""
    if meant and word in meant:
        return meant[word]
    by_folded = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str], meant: Mapping[str, str] | None = None) -> str:
    """A tail for a message about an unknown word: a question, or nothing."""
    close = nearest(word, known, meant)
    return f' (did you mean "{close}"?)' if close else ""


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The message about a name that nothing has: with the nearest that something has, or all of few."""
    names = sorted(known)
    some = f"; there are {', '.join(names)}" if 0 < len(names) <= FEW_NAMES else ""
    return f'there is no {what} "{name}"{did_you_mean(name, names) or some}'


FEW_NAMES: Final = 12


def is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogates: YAML has escapes for them, UTF-8 and RE2 have no form."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(node: yaml.Node) -> str:
    """A node as an error message quotes it: short, on one line."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    text = " ".join(str(node.value).split())
    if not text:
        return "nothing"
    text = text if is_unicode(text) else ascii(text)[1:-1]
    return f'"{text[:60]}…"' if len(text) > 60 else f'"{text}"'


TEXT_TAGS: Final = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float"))
INT_TAG: Final = "tag:yaml.org,2002:int"
BOOL_TAG: Final = "tag:yaml.org,2002:bool"
NULL_TAG: Final = "tag:yaml.org,2002:null"


@dataclass(frozen=True, kw_only=True)
class Text:
    """A piece of text. A number is taken as it is written, so that `sender: 12345` means that uid.

    With `known`, a word that is close to a known one but is not known earns a warning: new words are
    allowed, slips are pointed out.
    """

    expected: str = "text"
    max_length: int = 1_000
    pattern: str | None = None
    known: tuple[str, ...] = ()
    check: Callable[[str], str | None] | None = None  #: what is wrong with it, or None
    doubt: Callable[[str], str | None] | None = None  #: what to warn of, or None
    example: str | None = None

    def read(self, node: yaml.Node, report: Report) -> Any:
        if not isinstance(node, yaml.ScalarNode) or node.tag == NULL_TAG:
            return report.refuse(node, f"found {shown(node)}", expected=self.expected, example=self.example)
        if node.tag not in TEXT_TAGS:
            return report.refuse(
                node, f"YAML reads {shown(node)} as true or false",
                expected=self.expected, example=f"'{node.value}' in quotes",
            )  # fmt: skip
        text = str(node.value)
        wrong = self._wrong(text)
        if wrong is not None:
            return report.refuse(node, wrong, expected=self.expected, example=self.example)
        if self.known and text not in self.known and (close := nearest(text, self.known)):
            report.warn(
                node, f'"{text}" is not a word that CometChat is known to use (did you mean "{close}"?)'
            )
        if self.doubt and (doubt := self.doubt(text)):
            report.warn(node, doubt)
        return text

    def take(self, text: str) -> tuple[Any, str | None]:
        """The value for an entry of a named list, and what is wrong with it, or None."""
        return text, self._wrong(text)

    def _wrong(self, text: str) -> str | None:
        if not text.strip():
            return "found an empty text"
        if not is_unicode(text):
            return "found a lone surrogate, which is half a character"
        if len(text) > self.max_length:
            return f"found a text of {len(text)} characters, more than {self.max_length}"
        if self.pattern and not re2.compile(self.pattern).fullmatch(text):
            return f'"{text[:60]}" has not the right form'
        return self.check(text) if self.check else None

    def schema(self) -> dict[str, Any]:
        made: dict[str, Any] = {"type": ["string", "number"], "maxLength": self.max_length}
        if self.pattern:
            made |= {"type": "string", "pattern": f"^(?:{self.pattern})$"}
        if self.known:
            made["examples"] = list(self.known)
        return made


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One word of a closed list."""

    words: tuple[str, ...]
    meant: Mapping[str, str] = field(default_factory=dict)  #: what others call these words

    @property
    def expected(self) -> str:
        return "one of " + ", ".join(self.words)

    def read(self, node: yaml.Node, report: Report) -> Any:
        if isinstance(node, yaml.ScalarNode) and node.value in self.words:
            return str(node.value)
        hint = did_you_mean(node.value, self.words, self.meant) if isinstance(node, yaml.ScalarNode) else ""
        return report.refuse(node, f"found {shown(node)}{hint}", expected=self.expected)

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


@dataclass(frozen=True, kw_only=True)
class Flag:
    """True or false."""

    expected: str = "true or false"

    def read(self, node: yaml.Node, report: Report) -> Any:
        if isinstance(node, yaml.ScalarNode) and node.tag == BOOL_TAG:
            return value_of(node)
        return report.refuse(node, f"found {shown(node)}", expected=self.expected)

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A whole number between `least` and `most`."""

    least: int
    most: int

    @property
    def expected(self) -> str:
        return f"a whole number between {self.least} and {self.most}"

    def read(self, node: yaml.Node, report: Report) -> Any:
        is_number = isinstance(node, yaml.ScalarNode) and node.tag == INT_TAG and len(node.value) <= 20
        value = int(node.value) if is_number else None
        if value is None or not self.least <= value <= self.most:
            return report.refuse(
                node, f"found {shown(node)}", expected=self.expected, example=str(self.least)
            )
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


UNITS_S: Final = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
DURATION: Final = r"[0-9]{1,6}(?:\.[0-9]{1,3})?(?:ms|s|m|h|d)"


@dataclass(frozen=True, kw_only=True)
class Duration:
    """A length of time with its unit, between `least` and `most`."""

    least: timedelta
    most: timedelta

    @property
    def expected(self) -> str:
        return f"a duration with a unit (ms, s, m, h, d) between {said(self.least)} and {said(self.most)}"

    def read(self, node: yaml.Node, report: Report) -> Any:
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        value = duration(text)
        if value is None or not self.least <= value <= self.most:
            return report.refuse(node, f"found {shown(node)}", expected=self.expected, example="90s")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{DURATION}$"}


def duration(text: str) -> timedelta | None:
    """`90s` as a timedelta; None if it is not of this form."""
    if not re2.compile(DURATION).fullmatch(text):
        return None
    unit = text.lstrip("0123456789.")
    return timedelta(seconds=float(Decimal(text.removesuffix(unit)) * UNITS_S[unit]))


def said(span: timedelta) -> str:
    """A duration as a person writes it: `90s`, `5m`, `2d`."""
    seconds = Decimal(str(span.total_seconds()))
    for unit in ("d", "h", "m"):
        if seconds >= 2 * UNITS_S[unit] and seconds % UNITS_S[unit] == 0:
            return f"{seconds / UNITS_S[unit]:f}".removesuffix(".0") + unit
    return f"{seconds.normalize():f}s"


BYTES: Final = {
    "B": 1, "kB": 1_000, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000,
    "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
}  # fmt: skip
SIZE: Final = r"[0-9]{1,9}(?:\.[0-9]{1,3})?(?:B|kB|KB|MB|GB|KiB|MiB|GiB)"


@dataclass(frozen=True, kw_only=True)
class Size:
    """A number of bytes with its unit: kB, MB, GB count in thousands, KiB, MiB, GiB in 1024."""

    expected: str = "a size with a unit (B, kB, MB, GB, KiB, MiB, GiB)"

    def read(self, node: yaml.Node, report: Report) -> Any:
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        if not re2.compile(SIZE).fullmatch(text):
            return report.refuse(node, f"found {shown(node)}", expected=self.expected, example="10MB")
        number = text.rstrip("BkKMGi")
        return int(Decimal(number) * BYTES[text.removeprefix(number)])

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{SIZE}$"}


@dataclass(frozen=True, kw_only=True)
class Scalar:
    """Any single JSON value: text, number, true, false or null, with the type that YAML sees."""

    expected: str = "a text, a number, true, false or null"
    example: str | None = None

    def read(self, node: yaml.Node, report: Report) -> Any:
        """Wrapped in a one-element tuple, because null is a value here."""
        if not isinstance(node, yaml.ScalarNode) or not is_unicode(node.value):
            return report.refuse(node, f"found {shown(node)}", expected=self.expected)
        if node.tag == INT_TAG and (len(node.value) > 20 or abs(int(node.value)) >= 1 << 63):
            return report.refuse(node, "found a number of more than 64 bits", expected=self.expected)
        return (value_of(node),)

    def take(self, text: str) -> tuple[Any, str | None]:
        """As of `Text`: in a file of values each is text."""
        return (text,), None

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "number", "boolean", "null"]}


LIST: Final = "list"
LISTS: Final = "lists: {vip: [superhero1, superhero2]}"
LIST_NAME: Final = Text(
    pattern="[a-z0-9][a-z0-9_-]{0,62}",
    expected="the name of a list: lower-case letters, digits, - and _",
    example="vip",
)


@dataclass(frozen=True, kw_only=True)
class Many:
    """One value, or a list of them; read as a tuple either way.

    Where the values are texts, `{list: NAME}` stands for those of a named list: in place of the whole, or
    among others.
    """

    each: Shape
    has_lists: bool = True  #: whether named lists may stand here, if they could

    @property
    def takes_lists(self) -> bool:
        return self.has_lists and isinstance(self.each, Text | Scalar)

    @property
    def expected(self) -> str:
        return f"{self.each.expected}, or a list of them"

    def read(self, node: yaml.Node, report: Report) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            return self._values(node, report)
        if not node.value or len(node.value) > MAX_LIST:
            return report.refuse(
                node, f"found a list of {len(node.value)}", expected=f"1 to {MAX_LIST} entries"
            )
        parts = [self._values(entry, report) for entry in node.value]
        known = [part for part in parts if part is not None]
        return tuple(chain.from_iterable(known)) if len(known) == len(parts) else None

    def _values(self, node: yaml.Node, report: Report) -> tuple[Any, ...] | None:
        if self.takes_lists and names_list(node):
            return self._of_list(node, report)
        value = self.each.read(node, report)
        return None if value is None else (value,)

    def _of_list(self, node: yaml.Node, report: Report) -> tuple[Any, ...] | None:
        """The values of the list that is named. What is wrong with one of them is told where it stands."""
        assert isinstance(self.each, Text | Scalar)
        read = _REFERENCE.read(node, report)
        if read is None:
            return None
        name: str = read[LIST]
        if name not in report.names.lists:
            message = unknown("list", name, report.names.lists)
            report.refuse(node.value[0][1], message, example=LISTS)
            return None
        values, problems = [], []
        for entry in report.names.list_of(name):
            value, wrong = self.each.take(entry.text)
            values.append(value)
            if wrong and entry.text != EMPTY and not report.names.is_symbolic:
                used = f'{wrong} (the list "{name}" is used at {report.place(node)})'
                problems.append(Problem(entry.place, used, self.each.example, self.each.expected))
        report.problems += shortened(problems)
        return tuple(values)

    def schema(self) -> dict[str, Any]:
        each = self.each.schema()
        if self.takes_lists:
            each = {"anyOf": [each, {"$ref": "#/$defs/list"}]}
        return {"anyOf": [each, {"type": "array", "items": each, "minItems": 1, "maxItems": MAX_LIST}]}


def names_list(node: yaml.Node) -> bool:
    """Whether a mapping is, or was meant to be, `{list: NAME}`."""
    if not isinstance(node, yaml.MappingNode):
        return False
    keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    return LIST in keys or (len(keys) == 1 and nearest(keys[0], [LIST]) is not None)


@dataclass(frozen=True, kw_only=True)
class Record:
    """A mapping with known keys. Unknown and repeated keys are refused."""

    keys: Mapping[str, Key]
    required: tuple[str, ...] = ()
    name: str = "a mapping"
    elsewhere: Mapping[str, str] = field(default_factory=dict)  #: what to say of keys that belong elsewhere

    @property
    def expected(self) -> str:
        return f"{self.name} with the keys {', '.join(self.keys)}"

    def _hint(self, name: str) -> str:
        return self.elsewhere.get(name) or did_you_mean(name, self.keys)

    def read(self, node: yaml.Node, report: Report) -> Any:
        before = report.failures
        found = {}
        for name, _, child in entries(node, report, self.keys, expected=self.expected, hint=self._hint):
            found[name] = self.keys[name].shape.read(child, report)
        if isinstance(node, yaml.MappingNode):
            for name in self.required:
                if name not in found and name not in self._misspelt(node):
                    report.refuse(node, f'"{name}" is missing', example=self.keys[name].example)
        return found if report.failures == before else None

    def _misspelt(self, node: yaml.MappingNode) -> set[str | None]:
        """Keys that somebody meant: they were reported as unknown, and are not missing as well."""
        words = (key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        return {nearest(word, self.keys) for word in words if word not in self.keys}

    def schema(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            "type": "object",
            "properties": {name: described(key) for name, key in self.keys.items()},
            "additionalProperties": False,
        }
        return made | ({"required": list(self.required)} if self.required else {})


_REFERENCE: Final = Record(
    name="a named list",
    keys={LIST: Key(LIST_NAME, "The values of a list that `lists` defines, in any of the files.", LISTS)},
    required=(LIST,),
)


def list_definition() -> dict[str, Any]:
    """The schema of `{list: NAME}`, to which those of texts refer."""
    return _REFERENCE.schema()


def described(key: Key) -> dict[str, Any]:
    """The schema of one key with the words that editors show."""
    return {"description": key.description, **key.shape.schema()}


def entries(
    node: yaml.Node,
    report: Report,
    known: Mapping[str, Key],
    *,
    expected: str,
    hint: Callable[[str], str] | None = None,
) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """The known keys of a mapping node with their nodes; everything else is reported, with a `hint`."""
    if not isinstance(node, yaml.MappingNode):
        report.refuse(node, f"found {shown(node)}", expected=expected)
        return
    first: dict[str, yaml.Node] = {}
    for key, child in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else ""
        if name in first:
            report.refuse(key, f'"{name}" stands here twice, first in line {report.place(first[name]).line}')
        elif name in known:
            first[name] = key
            yield name, key, child
        else:
            tail = hint(name) if hint else did_you_mean(name, known)
            report.refuse(key, f"unknown key {shown(key)}{tail}", expected="one of " + ", ".join(known))


@dataclass(frozen=True, kw_only=True)
class Words:
    """A free mapping from short names to text: labels, annotations."""

    max_length: int
    max_keys: int = 32
    expected: str = "a mapping from names to text"
    check: Callable[[str], str | None] | None = None
    name_pattern: str = "[a-zA-Z_][a-zA-Z0-9_]{0,62}"

    def read(self, node: yaml.Node, report: Report) -> Any:
        if not isinstance(node, yaml.MappingNode) or len(node.value) > self.max_keys:
            return report.refuse(
                node, f"found {shown(node)}", expected=f"{self.expected}, at most {self.max_keys}"
            )
        before = report.failures
        name = Text(pattern=self.name_pattern, expected="a name of letters, digits and _", example="team")
        text = Text(max_length=self.max_length, check=self.check)
        found: dict[str, str] = {}
        for key, child in node.value:
            word, value = name.read(key, report), text.read(child, report)
            if word in found:
                report.refuse(key, f'"{word}" stands here twice')
            elif word is not None and value is not None:
                found[word] = value
        return found if report.failures == before else None

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "maxProperties": self.max_keys,
            "propertyNames": {"pattern": f"^{self.name_pattern}$"},
            "additionalProperties": {"type": ["string", "number"], "maxLength": self.max_length},
        }


@dataclass(frozen=True, kw_only=True)
class Either:
    """One shape for a plain value or a list, another for a mapping."""

    plain: Shape
    mapping: Shape

    @property
    def expected(self) -> str:
        return f"{self.plain.expected}; or {self.mapping.expected}"

    def read(self, node: yaml.Node, report: Report) -> Any:
        is_list = isinstance(self.plain, Many) and self.plain.takes_lists and names_list(node)
        chosen = self.mapping if isinstance(node, yaml.MappingNode) and not is_list else self.plain
        if isinstance(node, yaml.ScalarNode) and node.tag == NULL_TAG:
            return report.refuse(node, "found nothing", expected=self.expected)
        return chosen.read(node, report)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [self.plain.schema(), self.mapping.schema()]}


def parse(source: Source, report: Report) -> yaml.Node | None:
    """The node tree of a rule file; None when empty or reported."""
    try:
        return compose(source, max_bytes=MAX_BYTES, max_nodes=MAX_NODES)
    except SpecError as error:
        report.problems += error.problems
        return None
