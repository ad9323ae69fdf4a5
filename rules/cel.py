"""Free expressions over one message, in CEL (https://cel.dev): typed and weighed when they are loaded.

The extra `cel` brings the library, which is imported when the first expression is read. An expression sees
plain values: what a message lacks is "", 0 or an empty list, ids and roles are in lower case. Asking for a
key of metadata that is not there makes the expression false; `has(message.metadata.x)` asks whether it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar, Final, NamedTuple

import yaml

from rules.cel_tree import Bound, Node, tree_of, weigh
from rules.conditions import (
    FLAGS,
    TEXT_LIMIT,
    WORD_END,
    WORD_START,
    Condition,
    SafeError,
    Test,
    alternatives,
    file_type,
    globs,
    reach,
    regex,
    regex_problem,
    regex_steps,
    searched,
)
from rules.grammar import Report, did_you_mean, nearest, shown, unknown
from rules.model import Attachment, Message, Party, WatchSet, watched
from rules.text import Problem, places_in

MAX_EXPRESSION: Final = 2_000  # characters
MAX_COST: Final = 60_000_000  # see `rules.cel_tree`: about 60 ms for the worst message
MAX_ID: Final = 1_000  # characters of a short text that are looked at
MAX_PARTS: Final = 100  # of mentions, tags, attachments
MAX_TREE: Final = 2_000  # values in metadata
MAX_DEPTH: Final = 32  # of metadata; CEL's own functions recurse
MAX_INT: Final = (1 << 63) - 1
STEP_COST: Final = 15  # for each step of a regular expression and character, at worst
INSTALL: Final = "pip install 'cometwatch[cel]'"
EXAMPLE: Final = "sender.role == 'customer' && message.text.has_word('refund')"


# --- what an expression can name --------------------------------------------------------------------


class Variable(NamedTuple):
    """One name: its CEL type, its value, and how large that can be."""

    type: str
    get: Callable[[Message, WatchSet], Any]
    bound: Bound
    says: str


def clean(text: str | None, limit: int = MAX_ID) -> str:
    """A text as CEL takes it: UTF-8 has no lone surrogates."""
    text = (text or "")[:limit]
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _text(get: Callable[[Message], str | None], says: str, limit: int = MAX_ID) -> Variable:
    return Variable("string", lambda message, _: clean(get(message), limit), Bound(limit, 0, limit), says)


def _id(get: Callable[[Message], str | None], says: str) -> Variable:
    return Variable("string", lambda message, _: clean(get(message)).lower(), Bound(MAX_ID, 0, MAX_ID), says)


def _flag(is_so: Callable[[Message], bool], says: str) -> Variable:
    return Variable("bool", lambda message, _: is_so(message), Bound(), says)


def _number(get: Callable[[Message], int | None], says: str) -> Variable:
    return Variable("int", lambda message, _: min(get(message) or 0, MAX_INT), Bound(), says)


def _texts(get: Callable[[Message, WatchSet], Sequence[str]], says: str) -> Variable:
    bound = Bound(MAX_ID, MAX_PARTS, MAX_PARTS * MAX_ID)
    return Variable(
        "list", lambda message, watch: list(map(clean, get(message, watch)[:MAX_PARTS])), bound, says
    )


def _tree(get: Callable[[Message], Mapping[str, Any]], says: str) -> Variable:
    bound = Bound(TEXT_LIMIT, MAX_TREE, TEXT_LIMIT + MAX_TREE)
    return Variable("dyn", lambda message, _: bounded(get(message)), bound, says)


def _party(name: str, get: Callable[[Message], Party | None], who: str) -> dict[str, Variable]:
    return {
        f"{name}.id": _id(lambda message: party.id if (party := get(message)) else None, f"Id of {who}."),
        f"{name}.name": _text(
            lambda message: party.name if (party := get(message)) else None, f"Display name of {who}."
        ),
        f"{name}.role": _id(
            lambda message: party.role if (party := get(message)) else None, f"Role of {who}."
        ),
    }


def _file(found: Attachment, message: Message) -> dict[str, Any]:
    return {
        "name": clean(found.name),
        "extension": clean(found.extension).lower(),
        "mime_type": clean(found.mime_type).lower(),
        "type": file_type(found, message),
        "size": -1 if found.size is None else min(found.size, MAX_INT),
    }


FILE_KEYS: Final = ("name", "extension", "mime_type", "type", "size")


def _files(message: Message, _watch: WatchSet) -> list[dict[str, Any]]:
    return [_file(found, message) for found in message.attachments[:MAX_PARTS]]


def _concerned(message: Message, watch: WatchSet) -> Sequence[str]:
    return watched([*message.participants, *message.mentions], watch)


def _epoch(at: datetime | None) -> int:
    return int(at.timestamp()) if at else 0


VARIABLES: Final[Mapping[str, Variable]] = {
    "message.id": _number(lambda message: message.id, "Id of the row."),
    "message.text": _text(lambda message: message.text, "Text or caption.", TEXT_LIMIT),
    "message.category": _text(lambda message: message.category, "Category of the row."),
    "message.type": _text(lambda message: message.type, "Type of the row."),
    "message.action": _text(lambda message: message.action, "What a call or action row tells."),
    "message.conversation_id": _id(lambda message: message.conversation_id, "Conversation id."),
    "message.receiver_type": _text(lambda message: message.receiver_type, "user or group."),
    "message.moderation": _text(lambda message: message.moderation, "Moderation status."),
    "message.sent_at": Variable("timestamp", lambda message, _: message.sent_at, Bound(), "When it came."),
    "message.parent_id": _number(lambda message: message.parent_id, "The message whose thread it is in."),
    "message.edited": _flag(FLAGS["edited"][0], "Whether it is, or tells of, an edit."),
    "message.deleted": _flag(FLAGS["deleted"][0], "Whether it is, or tells of, a deletion."),
    "message.thread_reply": _flag(FLAGS["thread_reply"][0], "Whether it replies in a thread."),
    "message.mentions_all": _flag(lambda message: message.mentions_all, "Whether it mentions @all."),
    "message.tags": _texts(lambda message, _: message.tags, "Tags."),
    "message.metadata": _tree(lambda message: message.metadata, "`data.metadata`."),
    "message.custom": _tree(lambda message: message.custom, "`data.customData`."),
    **_party("sender", lambda message: message.sender, "the sender"),
    **_party("receiver", lambda message: message.receiver, "the receiver, a user or a group"),
    **_party("subject", lambda message: message.subject, "whom a group action is about"),
    **_party("caller", lambda message: message.call.caller if message.call else None, "who calls"),
    **_party("callee", lambda message: message.call.callee if message.call else None, "who is called"),
    "call.status": _text(lambda message: message.call.status if message.call else None, "Its status."),
    "call.session_id": _text(lambda message: message.call.session_id if message.call else None, "Its id."),
    "call.initiated_at": _number(
        lambda message: _epoch(message.call.initiated_at if message.call else None),
        "When the call began, in seconds since 1970; 0 if it is not told.",
    ),
    "mentions": _texts(lambda message, _: message.mentions, "Mentioned uids."),
    "watched": _texts(_concerned, "The watched users that take part or are mentioned."),
    "attachments": Variable(
        "files", _files, Bound(MAX_ID, MAX_PARTS, MAX_PARTS * 4 * MAX_ID),
        f"Its files, each with {', '.join(FILE_KEYS)} (bytes; -1 if it is not told).",
    ),
}  # fmt: skip


class TooMuchError(SafeError):
    """A message with more metadata than an expression looks at."""


def bounded(tree: Any) -> Any:
    """A copy of free-form JSON that CEL takes. Raises TooMuchError if it is larger than people need."""
    left = [MAX_TREE, TEXT_LIMIT]

    def text(value: str) -> str:
        left[1] -= len(value)
        if left[1] < 0:
            raise TooMuchError(f"more than {TEXT_LIMIT} characters of metadata")
        return clean(value, TEXT_LIMIT)

    def copy(value: Any, depth: int) -> Any:
        left[0] -= 1
        if left[0] < 0 or depth > MAX_DEPTH:
            raise TooMuchError(f"more than {MAX_TREE} values or {MAX_DEPTH} levels of metadata")
        if isinstance(value, Mapping):
            return {text(str(key)): copy(part, depth + 1) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [copy(part, depth + 1) for part in value]
        if isinstance(value, str):
            return text(value)
        is_large = isinstance(value, int) and not -(1 << 63) <= value < 1 << 63
        return float(value) if is_large else value

    return copy(tree, 0)


# --- functions of our own ---------------------------------------------------------------------------


@lru_cache(maxsize=1_024)
def _search(pattern: str) -> Callable[[str], bool]:
    search, limit = regex(pattern).search, reach([pattern])
    return lambda text: search(searched(text[:limit])) is not None


def _found(text: str, pattern: str) -> bool:
    return _search(pattern)(text)


def _has_word(text: str, word: str) -> bool:
    return _search(f"(?is){WORD_START}(?:{alternatives([word])}){WORD_END}")(text)


class Function(NamedTuple):
    """A function of ours, a member of texts; its argument is a constant."""

    takes: Sequence[str]  #: the types of its arguments after the text
    gives: str
    says: str


FUNCTIONS: Final[Mapping[str, Function]] = {
    "search": Function(("string",), "bool", "An RE2 expression is found in the text: `text.search('a+b')`."),
    "has_word": Function(("string",), "bool", "The word or phrase stands in the text, in any case."),
    "in_list": Function(("string",), "bool", "The text is in a named list, in any case; * and ? are wild."),
    "lower": Function((), "string", "The text in lower case."),
}
INSTEAD: Final = {"matches": 'write search: message.text.search("a+b")', **dict.fromkeys(
    ("exist", "any", "some"), "write exists: attachments.exists(a, a.size > 1000000)"
)}  # fmt: skip


def _call_cost(node: Node, bounds: tuple[Bound, ...]) -> float:
    length = bounds[0].longest
    match node.name:
        case "search":
            steps = regex_steps(node.parts[1].text or "")
            return 2 * length + min(length, reach([node.parts[1].text or ""])) * steps * STEP_COST
        case "has_word":
            return 100 * length
        case _:
            return 20 * length


# --- the condition ----------------------------------------------------------------------------------


class CelError(SafeError):
    """An expression that failed for one message: told without the values that it failed for."""


REASONS: Final[Mapping[str, str]] = {
    "divide by zero": "a division by zero",
    "modulus by zero": "a division by zero",
    "overflow": "a number of more than 64 bits",
    "no matching overload": "a value of another type than the expression needs",
    "No matching overload": "a value of another type than the expression needs",
    "onver": "a text that can't be converted",
    "container type": "a value of another type than the expression needs",
    "ndex": "a place beyond the end of a list",
    "Iteration budget": "too many turns of a loop",
}
"""Parts of the library's words, and ours."""


