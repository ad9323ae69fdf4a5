"""What stands in a rule file beside its rules: who made it, and lists, calendars and conditions by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, NamedTuple

import yaml

from rules.calendars import CALENDARS, Written, finished
from rules.grammar import (
    LIST_NAME,
    LISTS,
    Choice,
    Key,
    Many,
    Record,
    Report,
    Text,
    described,
    shown,
)
from rules.names import Definition, Entry, Names, Pack, entries_of, entry_problem
from rules.text import Place, Problem, Source, SpecError, written
from rules.when import CONDITION_NAME, DEFINED, MESSAGE_CONDITIONS
from rules.working_time import Calendar

MAX_NAMES: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class RuleFile:
    """One file under way: its text, its parts by their keys, and the problems found so far."""

    source: Source
    report: Report
    parts: Mapping[str, yaml.Node]


# --- who made it ------------------------------------------------------------------------------------


def _prose(description: str, example: str) -> Key:
    return Key(Text(max_length=2_000), description, example)


def _proses(description: str, example: str) -> Key:
    return Key(Many(each=Text(max_length=2_000), has_lists=False), description, example)


PACK: Final = Key(
    Record(
        name="a pack",
        required=("id",),
        keys={
            "id": Key(
                Text(pattern="[a-z0-9][a-z0-9_-]{0,62}", expected="a name in lower case", example="floods"),
                "Name of the pack, unique among the files.",
                "id: floods",
            ),
            "version": Key(Text(max_length=40), "Version of the pack.", "version: 1.2.0"),
            "title": Key(Text(max_length=200), "What it is, in a few words.", "title: Floods"),
            "description": _prose("What it finds, and for whom.", "description: Too many messages at once."),
            "level": Key(
                Choice(words=("stable", "experimental")),
                "experimental: its rules may still change their names. Default: stable.",
                "level: experimental",
            ),
            "references": _proses("Where more is written.", "references: https://wiki.example/floods"),
            "false_positives": _proses("What may look like it.", "false_positives: [an announcement]"),
            "tests": _proses("Files with its tests.", "tests: floods.test.yaml"),
        },
    ),
    "What the file is: shown beside its rules.",
    "pack: {id: floods, version: 1.0.0}",
)


# --- lists ------------------------------------------------------------------------------------------

ENTRY: Final = Text(expected="a text", check=entry_problem)
VALUES: Final = Many(each=ENTRY, has_lists=False)
ELSEWHERE: Final = Record(
    name="a mapping",
    keys={
        "file": Key(
            Many(each=Text(expected="the name of a file", example="vip.txt"), has_lists=False),
            "Files with one value a line; `#` begins a comment. Read again when they change.",
            "file: vip.txt",
        ),
        "default": Key(
            VALUES, "The values unless another file defines a list of this name.", "default: [refund]"
        ),
    },
)


@dataclass(frozen=True, kw_only=True)
class Named:
    """A mapping from names to what they stand for; read as pairs of nodes."""

    name: Text
    each: Mapping[str, Any]  #: schema of what stands under a name
    example: str
    what: str

    @property
    def expected(self) -> str:
        return f"a mapping from at most {MAX_NAMES} names to {self.what}"

    def read(self, node: yaml.Node, report: Report) -> Any:
        if not isinstance(node, yaml.MappingNode) or len(node.value) > MAX_NAMES:
            return report.refuse(node, f"found {shown(node)}", expected=self.expected, example=self.example)
        read = [(self.name.read(key, report), key, child) for key, child in node.value]
        return [(name, key, child) for name, key, child in read if name is not None]

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "maxProperties": MAX_NAMES,
            "propertyNames": {"pattern": f"^{self.name.pattern}$"},
            "additionalProperties": dict(self.each),
        }


LISTS_KEY: Final = Key(
    Named(
        name=LIST_NAME,
        each={"anyOf": [VALUES.schema(), ELSEWHERE.schema()]},
        example=LISTS,
        what="lists",
    ),
    "Lists of texts by name: wherever a list of texts may stand, `{list: NAME}` stands for its values.",
    LISTS,
)
CONDITIONS_KEY: Final = Key(
    Named(name=CONDITION_NAME, each=MESSAGE_CONDITIONS.schema(), example=DEFINED, what="conditions"),
    "Conditions by name, for `use: NAME` in the conditions of rules.",
    DEFINED,
)
KEYS: Final[Mapping[str, Key]] = {
    "pack": PACK,
    "lists": LISTS_KEY,
    "calendars": CALENDARS,
    "conditions": CONDITIONS_KEY,
}


def schemas() -> dict[str, Any]:
    """The schemas of the keys."""
    return {name: described(key) for name, key in KEYS.items()}


# --- gathering --------------------------------------------------------------------------------------


class Known(NamedTuple):
    """What was defined under a name: where, what, and whether it is there to be replaced."""

    place: Place
    says: object
    gives_way: bool


@dataclass(kw_only=True)
class Gathering:
    """Fills `names` with what all files define; what is wrong goes to the reports of the files.

    What a pack defines, and a list's `default`, gives way to a definition of the same name elsewhere.
    """

    names: Names
    known: dict[tuple[str, str], Known] = field(default_factory=dict)  #: by what it is, and name

    def lists(self, files: Sequence[RuleFile]) -> None:
        found = [(_is_default(node) or _is_pack(file), name, key, node, file)
                 for file in files for name, key, node in _pairs(file, "lists")]  # fmt: skip
        for gives_way, name, key, node, file in sorted(found, key=itemgetter(0)):
            entries = tuple(_entries(node, file))
            texts = tuple(entry.text for entry in entries)
            if self._is_new("list", name, key, file, says=texts, gives_way=gives_way):
                self.names.lists[name] = entries

    def calendars(self, files: Sequence[RuleFile]) -> None:
        for file in sorted(files, key=_is_pack):
            node = file.parts.get("calendars")
            read: Mapping[str, Written] = (CALENDARS.shape.read(node, file.report) or {}) if node else {}
            pairs = node.value if isinstance(node, yaml.MappingNode) else ()
            keys = {key.value: key for key, _ in pairs if isinstance(key, yaml.ScalarNode)}
            self.names.broken_calendars |= keys.keys() - read.keys()
            for name, written_ in read.items():
                calendar = _calendar(written_, file)
                if self._is_new("calendar", name, keys[name], file, says=calendar, gives_way=_is_pack(file)):
                    self.names.calendars[name] = calendar

    def conditions(self, files: Sequence[RuleFile]) -> None:
        """Note all, then read each after those it uses, so that a mistake is told once."""
        defined: dict[str, RuleFile] = {}
        for file in sorted(files, key=_is_pack):
            for name, key, node in _pairs(file, "conditions"):
                says = written(node, file.source.text)
                if self._is_new("condition", name, key, file, says=says, gives_way=_is_pack(file)):
                    self.names.conditions[name] = Definition(node, file.source.name)
                    defined[name] = file
        done: set[str] = set()
        for name in defined:
            self._condition(name, defined, done, ())

    def _condition(
        self, name: str, defined: Mapping[str, RuleFile], done: set[str], way: tuple[str, ...]
    ) -> None:
        if name in done:
            return
        file, node = defined[name], self.names.conditions[name].node
        for used in _uses(node):
            if used.value in (*way, name):
                self._circle(used, (*way, name), file)
            elif used.value in defined:
                self._condition(used.value, defined, done, (*way, name))
        done.add(name)
        before = file.report.failures
        if name not in self.names.broken:
            MESSAGE_CONDITIONS.read(node, file.report)
        if file.report.failures != before:
            self.names.broken.add(name)

    def _circle(self, used: yaml.ScalarNode, way: tuple[str, ...], file: RuleFile) -> None:
        members = [*way[way.index(used.value) :], used.value]
        file.report.refuse(used, f"these conditions use each other without an end: {' -> '.join(members)}")
        self.names.broken.update(members)

    def packs(self, files: Sequence[RuleFile]) -> list[Pack | None]:
        """What each of the files tells of itself."""
        return [self._pack(file) for file in files]

    def _pack(self, file: RuleFile) -> Pack | None:
        node = file.parts.get("pack")
        read = PACK.shape.read(node, file.report) if node else None
        if read is None or node is None:
            return None
        return Pack(**read) if self._is_new("pack", read["id"], node, file, says=object()) else None

    def _is_new(
        self, what: str, name: str, key: yaml.Node, file: RuleFile, *, says: object, gives_way: bool = False
    ) -> bool:
        """Whether the definition counts. Those that give way must come last."""
        place = file.report.place(key)
        known = self.known.setdefault((what, name), Known(place, says, gives_way))
        if known.place == place:
            return True
        if not gives_way or (known.gives_way and known.says != says):
            file.report.refuse(key, f'there is a {what} "{name}" already, at {known.place}')
        return False


def _calendar(written_: Written, file: RuleFile) -> Calendar:
    sources = [_file(one.name, one.place, file) for one in written_.files]
    try:
        return finished(written_, [one for one in sources if one])
    except SpecError as error:
        file.report.problems += error.problems
        return written_.calendar  # known, though nothing is loaded with it


def _is_pack(file: RuleFile) -> bool:
    return "pack" in file.parts


def _pairs(file: RuleFile, part: str) -> Sequence[tuple[str, yaml.Node, yaml.Node]]:
    node = file.parts.get(part)
    return (KEYS[part].shape.read(node, file.report) or ()) if node else ()


def _is_default(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode) and any(key.value == "default" for key, _ in node.value)


def _entries(node: yaml.Node, file: RuleFile) -> Iterator[Entry]:
    """The values of a list, wherever they stand."""
    if not isinstance(node, yaml.MappingNode):
        yield from _written(node, file.report)
        return
    read = ELSEWHERE.read(node, file.report)
    if read is not None and len(read) != 1:
        file.report.refuse(node, "a list has values, or `file`, or `default`", example=LISTS)
    for key, child in node.value if read else ():
        if key.value == "default":
            yield from _written(child, file.report)
            continue
        for name, one in zip(read["file"], _nodes(child), strict=True):
            source = _file(name, file.report.place(one), file)
            yield from _in_file(source, file.report) if source else ()


def _written(node: yaml.Node, report: Report) -> Iterator[Entry]:
    values = VALUES.read(node, report) or ()
    for value, one in zip(values, _nodes(node), strict=False):
        yield Entry(value, report.place(one))


def _nodes(node: yaml.Node) -> Sequence[yaml.Node]:
    return node.value if isinstance(node, yaml.SequenceNode) else (node,)


def _file(name: str, place: Place, file: RuleFile) -> Source | None:
    """The text of a file that a rule file names; what can't be read is told where it is named."""
    try:
        return file.report.names.read_file(name, file.source.name)
    except SpecError as error:
        file.report.problems += (Problem(place, f"{name}: {one.message}") for one in error.problems)
        return None


def _in_file(source: Source, report: Report) -> Sequence[Entry]:
    try:
        return entries_of(source)
    except SpecError as error:
        report.problems += error.problems
        return ()


def _uses(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """Where a condition uses others."""
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from _uses(child)
    elif isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            if key.value == "use" and isinstance(child, yaml.ScalarNode):
                yield child
            else:
                yield from _uses(child)
