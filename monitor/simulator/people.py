"""Users and groups, and the entities that message rows carry of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from monitor.simulator.refusals import bad_request

APP_SYSTEM = "app_system"
_UID = re.compile(r"[a-z0-9_-]{1,100}")


@dataclass(slots=True, kw_only=True)
class User:
    uid: str
    name: str
    role: str = "default"
    avatar: str | None = None
    status: str = "offline"
    created_at: int = 0
    updated_at: int = 0
    metadata: dict[str, Any] | None = None
    tags: tuple[str, ...] = ()
    is_active: bool = True

    def entity(self, conversation_id: str | None = None) -> dict[str, Any]:
        """The user as rows embed it; the receiving side also names the conversation."""
        entity: dict[str, Any] = {"uid": self.uid, "name": self.name, "role": self.role}
        if self.avatar:
            entity["avatar"] = self.avatar
        entity["status"] = self.status
        if conversation_id is not None:
            entity["conversationId"] = conversation_id
        return entity

    def profile(self, *, with_tags: bool = False) -> dict[str, Any]:
        """The user as the users endpoints show it."""
        profile = self.entity() | {"createdAt": self.created_at, "updatedAt": self.updated_at}
        if self.metadata:
            profile["metadata"] = self.metadata
        if with_tags:
            profile["tags"] = list(self.tags)
        if not self.is_active:
            profile["deactivatedAt"] = self.updated_at
        return profile


@dataclass(slots=True, kw_only=True)
class Group:
    guid: str
    name: str
    type: str = "public"
    owner: str | None = None
    created_at: int = 0
    members: dict[str, str] = field(default_factory=dict)  #: uid to scope

    @property
    def conversation_id(self) -> str:
        return f"group_{self.guid}"

    def entity(self) -> dict[str, Any]:
        entity: dict[str, Any] = {
            "guid": self.guid,
            "name": self.name,
            "type": self.type,
            "membersCount": len(self.members),
            "conversationId": self.conversation_id,
            "createdAt": self.created_at,
        }
        if self.owner is not None:
            entity["owner"] = self.owner
        return entity


def conversation_of(one: str, other: str) -> str:
    """The id both directions of a one-to-one conversation share: the uids in alphabetical order."""
    first, second = sorted((one, other))
    return f"{first}_user_{second}"


def valid_uid(uid: object, *, field_name: str = "uid") -> str:
    """The uid in CometChat's lower case; refuses what its documentation does not allow."""
    if uid is None or uid == "":
        raise bad_request(**{field_name: f"The {field_name} field is required."})
    if not isinstance(uid, str) or not _UID.fullmatch(uid.lower()):
        raise bad_request(**{field_name: f"The {field_name} may only contain letters, numbers and dashes."})
    return uid.lower()
