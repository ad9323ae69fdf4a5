"""Which names a PromQL query uses: enough of a reader for our own queries, to hold them to the metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping

FUNCTIONS = frozenset(
    {"absent", "changes", "clamp_min", "histogram_quantile", "increase", "max", "max_over_time", "min"}
    | {"min_over_time", "rate", "sum", "time"}
)
WORDS = frozenset({"by", "without", "and", "or", "unless", "on", "ignoring", "bool", "offset"})
TARGET_LABELS = frozenset({"job", "instance"})

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_RANGE = re.compile(r"\[[^\]]*\]")
_GROUPING = re.compile(r"\b(?:by|without)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
_NAME = re.compile(r"(?<![\w:$.])[a-zA-Z_:][\w:]*")


def strangers(query: str, known: Mapping[str, frozenset[str]]) -> list[str]:
    """What `query` names although no series of `known` has it: series, series{label} and grouping labels."""
    text = _RANGE.sub("", _STRING.sub('""', query))
    grouped = {label.strip() for labels in _GROUPING.findall(text) for label in labels.split(",")}
    named = set(_NAME.findall(_GROUPING.sub("", re.sub(r"\{[^}]*\}", "", text)))) - FUNCTIONS - WORDS
    labels = TARGET_LABELS.union(*(known.get(name, ()) for name in named))
    return sorted({*(named - known.keys()), *(grouped - labels), *_mismatched(text, known)})


def _mismatched(text: str, known: Mapping[str, frozenset[str]]) -> set[str]:
    return {
        f"{name}{{{label}}}"
        for name, matchers in _SELECTOR.findall(text)
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)
        if name in known and label not in known[name] | TARGET_LABELS
    }
