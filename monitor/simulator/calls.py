"""The life of a call: which status may follow which, and the entity that each of its rows carries.

Every change of status is a message of its own with the same session id; its sender is whoever caused the
change, while the entity keeps naming the caller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from monitor.simulator.refusals import Refusal, call_refused

STATUSES: Final = ("initiated", "ongoing", "unanswered", "rejected", "busy", "cancelled", "ended")
TERMINAL: Final = frozenset({"unanswered", "rejected", "busy", "cancelled", "ended"})
BY_CALLER: Final = frozenset({"initiated", "cancelled", "unanswered"})


@dataclass(slots=True, kw_only=True)
class Call:
    session_id: str
    type: str
    caller: str
    receiver: str
    receiver_type: str
    conversation_id: str
    initiated_at: int
    secret: str
    service: str
    metadata: dict[str, Any] | None = None
    status: str = "initiated"
    started_at: int | None = None
    ended_at: int | None = None
    joined_at: int = 0
    joined: set[str] = field(default_factory=set)

    def entity(self, people: dict[str, Any]) -> dict[str, Any]:
        """`data.entities.on.entity`, with the recorded keys; `people` holds sender and receiver."""
        times = {"joinedAt": self.joined_at} if self.status in ("initiated", "ongoing") else {}
        return {
            "data": {"entities": people} | ({"metadata": self.metadata} if self.metadata else {}),
            "type": self.type,
            "sender": self.caller,
            "status": self.status,
            **times,
            "receiver": self.receiver,
            "sessionid": self.session_id,
            **({"startedAt": self.started_at} if self.started_at is not None else {}),
            **self._end(),
            "wsChannel": {
                "secret": self.secret,
                "service": f"{self.service}.call",
                "identity": f"[{self.service}]{self.session_id}",
            },
            "initiatedAt": self.initiated_at,
            "receiverType": self.receiver_type,
            "conversationId": self.conversation_id,
        }

    def _end(self) -> dict[str, int]:
        if self.ended_at is None:
            return {}
        talk = {"duration": self.ended_at - self.started_at} if self.started_at is not None else {}
        return {"endedAt": self.ended_at, **talk}

    def default_actor(self, status: str) -> str:
        """Who changes to `status` when the request does not say: the caller, or the person called."""
        if status in BY_CALLER or self.receiver_type == "group":
            return self.caller
        return self.receiver

    def move(self, status: str, *, by: str, now: int) -> None:
        """Take the new status. Raises Refusal with the documented ERR_CALL_ code if it may not follow.

        One person's rejection does not end a group call: its row says so, the call rings on.
        """
        if refusal := self._refusal(status, by):
            raise refusal
        if status == "ongoing":
            self.joined.add(by)
            self.joined_at = now
            self.started_at = self.started_at or now
        elif status == "ended":
            self.ended_at = now
        self.status = status

    def _refusal(self, status: str, by: str) -> Refusal | None:
        is_group = self.receiver_type == "group"
        if not is_group and by not in (self.caller, self.receiver):
            return call_refused("ERR_CALL_NOT_A_PART", f"The user with UID {by} is not part of the call.")
        if self._is_over:
            return call_refused("ERR_CALL_TERMINATED", "Cannot update the status of a terminated call.")
        if status == "initiated":
            return call_refused("ERR_CALL_INVALID_INIT", "Call status cannot be updated to initiated.")
        if is_group and status == "busy":
            return call_refused("ERR_CALL_GROUP_INVALID_STATUS", "A group call cannot have the status busy.")
        if status == "ongoing" and by in self.joined:
            code = "ERR_CALL_GROUP_ALREADY_JOINED" if is_group else "ERR_CALL_USER_ALREADY_JOINED"
            return call_refused(code, f"The user with UID {by} has already joined the call.")
        if status == "ended" and self.started_at is None:
            return call_refused("ERR_CALL_NOT_STARTED", "Cannot end a call that has not started.")
        if self.started_at is not None and status in ("unanswered", "busy", "cancelled"):
            return call_refused("ERR_CALL_ONGOING_TO_INVALID", f"An ongoing call cannot become {status}.")
        if self.started_at is not None and status == "rejected" and not is_group:
            return call_refused("ERR_CALL_ONGOING_TO_INVALID", "An ongoing call cannot become rejected.")
        return None

    @property
    def _is_over(self) -> bool:
        if self.receiver_type == "group" and self.status == "rejected":
            return False
        return self.status in TERMINAL
