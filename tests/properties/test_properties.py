"""Some stories of each kind; `python -m tests.properties` tells as many as one likes."""

from __future__ import annotations

import os

import pytest

from tests.properties.compare import Trial, case
from tests.properties.subjects import SUBJECTS

STORIES = 150 if os.environ.get("CI") else 25


@pytest.mark.parametrize("kind", sorted(SUBJECTS))
def test_a_kind_tells_what_its_model_tells(kind: str) -> None:
    alerts = 0
    for number in range(STORIES):
        seed = f"pytest-{kind}-{number}"
        subject, steps = case(SUBJECTS[kind], seed)
        trial = Trial(subject)
        assert trial.run(steps) is None, f"{seed}: {subject.options}"
        alerts += len(trial.bench.told)
    assert alerts > STORIES  # of stories without alerts all models are right
