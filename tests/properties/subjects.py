"""All kinds that are tried, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.properties import models, models_dialogue
from tests.properties.stories import Draw

SUBJECTS: Final[Mapping[str, Draw]] = {**models.SUBJECTS, **models_dialogue.SUBJECTS}