class Cel(Condition, frozen=True, kw_only=True, tag=True, tag_field="is"):
    """An expression holds."""

    COST: ClassVar[int] = 4

    text: str
    lists: Mapping[str, tuple[str, ...]] = {}  #: the named lists that it asks

    def describe(self) -> str:
        return f"CEL {' '.join(self.text.split())}"

    def compile(self) -> Test:
        """Raises ExpressionError if it can't be used, ImportError without the library."""
        checked = check(self.text, self.lists)
        compiled = _environment(self.lists).compile(self.text) if self.lists else checked.expression
        evaluate, wanted = compiled.eval, [(name, VARIABLES[name].get) for name in checked.names]

        def test(message: Message, watch: WatchSet) -> bool:
            facts = {name: get(message, watch) for name, get in wanted}
            try:
                value = evaluate(data=facts).value()
            except RuntimeError as error:
                raise CelError(_reason(str(error))) from None
            if value is True or value is False:
                return value
            if str(value).startswith("NOT_FOUND"):
                return False
            raise CelError(_reason(str(value)))

        return test


def _reason(text: str) -> str:
    """Why it failed. The library's own words may quote the message."""
    known = (ours for theirs, ours in REASONS.items() if theirs in text)
    return next(known, text.partition(":")[0].strip().lower()[:40])


