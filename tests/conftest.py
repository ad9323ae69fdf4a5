"""How long the property tests look: a glance while one works, longer in CI, as long as one likes at night.

`pytest --hypothesis-profile=campaign` is the long look.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow]  # machines are shared; a slow one proves no less
for name, examples in {"glance": 25, "thorough": 150, "campaign": 3_000}.items():
    settings.register_profile(name, max_examples=examples, deadline=None, suppress_health_check=SLOW)
settings.load_profile("thorough" if os.environ.get("CI") else "glance")
