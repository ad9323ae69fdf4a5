"""Health, metrics and the status page with its JSON; and, with a token, silences and acknowledgements."""

from monitor.web.pages import build
from monitor.web.view import (
    BudgetView,
    ReceiverView,
    StatusView,
    Tally,
    UserState,
    UserView,
    readiness,
)
from monitor.web.writing import Writes

__all__ = [
    "BudgetView",
    "ReceiverView",
    "StatusView",
    "Tally",
    "UserState",
    "UserView",
    "Writes",
    "build",
    "readiness",
]
