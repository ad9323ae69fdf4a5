"""Health, metrics and the status page with its JSON. Reads only: nothing here changes anything."""

from monitor.web.pages import build
from monitor.web.view import BudgetView, StatusView, UserState, UserView, readiness

__all__ = ["BudgetView", "StatusView", "UserState", "UserView", "build", "readiness"]
