"""Files of uids: what may stand in them, and where the mistakes are."""

from __future__ import annotations

import pytest

from monitor.settings.uids import TOLD, uids
from rules.text import Source, SpecError


def complaints(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        uids(Source("agents.txt", text))
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", ()),
        ("# nobody yet\n", ()),
        ("ann\nben", ("ann", "ben")),
        ("\ufeffann\r\n\r\n  Ben  # at night\n", ("ann", "ben")),
        ("ben\nann\nBEN\n", ("ben", "ann")),
        ("275211\nmüller-3.x@example\n", ("275211", "müller-3.x@example")),
    ],
)
def test_one_uid_a_line(text: str, meant: tuple[str, ...]) -> None:
    assert uids(Source("agents.txt", text)) == meant


def test_mistakes_have_a_line_and_a_column() -> None:
    assert complaints("ann\n\n  ben,cid dan\n@app  # no\nben,cid\n") == [
        "agents.txt:3:3: a uid has 1 to 100 characters, no spaces and no slashes; one uid a line; "
        "for example superhero2",
        "agents.txt:4:1: a uid has no @ at its beginning; one uid a line; for example superhero2",
        "agents.txt:5:1: a uid has no comma; one uid a line; for example superhero2",
    ]


def test_a_file_of_another_kind_is_not_told_line_by_line() -> None:
    said = complaints("uid, name\n" * 5000)
    assert len(said) == TOLD + 1
    assert said[-1] == f"agents.txt: {5000 - TOLD} more lines are no uids"
