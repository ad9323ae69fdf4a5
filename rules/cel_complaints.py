"""What CEL's library says against an expression, in our words and with the place in the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from rules.cel_names import FUNCTIONS, VARIABLES
from rules.grammar import did_you_mean, nearest


class Wrong(NamedTuple):
    """One thing to mend in an expression: where, in characters, and what."""

    at: int
    message: str


INSTEAD: Final = {"matches": 'write search: message.text.search("a+b")', **dict.fromkeys(
    ("exist", "any", "some"), "write exists: attachments.exists(a, a.size > 1000000)"
)}  # fmt: skip
COMPLAINT: Final = re.compile(
    r"ERROR: <input>:(-?\d+):(-?\d+): (.*?)(?=\n \| |\nERROR: |\Z| \[INVALID_ARGUMENT\])", re.S
)
UNDECLARED: Final = re.compile(r"undeclared reference to '(.*)' \(in container '.*'\)")
NO_OVERLOAD: Final = re.compile(r"found no matching overload for '(.*)' applied to '\((.*)\)'", re.S)
SYNTAX: Final = re.compile(r"Syntax error: (.*)", re.S)
OPERATOR: Final = re.compile(r"_?([^\w\s]+|in)_?")
TOLD: Final = 5


def complaints(error: str, text: str) -> Iterator[Wrong]:
    """What the library says of an expression that it refuses, each with its place."""
    found = list(dict.fromkeys(COMPLAINT.findall(error)))
    if functions := [one for one in found if _names_function(one[2])]:
        found = functions  # the rest is what CEL makes of a macro that it does not know
    if any(said.startswith("Syntax error") for _, _, said in found):
        found = found[:1]  # the parser stumbles on after the first
    for line, column, said in found[:TOLD]:
        yield _worded(said, _offset(text, int(line), int(column)), text)
    if not found:
        deep = "it is nested too deeply" if "recursion" in error else "it is not CEL"
        yield Wrong(0, deep)


def _names_function(said: str) -> bool:
    name = UNDECLARED.fullmatch(said)
    return name is not None and name.group(1) in INSTEAD


def _offset(text: str, line: int, column: int) -> int:
    before = text.split("\n")[: max(0, line - 1)]
    return min(len(text), sum(len(one) + 1 for one in before) + max(0, column - 1))


def _worded(said: str, at: int, text: str) -> Wrong:
    if found := UNDECLARED.fullmatch(said):
        return _undeclared(found.group(1), at, text)
    if found := NO_OVERLOAD.fullmatch(said):
        return Wrong(at, _overload(found.group(1), found.group(2)))
    if "recursion depth" in said:
        return Wrong(0, "it is nested too deeply")
    if found := SYNTAX.fullmatch(said):
        return Wrong(at, _syntax(found.group(1)))
    return Wrong(at, said)


def _undeclared(name: str, at: int, text: str) -> Wrong:
    """CEL points at a dot or a bracket; people look for the name."""
    whole = at - len(name.rpartition(".")[0])
    at = next(
        (start for start in (at, whole, at - len(name)) if start >= 0 and text.startswith(name, start)), at
    )
    if name in INSTEAD:
        return Wrong(at, f'there is no function "{name}" here: {INSTEAD[name]}')
    if text[at + len(name) :].lstrip().startswith("(") and "." not in name:
        known = {*FUNCTIONS, *CEL_FUNCTIONS}
        close = did_you_mean(name, known) or f"; there are {', '.join(sorted(known))}"
        return Wrong(at, f'there is no function "{name}"{close}')
    return Wrong(at, f'there is no "{name}" here{_close(name)}')


CEL_FUNCTIONS: Final = (
    *("contains", "startsWith", "endsWith", "size", "has", "exists", "all", "exists_one", "filter", "map"),
    *("int", "double", "string", "bool", "timestamp", "duration", "getHours", "getDayOfWeek"),
)


def _close(name: str) -> str:
    """The nearest name, or what there is: below the first part if that is right."""
    first, _, rest = name.partition(".")
    below = {known.partition(".")[2]: known for known in VARIABLES if known.startswith(f"{first}.")}
    if rest and below:
        close = nearest(rest, below)
        return f' (did you mean "{below[close]}"?)' if close else f"; there is {', '.join(below.values())}"
    roots = sorted({known.partition(".")[0] for known in VARIABLES})
    return did_you_mean(name, VARIABLES) or f"; there is {', '.join(roots)}"


def _overload(name: str, types: str) -> str:
    operator = OPERATOR.fullmatch(name.replace("@", "").replace("_?_:_", "?"))
    if name == "_[_]":
        return f"[ ] can't be used with {types.replace(', ', ' and ')}"
    if operator and ", " in types:
        return f"{operator.group(1)} can't stand between {types.replace(', ', ' and ')}"
    if operator:
        return f"{operator.group(1)} can't stand before {types}"
    return f"{name} does not take ({types})"


QUOTE: Final = "'"
SIGNS: Final = {"and": "&&", "or": "||", "not": "!", "=": "==", "<>": "!=", "&": "&&", "|": "||"}


def _syntax(said: str) -> str:
    said = said.partition(" expecting ")[0].strip()
    if "'<EOF>'" in said:
        missing = re.match(r"missing '(.*)' at", said)
        return f"the expression ends too soon{f': {missing.group(1)} is missing' if missing else ''}"
    unexpected = re.search(r"(?:input|error at:?) '(.*)'", said, re.S)
    if not unexpected:
        return f"this is not CEL: {said}"
    word = unexpected.group(1).strip()
    if word[:1] in "\"'":  # nothing stands between the library's quote and the one that is not closed
        return f"the text that begins with {word[:1] or QUOTE} does not end"
    written = SIGNS.get(word.lower())
    return f"{word} does not belong here{f': write {written}' if written else ''}"
