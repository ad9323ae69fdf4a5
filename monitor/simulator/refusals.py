"""The errors CometChat answers, in its own words where a recorded body is known.

Recorded: ERR_UID_NOT_FOUND, AUTH_ERR_NO_ACCESS, ERR_BAD_REQUEST, AUTH_ERR_APIKEY_NOT_FOUND and the texts of
ERR_TOO_MANY_REQUESTS. The other codes are documented; their wording and HTTP status are our guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Refusal(Exception):  # noqa: N818  (CometChat's answer to the client, not a fault of ours)
    """An answer other than success; `body()` is the JSON that goes out."""

    def __init__(
        self,
        *,
        status: int,
        code: str,
        message: str,
        dev_message: str | None = None,
        details: Mapping[str, list[str]] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.dev_message = dev_message or message
        self.details = details

    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {
            "message": self.message,
            "devMessage": self.dev_message,
            "source": "chat-api",
        }
        if self.details is not None:
            error["details"] = dict(self.details)
        error["code"] = self.code
        return {"error": error}


def unknown_user(uid: str) -> Refusal:
    return Refusal(
        status=404,
        code="ERR_UID_NOT_FOUND",
        message=f"The UID {uid} does not exist, please make sure you have created a user with UID {uid}.",
        dev_message=f"The UID {uid} does not exist, "
        f"so please make sure you have created a user with UID {uid}.",
    )


def unknown_group(guid: str) -> Refusal:
    return Refusal(
        status=404,
        code="ERR_GUID_NOT_FOUND",
        message=f"The group with GUID {guid} does not exist. Please use correct GUID.",
    )


def unknown_message(message_id: str) -> Refusal:
    return Refusal(
        status=404,
        code="ERR_MESSAGE_ID_NOT_FOUND",
        message=f"The message with id {message_id} does not exist.",
    )


def empty_key() -> Refusal:
    return Refusal(
        status=401, code="AUTH_ERR_EMPTY_APIKEY", message="The apikey header is missing from the request."
    )


def unknown_key(key: str) -> Refusal:
    return Refusal(
        status=401,
        code="AUTH_ERR_APIKEY_NOT_FOUND",
        message=f"The key {key} does not exist. Please use correct apiKey.",
        dev_message=f"The {key} key doesn't work. Please use correct apiKey.",
    )


def no_access(key: str) -> Refusal:
    return Refusal(
        status=403,
        code="AUTH_ERR_NO_ACCESS",
        message=f"The key {key} cannot be used to perform this operation. "
        "Please use API key with a correct scope to perform the operation.",
        dev_message=f"The {key} key does not have enough clearance. "
        "To perform the operation, please use the API key with the correct scope.",
    )


def unknown_token(token: str) -> Refusal:
    return Refusal(
        status=401,
        code="AUTH_ERR_AUTH_TOKEN_NOT_FOUND",
        message=f"The auth token {token} does not exist. Please make sure you are logged in and have a "
        "valid auth token or try login again.",
    )


def bad_request(**details: str) -> Refusal:
    """A 400 that names each bad field: `bad_request(uid="The uid field is required.")`."""
    return Refusal(
        status=400,
        code="ERR_BAD_REQUEST",
        message="Failed to validate the data sent with the request.",
        details={field: [text] for field, text in details.items()},
    )


def taken(field: str, value: str) -> Refusal:
    return Refusal(
        status=409,
        code=f"ERR_{field.upper()}_ALREADY_EXISTS",
        message=f"The {field} {value} already exists, please use a different {field}.",
    )


def not_a_member(uid: str, guid: str) -> Refusal:
    return Refusal(
        status=403,
        code="ERR_GROUP_NOT_JOINED",
        message=f"The user with UID {uid} has not joined the group with GUID {guid}.",
    )


def call_refused(code: str, message: str) -> Refusal:
    status = 404 if code == "ERR_CALL_SESSION_NOT_FOUND" else 400
    return Refusal(status=status, code=code, message=message)


def unknown_path(method: str, path: str) -> Refusal:
    return Refusal(status=404, code="ERR_API_NOT_FOUND", message=f"The API {method} {path} does not exist.")


def too_many_requests() -> Refusal:
    return Refusal(
        status=429,
        code="ERR_TOO_MANY_REQUESTS",
        message="Too many requests. You have exceeded the rate limit. Please retry after the specified time.",
    )


def server_failed() -> Refusal:
    return Refusal(
        status=500,
        code="ERR_EXCEPTION",
        message="Something went wrong. Please try again.",
    )