# --- checking ---------------------------------------------------------------------------------------


class Wrong(NamedTuple):
    """One thing to mend in an expression: where, in characters, and what."""

    at: int
    message: str


class ExpressionError(ValueError):
    """An expression that can't be used."""

    def __init__(self, wrong: Sequence[Wrong]) -> None:
        self.wrong = tuple(wrong)
        super().__init__("; ".join(one.message for one in wrong))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """An expression that compiled, and the variables that it names."""

    expression: Any
    names: tuple[str, ...]
    lists: tuple[str, ...]


def check(text: str, lists: Collection[str]) -> Checked:
    """Compile, type-check and weigh an expression; `lists` are the names of those that there are.

    Raises ExpressionError, or ImportError without the library.
    """
    if len(text) > MAX_EXPRESSION:
        raise ExpressionError(
            [Wrong(0, f"an expression of {len(text)} characters, more than {MAX_EXPRESSION}")]
        )
    try:
        expression = environment().compile(text)
    except (RuntimeError, TypeError) as error:
        raise ExpressionError(list(_told(str(error), text))) from None
    root = tree_of(expression.serialize())
    wrong = list(_misused(root, lists))
    if not wrong and expression.return_type().name() != "BOOL":
        gives = expression.return_type().name().lower()
        compare = "compare it with something, as in x == true" if gives == "dyn" else "ask something of it"
        wrong = [Wrong(0, f"it gives {gives}, not true or false: {compare}")]
    if not wrong:
        wrong = list(_too_slow(root))
    if wrong:
        raise ExpressionError(wrong)
    named = {node.name for node in root.walk() if node.kind == "name"}
    return Checked(
        expression=expression,
        names=tuple(name for name in VARIABLES if name in named),
        lists=tuple(sorted(_asked(root))),
    )


