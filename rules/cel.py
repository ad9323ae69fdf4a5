"""Free expressions over one message, in CEL (https://cel.dev): typed and weighed when they are loaded.

The extra `cel` brings the library, which is imported when the first expression is read. An expression sees
plain values: what a message lacks is "", 0 or an empty list, ids and roles are in lower case. Asking for a
key of metadata that is not there makes the expression false; `has(message.metadata.x)` asks whether it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final

import yaml

from rules.cel_complaints import Wrong, complaints
from rules.cel_names import FILE_KEYS, FUNCTIONS, VARIABLES, call_cost, found_in, has_word
from rules.cel_tree import Node, tree_of, weigh
from rules.conditions import Condition, SafeError, Test, globs, regex_problem
from rules.grammar import Report, did_you_mean, shown, unknown
from rules.model import Message, WatchSet
from rules.text import Problem, places_in

MAX_EXPRESSION: Final = 2_000  # characters
MAX_COST: Final = 60_000_000  # see `rules.cel_tree`: about 60 ms for the worst message
INSTALL: Final = "pip install 'cometwatch[cel]'"
EXAMPLE: Final = "sender.role == 'customer' && message.text.has_word('refund')"


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
        raise ExpressionError(list(complaints(str(error), text))) from None
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
        "search": found_in,
        "has_word": has_word,
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
    cost = weigh(root, bounds, dict.fromkeys(FUNCTIONS, call_cost))
    if cost > MAX_COST:
        yield Wrong(
            0,
            f"for a large message it could take some {cost / 1e9:.1f} s, more than {MAX_COST / 1e9:.2f} s: "
            "look at long texts and metadata once, not inside a loop or with one another",
        )


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
