"""What really happened, and what an operator should be told of it, in the words of who scripted it.

Nothing here is computed by a rule: a test compares what the monitor found with what the script's author
wrote down.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from monitor.simulator.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """An operator who watches one of `users` should be told."""

    rule: str  #: missed-call, attachment or mention
    users: tuple[str, ...]
    after_s: float = 0.0  #: conclusive only this long after the row shows (a ring that has no end)
    must: bool = True  #: False: telling is right and not telling is right too; `note` says why
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One message that was made, visible or not yet."""

    id: str
    visible_at: float
    sent_at: int
    users: tuple[str, ...]  #: in whose one-to-one list it stands; () for a group's message
    conversation_id: str
    receiver_type: str
    category: str
    type: str
    action: str | None
    session: str | None
    label: str | None  #: the script's name for it
    is_malformed: bool
    expect: tuple[Expect, ...] | None  #: None: not scripted, made by a request

    def shown(self) -> dict[str, Any]:
        shown = asdict(self)
        shown["expect"] = None if self.expect is None else [self._finding(one) for one in self.expect]
        return shown

    def findings(self) -> list[dict[str, Any]]:
        """What should be found because of this message; `key` is what an alert about it is keyed by."""
        return [self._finding(one) for one in self.expect or ()]

    def _finding(self, expect: Expect) -> dict[str, Any]:
        return {
            "rule": expect.rule,
            "key": self.session if expect.rule == "missed-call" else self.id,
            "message": self.id,
            "users": list(expect.users),
            "conversation_id": self.conversation_id,
            "receiver_type": self.receiver_type,
            "known_at": self.visible_at + expect.after_s,
            "must": expect.must,
            "note": expect.note,
        }


def made(
    row: Row,
    *,
    users: tuple[str, ...],
    action: str | None,
    session: str | None,
    label: str | None,
    expect: tuple[Expect, ...] | None,
) -> Made:
    return Made(
        id=str(row.id),
        visible_at=row.visible_at,
        sent_at=row.sent_at,
        users=users if row.receiver_type == "user" else (),
        conversation_id=row.conversation_id,
        receiver_type=row.receiver_type,
        category=row.category,
        type=row.type,
        action=action,
        session=session,
        label=label,
        is_malformed=row.is_malformed,
        expect=expect,
    )
