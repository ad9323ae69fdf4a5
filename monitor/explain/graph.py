"""Rules, labels, routes and receivers as a graph, for people to look at. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from monitor.delivery.policy import Place, RouteSpec, places
from rules.engine import Rule
from rules.model import Labels


class Format(StrEnum):
    MERMAID = "mermaid"
    DOT = "dot"


class Node(NamedTuple):
    id: str
    words: str
    shape: str  #: rule, labels, route, receiver


class Edge(NamedTuple):
    source: str
    target: str
    is_sure: bool  #: False: only for watched users with fitting labels


class Graph(NamedTuple):
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


NOWHERE = "nowhere"


def graph(rules: Sequence[Rule], routes: Sequence[RouteSpec], people: Sequence[Labels]) -> Graph:
    """From each rule by its labels and the routes to the receivers.

    `people` are the label sets of the watched users: a route that asks for a label takes the alerts of some
    users only. Rules of equal labels and severity share a node: they are routed alike.
    """
    nodes: dict[str, Node] = {}
    edges: dict[Edge, None] = {}

    def join(source: Node, target: Node, *, is_sure: bool = True) -> None:
        nodes.setdefault(source.id, source)
        nodes.setdefault(target.id, target)
        edges[Edge(source.id, target.id, is_sure)] = None

    for rule in rules:
        mode = " (shadow)" if rule.pacing.shadow else ""
        node = Node(f"rule {rule.name}", f"{rule.name}{mode}\n{rule.kind}", "rule")
        if rule.pacing.shadow:
            join(node, Node(NOWHERE, "recorded, not sent", "receiver"))
            continue
        labels = _labels(rule, routes)
        join(node, labels)
        taken = reach(rule, routes, people)
        for place, is_sure in taken:
            station = _route(place)
            join(labels, station, is_sure=is_sure)
            for receiver in place.receivers:
                join(station, Node(f"receiver {receiver}", receiver, "receiver"))
            if not place.receivers:
                join(station, Node(NOWHERE, "recorded, not sent", "receiver"))
        if not taken:
            join(labels, Node(NOWHERE, "recorded, not sent", "receiver"))
    return Graph(tuple(nodes.values()), tuple(edges))


def reach(rule: Rule, routes: Sequence[RouteSpec], people: Sequence[Labels]) -> list[tuple[Place, bool]]:
    """The routes that take alerts of a rule, at some hour: True with those of every watched user."""
    own = {"rule": str(rule.name), "severity": rule.severity.value}
    sets = [{**rule.labels, **labels, **own} for labels in people] or [{**rule.labels, **own}]
    ways = [{place.path: place for place in places(labels, routes, now=None)} for labels in sets]
    found = {path: place for way in ways for path, place in way.items()}
    return [(found[path], all(path in way for way in ways)) for path in sorted(found, key=_in_order)]


def _in_order(path: str) -> list[int]:
    return [int(number) for number in path.split(".")]


def _labels(rule: Rule, routes: Sequence[RouteSpec]) -> Node:
    """What routes can see of a rule; its name only if a route asks for it."""
    told = {"severity": rule.severity.value, **rule.labels}
    if any(map(_asks_for_rule, routes)):
        told["rule"] = rule.name
    words = "\n".join(f"{key}={value}" for key, value in sorted(told.items()))
    return Node(f"labels {words}", words, "labels")


def _asks_for_rule(spec: RouteSpec) -> bool:
    asked = {*spec.match, *(matcher.label for matcher in spec.matchers)}
    return "rule" in asked or any(map(_asks_for_rule, spec.routes))


def _route(place: Place) -> Node:
    spec = place.spec
    wants = [f"{key}: {' or '.join(values)}" for key, values in spec.match.items()]
    wants = [*wants, *map(str, spec.matchers)] or ["takes everything"]
    hours = [f"during {spec.during.name}"] if spec.during else []
    hours += [f"not during {spec.except_.name}"] if spec.except_ else []
    further = ["and the next ones are asked too"] if spec.continue_ else []
    words = "\n".join([f"route {place.path}", *wants, *hours, *further])
    return Node(f"route {place.path}", words, "route")


# --- written ----------------------------------------------------------------------------------------------

BRACKETS = {"rule": ("[", "]"), "labels": ("(", ")"), "route": ("{{", "}}"), "receiver": ("[/", "/]")}
SHAPES = {"rule": "box", "labels": "plaintext", "route": "hexagon", "receiver": "house"}


def written(drawn: Graph, form: Format) -> str:
    """The graph for Mermaid (GitHub and GitLab show it in Markdown) or Graphviz."""
    lines = _mermaid(drawn) if form is Format.MERMAID else _dot(drawn)
    return "\n".join(lines)


def _mermaid(drawn: Graph) -> Iterator[str]:
    names = {node.id: f"n{number}" for number, node in enumerate(drawn.nodes)}
    yield "flowchart LR"
    for node in drawn.nodes:
        begin, end = BRACKETS[node.shape]
        yield f'  {names[node.id]}{begin}"{_in_mermaid(node.words)}"{end}'
    for edge in drawn.edges:
        arrow = "-->" if edge.is_sure else "-. some users .->"
        yield f"  {names[edge.source]} {arrow} {names[edge.target]}"


def _dot(drawn: Graph) -> Iterator[str]:
    names = {node.id: f"n{number}" for number, node in enumerate(drawn.nodes)}
    yield "digraph rules {"
    yield "  rankdir=LR;"
    for node in drawn.nodes:
        yield f'  {names[node.id]} [label="{_in_dot(node.words)}", shape={SHAPES[node.shape]}];'
    for edge in drawn.edges:
        dashed = "" if edge.is_sure else ' [style=dashed, label="some users"]'
        yield f"  {names[edge.source]} -> {names[edge.target]}{dashed};"
    yield "}"


def _in_mermaid(words: str) -> str:
    """As an entity what would end the text, or be HTML."""
    escaped = "".join(char if char not in '"#&<>`' else f"#{ord(char)};" for char in words)
    return escaped.replace("\n", "<br/>")


def _in_dot(words: str) -> str:
    return words.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