@lru_cache(maxsize=1)
def environment() -> Any:
    """For expressions that ask no lists, and to check all others."""
    return _environment({})


def _environment(lists: Mapping[str, Sequence[str]]) -> Any:
    from cel_expr_python import cel  # an extra, and half a megabyte of code for those who use it

    types = {
        "string": cel.Type.STRING,
        "bool": cel.Type.BOOL,
        "int": cel.Type.INT,
        "timestamp": cel.Type.TIMESTAMP,
        "list": cel.Type.List(cel.Type.STRING),
        "files": cel.Type.List(cel.Type.Map(cel.Type.STRING, cel.Type.DYN)),
        "dyn": cel.Type.DYN,
    }
    tests = {name: _membership(values) for name, values in lists.items()}
    calls: dict[str, Callable[..., Any]] = {
        "search": _found,
        "has_word": _has_word,
        "in_list": lambda text, name: tests[name](text),
        "lower": lambda text: text.lower(),
    }
    functions = [
        cel.FunctionDecl(name, [cel.Overload(
            f"string.{name}", return_type=types[function.gives], is_member=True,
            parameters=[types["string"], *(types[one] for one in function.takes)], impl=calls[name],
        )]) for name, function in FUNCTIONS.items()
    ]  # fmt: skip
    # CEL's own `matches` compiles its expression for each message, and takes one from the message.
    without = cel.NewEnvConfigFromYaml("stdlib: {exclude_functions: [{name: matches}]}")
    variables = {name: types[variable.type] for name, variable in VARIABLES.items()}
    return cel.NewEnv(config=without, variables=variables, functions=functions)


def _membership(values: Sequence[str]) -> Callable[[str], bool]:
    is_one = globs([value.lower() for value in values])
    return lambda text: is_one(text.lower())


def _asked(root: Node) -> set[str]:
    return {
        node.parts[1].text or "" for node in root.walk() if node.kind == "call" and node.name == "in_list"
    }


