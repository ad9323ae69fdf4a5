"""Test files to try: written beside their rules, prepared and performed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent

import pytest

from monitor.timeline.running import Prepared, Result, Run, prepare
from rules.text import Source, SpecError

RULES = """\
rules:
  - {name: urgent, when: {text: urgent}, severity: critical}
  - {name: quiet, when: {text: quiet}, shadow: true}
  - {name: calm, when: {text: calm}, cooldown: 10m}
  - {name: flood, kind: count, when: {category: message}, by: [sender], within: 1m, at_least: 5}
  - {name: missed-call, kind: missed_call}
"""


@dataclass
class Author:
    """Somebody who writes a test of `rules` and has it run."""

    folder: Path
    rules: str = RULES
    run: Run = field(default_factory=Run)

    def prepare(self, text: str) -> Prepared:
        (self.folder / "rules.yaml").write_text(self.rules, encoding="utf-8")
        whole = text if text.startswith("rules:") else f"rules: [rules.yaml]\n{text}"
        return prepare(Source(str(self.folder / "it.yaml"), whole))

    def perform(self, text: str) -> list[Result]:
        """What comes of a whole test file."""
        return list(self.run.results([self.prepare(text)]))

    def test(self, text: str) -> Result:
        """What comes of one test, whose keys beside the name are given."""
        (result,) = self.perform("tests:\n  - name: it\n" + indent(text.strip("\n"), "    "))
        return result

    def fine(self, text: str) -> None:
        result = self.test(text)
        assert [str(failure) for failure in result.failures] == []

    def wrong(self, text: str) -> list[str]:
        """What is said of a test that fails: message and nearest of each failure."""
        failures = self.test(text).failures
        assert failures
        return [one.message + (f" | {one.nearest}" if one.nearest else "") for one in failures]

    def refused(self, text: str) -> list[str]:
        """The problems of a test file, without its folder."""
        with pytest.raises(SpecError) as caught:
            self.prepare(text)
        return [str(problem).replace(f"{self.folder}/", "") for problem in caught.value.problems]


@pytest.fixture
def author(tmp_path: Path) -> Author:
    return Author(tmp_path)
