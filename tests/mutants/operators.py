"""Small wrong changes of a module, one at a time: what a test suite must notice."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

Maker = Callable[[], ast.AST | None]
"""Makes the node that stands in the old one's place; None takes it out of its list."""

COMPARED: Final[Mapping[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
RECKONED: Final[Mapping[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift,
}  # fmt: skip
CALLED: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
DROPPED: Final = {"lower", "upper", "strip", "split", "removeprefix", "removesuffix", "replace", "casefold"}
A_WORD: Final = re.compile(
    r"[^\W\d]\w*(?:[-.]\w+)*|[-.:*?]"
)  # what a machine reads; sentences are for people


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One wrong change. `name` stays the same when lines move."""

    module: str
    within: str  #: the function or class it is in; "" at the top
    change: str
    twin: int  #: of several same changes in one place, which
    line: int
    lines: range  #: of the statement (or the head of it) that it is in
    tree: Callable[[], ast.Module]

    @property
    def name(self) -> str:
        which = f" #{self.twin + 1}" if self.twin else ""
        return f"{self.module}:{self.within or 'module'}: {self.change}{which}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A node and where it hangs."""

    node: ast.AST
    parent: ast.AST
    field: str
    index: int | None  #: in a list
    within: str
    statement: ast.stmt


def mutants(module: str, source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its text."""
    made, seen = list[Mutant](), dict[tuple[str, str], int]()
    for number, place in enumerate(_places(ast.parse(source))):
        for variant, (change, _) in enumerate(_changes(place)):
            twin = seen[place.within, change] = seen.get((place.within, change), -1) + 1
            made.append(
                Mutant(
                    module=module,
                    within=place.within,
                    change=change,
                    twin=twin,
                    line=getattr(place.node, "lineno", place.statement.lineno),
                    lines=_head(place.node if isinstance(place.node, ast.ExceptHandler) else place.statement),
                    tree=partial(_changed, source, number, variant),
                )
            )
    return made


def _changed(source: str, number: int, variant: int) -> ast.Module:
    tree = ast.parse(source)
    place = list(_places(tree))[number]
    new = list(_changes(place))[variant][1]()
    siblings = getattr(place.parent, place.field)
    if place.index is None:
        setattr(place.parent, place.field, new)
    elif new is None:
        del siblings[place.index]
    else:
        siblings[place.index] = new
    if isinstance(new, ast.expr | ast.stmt):
        ast.copy_location(new, place.node)
    return ast.fix_missing_locations(tree)


def _head(statement: ast.stmt | ast.ExceptHandler) -> range:
    """The lines of a statement, or an `except`, without the statements inside it."""
    inner = [
        child.lineno
        for child in ast.walk(statement)
        if isinstance(child, ast.stmt) and child is not statement
    ]
    end = statement.end_lineno or statement.lineno
    return range(statement.lineno, max(statement.lineno, min([end, *(line - 1 for line in inner)])) + 1)


def _places(tree: ast.Module) -> Iterator[_Place]:
    for index, statement in enumerate(tree.body):
        place = _Place(
            node=statement,
            parent=tree,
            field="body",
            index=index,
            within=_assigned(statement),
            statement=statement,
        )
        yield from _inside(place)


def _assigned(statement: ast.stmt) -> str:
    """The name that a statement at the top of a module gives a value."""
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return name
        case _:
            return ""


def _inside(place: _Place) -> Iterator[_Place]:
    node = place.node
    if _is_left_alone(place):
        return
    yield place
    within = place.within
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        within = f"{within}.{node.name}" if within else node.name
    for field, value in ast.iter_fields(node):
        if field in LEFT_ALONE.get(type(node), ()):
            continue
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST):
                yield from _inside(
                    _Place(
                        node=child,
                        parent=node,
                        field=field,
                        index=index if isinstance(value, list) else None,
                        within=within,
                        statement=child if isinstance(child, ast.stmt) else place.statement,
                    )
                )


# What types and tools read, not what the program does.
LEFT_ALONE: Final[Mapping[type[ast.AST], tuple[str, ...]]] = {
    ast.AnnAssign: ("annotation",),
    ast.arg: ("annotation",),
    ast.FunctionDef: ("returns", "decorator_list"),
    ast.ClassDef: ("keywords", "bases", "decorator_list"),
    ast.JoinedStr: (),
}
DECLARING: Final = {"TypeVar", "NewType", "NamedTuple", "overload"}


def _is_left_alone(place: _Place) -> bool:
    match place.node:
        case ast.Expr(value=ast.Constant()) | ast.Assert() | ast.Import() | ast.ImportFrom():
            return True  # docstrings; what the type checker is told
        case ast.Call(func=ast.Name(id=name)) if name in DECLARING:
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) if name == "__all__" or _is_alias(place.node):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.AnnAssign(value=ast.expr() as value) if isinstance(place.parent, ast.Module) and _is_number(
            value
        ):
            return True  # limits, which tests know by their names
        case ast.Raise(exc=ast.Name(id="NotImplementedError")):
            return True
        case ast.keyword(arg="strict"):
            return True  # of `zip`: an assertion as well
        case _:
            return False


def _is_number(node: ast.expr) -> bool:
    """`64 * 1024`, `8 << 20`, `timedelta(days=2)`."""
    match node:
        case ast.Constant(value=int() | float()):
            return True
        case ast.BinOp(left=left, right=right):
            return _is_number(left) and _is_number(right)
        case ast.Call(func=ast.Name(id="timedelta"), args=[], keywords=[keyword]):
            return _is_number(keyword.value)
        case _:
            return False


def _is_alias(node: ast.Assign) -> bool:
    """A name for a type: `Verdict = Missed | NotMissed`."""
    return (
        isinstance(node.value, ast.BinOp | ast.Subscript)
        and all(
            isinstance(
                part,
                ast.Name
                | ast.Load
                | ast.BinOp
                | ast.BitOr
                | ast.Subscript
                | ast.Attribute
                | ast.Tuple
                | ast.List,
            )
            or (isinstance(part, ast.Constant) and part.value is None)
            for part in ast.walk(node.value)
        )
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id[:1].isupper()
        and not node.targets[0].id.isupper()
    )


# --- the changes ------------------------------------------------------------------------------------


def _changes(place: _Place) -> Iterator[tuple[str, Maker]]:
    node = place.node
    if isinstance(node, ast.expr):
        for new in _other_expressions(place):
            yield f"{_said(node)} -> {_said(new)}", partial(_itself, new)
    elif isinstance(node, ast.stmt):
        yield from _other_statements(place)
    elif isinstance(node, ast.comprehension):
        for index, test in enumerate(node.ifs):
            yield f"for {_said(node.target)}: without if {_said(test)}", partial(_without, node, "ifs", index)
    elif isinstance(node, ast.match_case):
        if len(getattr(place.parent, place.field)) > 1:
            yield f"without case {_said(node.pattern)}", lambda: None
    elif isinstance(node, ast.ExceptHandler):
        yield f"without except {_said(node.type)}", lambda: _except_raising(node)


def _other_expressions(place: _Place) -> Iterator[ast.expr]:
    match place.node:
        case ast.Compare(left=left, ops=ops, comparators=others):
            for index, op in enumerate(ops):
                if other := COMPARED.get(type(op)):
                    yield ast.Compare(
                        left=left, ops=[*ops[:index], other(), *ops[index + 1 :]], comparators=others
                    )
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(op=ast.Or() if isinstance(op, ast.And) else ast.And(), values=values)
            for index in range(len(values)):
                rest = [*values[:index], *values[index + 1 :]]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(op=op, values=rest)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=op, right=right):
            if (other_op := RECKONED.get(type(op))) and not isinstance(left, ast.JoinedStr | ast.Constant):
                yield ast.BinOp(left=left, op=other_op(), right=right)
        case ast.IfExp(body=body, orelse=orelse):
            yield body
            yield orelse
        case ast.Call() as call:
            yield from _other_calls(call)
        case ast.Subscript(value=value, slice=ast.Slice(), ctx=ast.Load()):
            yield value
        case ast.Constant(value=value) if not isinstance(place.parent, ast.JoinedStr | ast.FormattedValue):
            yield from _other_constants(value)


def _other_calls(call: ast.Call) -> Iterator[ast.expr]:
    match call.func:
        case ast.Name(id=name) if name in CALLED:
            other = ast.Name(id=CALLED[name], ctx=ast.Load())
            yield ast.Call(func=other, args=call.args, keywords=call.keywords)
        case ast.Attribute(value=value, attr=attr) if attr in DROPPED and not isinstance(value, ast.Constant):
            yield value


def _other_constants(value: object) -> Iterator[ast.Constant]:
    match value:
        case bool():
            yield ast.Constant(value=not value)
        case int() | float():
            yield ast.Constant(value=value + 1)
        case str() if A_WORD.fullmatch(value):
            yield ast.Constant(value=value + "x")
        case _:
            pass


def _other_statements(place: _Place) -> Iterator[tuple[str, Maker]]:
    node = place.node
    match node:
        case ast.If(test=test):
            yield f"if {_said(test)} -> if True", lambda: _with(node, test=ast.Constant(value=True))
            yield f"if {_said(test)} -> if False", lambda: _with(node, test=ast.Constant(value=False))
        case ast.While(test=test):
            yield f"while {_said(test)} -> while False", lambda: _with(node, test=ast.Constant(value=False))
        case ast.For(target=target, iter=over):
            yield (
                f"for {_said(target)} in {_said(over)} -> in ()",
                lambda: _with(node, iter=ast.Tuple(elts=[], ctx=ast.Load())),
            )
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            yield f"return {_said(value)} -> return None", lambda: _with(node, value=ast.Constant(value=None))
        case ast.Expr() | ast.Raise() | ast.Continue() | ast.Break() | ast.Delete():
            yield f"without {_said(node)}", ast.Pass
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield f"without {_said(node)}", ast.Pass
        case ast.AugAssign(op=op):
            if other := RECKONED.get(type(op)):
                yield f"{_said(node)} -> {other.__name__}", lambda: _with(node, op=other())
            yield f"without {_said(node)}", ast.Pass
        case _:
            pass


def _itself(node: ast.AST) -> ast.AST:
    return node


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _with(node: ast.AST, **fields: ast.AST) -> ast.AST:
    for name, value in fields.items():
        setattr(node, name, value)
    return node


def _without(node: ast.AST, field: str, index: int) -> ast.AST:
    del getattr(node, field)[index]
    return node


def _except_raising(handler: ast.ExceptHandler) -> ast.AST:
    handler.body = [ast.Raise(exc=None, cause=None)]
    return handler


def _said(node: ast.AST | None) -> str:
    text = " ".join(ast.unparse(node).split()) if node else ""
    return text if len(text) <= 70 else f"{text[:45]} … {text[-20:]}"
