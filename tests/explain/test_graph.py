"""Rules, labels, routes and receivers as a graph."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.delivery.policy import RouteSpec
from monitor.explain.graph import NOWHERE, Format, Graph, graph, written
from monitor.store.values import Matcher, Operator
from rules.model import Labels
from tests.rules.builders import rules_of

RULES = rules_of(
    """
rules:
  - {name: calls, kind: missed_call, severity: critical}
  - {name: files, kind: match, severity: info, when: {attachments: true}}
  - {name: shy, kind: match, shadow: true, when: {type: image}}
  - {name: odd, kind: match, labels: {team: 'say "hi" & <go>'}, when: {type: file}}
"""
).rules
ROUTES = (
    RouteSpec(receivers=("night",), match={"severity": ("critical",)}, continue_=True),
    RouteSpec(receivers=("pay",), match={"team": ("payments",)}),
    RouteSpec(receivers=("ops",), match={"severity": ("critical", "info")}),
)
PEOPLE: Sequence[Labels] = ({}, {"team": "payments"})


def drawn(routes: Sequence[RouteSpec] = ROUTES, people: Sequence[Labels] = PEOPLE) -> Graph:
    return graph(RULES, routes, people)


def edges(made: Graph) -> set[tuple[str, str, bool]]:
    """By the first line of the words of each node."""
    words = {node.id: node.words.split("\n")[0] for node in made.nodes}
    return {(words[edge.source], words[edge.target], edge.is_sure) for edge in made.edges}


def test_from_rules_over_labels_and_routes_to_receivers() -> None:
    assert edges(drawn()) == {
        ("calls", "severity=critical", True),
        ("severity=critical", "route 1", True),
        ("severity=critical", "route 2", False),
        ("severity=critical", "route 3", False),
        ("files", "severity=info", True),
        ("severity=info", "route 2", False),
        ("severity=info", "route 3", False),
        ("route 1", "night", True),
        ("route 2", "pay", True),
        ("route 3", "ops", True),
        ("shy (shadow)", "recorded, not sent", True),
        ("odd", "severity=warning", True),
        ("severity=warning", "route 2", False),
    }


def test_what_no_route_takes_leads_nowhere() -> None:
    made = drawn(routes=(), people=())
    assert {edge.target for edge in made.edges if edge.source.startswith("labels")} == {NOWHERE}


def test_the_name_of_a_rule_is_a_label_only_if_a_route_asks_for_it() -> None:
    by_name = (RouteSpec(receivers=("ops",), match={"rule": ("calls",)}),)
    made = drawn(routes=by_name, people=())
    assert ("rule=calls", "route 1", True) in edges(made)
    assert ("rule=files", "recorded, not sent", True) in edges(made)


def test_written_for_mermaid() -> None:
    text = written(drawn(), Format.MERMAID)
    first, *rest = text.split("\n")
    assert first == "flowchart LR"
    assert '  n0["calls<br/>missed_call"]' in rest
    assert any("-. some users .->" in line for line in rest)
    assert "say #34;hi#34; #38; #60;go#62;" in text


def test_written_for_graphviz() -> None:
    text = written(drawn(), Format.DOT)
    lines = text.split("\n")
    assert (lines[0], lines[-1]) == ("digraph rules {", "}")
    assert '  n0 [label="calls\\nmissed_call", shape=box];' in lines
    assert any(line.endswith('[style=dashed, label="some users"];') for line in lines)
    assert 'say \\"hi\\" & <go>' in text


def test_routes_within_others_are_drawn_by_their_path_with_what_they_have_from_them() -> None:
    office = RouteSpec(matchers=(Matcher(label="team", operator=Operator.LIKE, value="pay.*"),))
    quiet = RouteSpec(match={"severity": ("info",)})
    found = drawn((RouteSpec(receivers=("pay",), routes=(office,)), quiet))
    (inner,) = [node for node in found.nodes if node.id == "route 1.1"]
    assert inner.words == 'route 1.1\nteam=~"pay.*"'
    assert ("route 1.1", "receiver pay") in {(edge.source, edge.target) for edge in found.edges}
