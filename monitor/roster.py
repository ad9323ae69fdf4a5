"""Who is watched, and on which terms: the settings, their files and what was discovered, taken together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import NamedTuple

from monitor.settings import Settings
from monitor.settings.watch import Cohort, Terms, WatchedUser
from rules.model import Labels, UserId, WatchSet

Uids = Mapping[str, Iterable[UserId]]
"""Users by the name of their cohort."""


class Member(NamedTuple):
    """The terms on which a list is watched. Users of one cohort share one value: there may be 100,000."""

    labels: Labels
    weight: float
    max_staleness: float | None  #: seconds; None is `auto`
    cohort: str | None  #: None if the user (or group) is listed by itself


class Roster(NamedTuple):
    """Everybody who is watched."""

    members: Mapping[UserId, Member]
    groups: Mapping[str, Member]  #: by guid; they have no labels

    @property
    def watch_set(self) -> WatchSet:
        """What the rules want to know of it. Made anew each time: ask once."""
        return {uid: member.labels for uid, member in self.members.items()}


def roster(settings: Settings, *, listed: Uids, found: Uids) -> Roster:
    """Everybody whom `settings` name; the uids of cohorts stand in files (`listed`) or were `found`.

    Who is listed singly is not bound by a cohort; of several cohorts the first one counts, whole.
    """
    common = settings.poll.max_staleness
    members = {UserId(user.uid): _of_user(user, common) for user in settings.watch.users}
    for cohort in settings.watch.cohorts:
        member = Member(dict(cohort.labels), *_terms(cohort, common), cohort.name)
        for uid in _uids(cohort, listed, found):
            members.setdefault(uid, member)
    groups = {group.guid: Member({}, *_terms(group, common), None) for group in settings.watch.groups}
    return Roster(members, groups)


def _of_user(user: WatchedUser, common: timedelta | str) -> Member:
    return Member(dict(user.labels), *_terms(user, common), None)


def _terms(terms: Terms, common: timedelta | str) -> tuple[float, float | None]:
    """Weight and promise."""
    promise = common if terms.max_staleness is None else terms.max_staleness
    return terms.weight, promise.total_seconds() if isinstance(promise, timedelta) else None


def _uids(cohort: Cohort, listed: Uids, found: Uids) -> Iterable[UserId]:
    if cohort.users is not None:
        return map(UserId, cohort.users)
    return (listed if cohort.file is not None else found).get(cohort.name, ())
