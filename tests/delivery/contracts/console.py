"""The console: no answers, but a deadline and a pipe that can break."""

from __future__ import annotations

import io
from typing import Any

from monitor.delivery.sinks import SINKS, Sink
from monitor.store.writer import inline
from tests.delivery.cases import Contract, status


def make(*, address: str, **changes: Any) -> Sink:
    return SINKS["console"](**{"stream": io.StringIO(), "run_sync": inline, **changes})


CONTRACT = Contract(make=make, accepts=status(200), over_http=False)