def _misused(root: Node, lists: Collection[str]) -> Iterator[Wrong]:
    """What CEL can't see: wrong keys of attachments, and arguments of our functions."""
    for node in root.walk():
        key = _key(node)
        if key is not None and key.text not in FILE_KEYS:
            close = did_you_mean(key.text or "", FILE_KEYS)
            yield Wrong(key.at, f'an attachment has no "{key.text}"{close}; it has {", ".join(FILE_KEYS)}')
        if node.kind == "call" and node.name in FUNCTIONS and FUNCTIONS[node.name].takes:
            argument = node.parts[1]
            if argument.text is None:
                yield Wrong(argument.at, f"{node.name} takes a text in quotes, nothing that is worked out")
            elif wrong := _wrong_argument(node.name, argument.text, lists):
                yield Wrong(argument.at, wrong)


def _key(node: Node) -> Node | None:
    """The key of an attachment that a node asks for: `a.size`, `a['size']`."""
    if not node.parts or node.parts[0].type != "map" or node.parts[0].kind not in ("name", "call"):
        return None
    if node.kind == "select":
        return Node(kind="const", at=node.at, type="string", text=node.name)
    if node.kind == "call" and node.name == "_[_]" and node.parts[1].text is not None:
        return node.parts[1]
    return None


def _wrong_argument(name: str, text: str, lists: Collection[str]) -> str | None:
    if name == "search":
        return regex_problem(text)
    if name == "in_list" and text not in lists:
        return unknown("list", text, lists)
    return "an empty text is no word" if name == "has_word" and not text.strip() else None


def _too_slow(root: Node) -> Iterator[Wrong]:
    bounds = {name: variable.bound for name, variable in VARIABLES.items()}
    cost = weigh(root, bounds, dict.fromkeys(FUNCTIONS, _call_cost))
    if cost > MAX_COST:
        yield Wrong(
            0,
            f"for a large message it could take some {cost / 1e9:.1f} s, more than {MAX_COST / 1e9:.2f} s: "
            "look at long texts and metadata once, not inside a loop or with one another",
        )


# --- the library's complaints in our words ----------------------------------------------------------

COMPLAINT: Final = re.compile(
    r"ERROR: <input>:(-?\d+):(-?\d+): (.*?)(?=\n \| |\nERROR: |\Z| \[INVALID_ARGUMENT\])", re.S
)
UNDECLARED: Final = re.compile(r"undeclared reference to '(.*)' \(in container '.*'\)")
NO_OVERLOAD: Final = re.compile(r"found no matching overload for '(.*)' applied to '\((.*)\)'", re.S)
SYNTAX: Final = re.compile(r"Syntax error: (.*)", re.S)
OPERATOR: Final = re.compile(r"_?([^\w\s]+|in)_?")
TOLD: Final = 5


def _told(error: str, text: str) -> Iterator[Wrong]:
    """What the library says of an expression, each with its place."""
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
    if word[:1] in "\"'":
        return f"the text that begins with {word[0]} does not end"
    written = SIGNS.get(word.lower())
    return f"{word} does not belong here{f': write {written}' if written else ''}"


# --- in a rule file ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expression:
    """A CEL expression; read as a `Cel`."""

    expected: str = "an expression in CEL"

    def read(self, node: yaml.Node, report: Report) -> Any:
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            return report.refuse(node, f"found {shown(node)}", expected=self.expected, example=EXAMPLE)
        names = report.names
        if names.is_symbolic:
            return Cel(text=node.value)
        try:
            asked = check(node.value, names.lists).lists
        except ImportError:
            return report.refuse(node, f"expressions in CEL need an extra that is not installed: {INSTALL}")
        except ExpressionError as error:
            self._tell(error, node, report)
            return None
        lists = {name: tuple(entry.text for entry in names.list_of(name)) for name in asked}
        return Cel(text=node.value, lists=lists)

    def _tell(self, error: ExpressionError, node: yaml.ScalarNode, report: Report) -> None:
        """At the places within the expression, wherever its lines stand in the file."""
        places = places_in(node, report.source)
        report.problems += (
            Problem(places[min(one.at, len(places) - 1)], one.message, EXAMPLE) for one in error.wrong
        )

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "maxLength": MAX_EXPRESSION}
