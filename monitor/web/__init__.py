"""Health, metrics and the status page with its JSON. Reads only: nothing here changes anything."""

from monitor.web.pages import build
from monitor.web.view import BudgetView, StatusView, Tally, UserState, UserView, readiness

__all__ = ["BudgetView", "StatusView", "Tally", "UserState", "UserView", "build", "readiness"]
