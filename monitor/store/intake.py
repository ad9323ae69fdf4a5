"""The commit: it ties the place in a list to what the rules made of the rows up to there."""

from __future__ import annotations

import msgspec
from sqlalchemy import insert

from .findings import Findings
from .part import Row
from .tables import rejects
from .users import Users
from .values import Commit, Committed, Reject

ADD_REJECT = insert(rejects)


class Intake(Users, Findings):
    """What polls and ticks read and write."""

    def commit(self, commit: Commit) -> Committed:
        """Apply all of `commit` or nothing.

        Raises Conflict, before anything is written, if the cursor or a state version moved: read again, redo.
        """
        if commit.cursor is not None and (commit.uid is None or commit.expected is None):
            raise ValueError("a commit that moves a cursor names its user and the cursor that it expects")
        self._guard_states(commit.states)
        self._move_user(commit)
        self._write_states(commit.states)
        self._write_timers(commit.cancelled, commit.timers)
        self._run_each(ADD_REJECT, [_reject_row(reject) for reject in commit.rejects])
        self._tally(msgspec.structs.asdict(commit.counts))
        fresh = self._add_findings(commit.findings)
        self._add_reasons(commit, fresh)
        return Committed(fresh=fresh, known=len(commit.findings) - len(fresh))


def _reject_row(reject: Reject) -> Row:
    return {
        "uid": reject.uid,
        "message_id": reject.message_id,
        "reason": reject.reason,
        "structure": reject.structure,
        "at": reject.at,
    }
