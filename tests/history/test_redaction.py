"""What people wrote stays out; who, when and what kind stays in."""

from __future__ import annotations

import msgspec

from monitor.history.redaction import redacted
from rules.model import Attachment, MessageId, Party
from tests.rules.builders import NOON, a_call, a_message

SECRET = "sesame"


def test_nothing_that_was_written_is_left() -> None:
    told = a_message(
        text=f"the word is {SECRET}",
        sender=Party(id="ann", name=SECRET, role="agent"),
        receiver=Party(id="bob", name=SECRET),
        subject=Party(id="eve", name=SECRET),
        attachments=(
            Attachment(
                name=f"{SECRET}.pdf", extension="pdf", mime_type="application/pdf", size=7, url=SECRET
            ),
        ),
        metadata={"order": {"number": SECRET, "lines": [SECRET]}, "is_paid": True},
        custom={"note": SECRET},
    )
    kept = redacted(told)
    assert SECRET not in msgspec.json.encode(kept).decode()
    assert kept.metadata == {"order": {"number": None, "lines": []}, "is_paid": None}
    assert kept.custom == {"note": None}
    assert kept.attachments == (Attachment(extension="pdf", mime_type="application/pdf", size=7),)
    assert kept.sender == Party(id="ann", role="agent")
    assert kept.subject == Party(id="eve")


def test_what_rules_count_by_is_left() -> None:
    told = a_message(
        tags=("vip",), mentions=("bob",), parent_id=MessageId(7), edited_at=NOON, edited_by="ann"
    )
    kept = redacted(told)
    for field in ("id", "sent_at", "tags", "mentions", "parent_id", "edited_at", "edited_by", "type"):
        assert getattr(kept, field) == getattr(told, field)


def test_calls_lose_their_names_alone() -> None:
    kept = redacted(a_call("unanswered", session="s7"))
    assert kept.call is not None
    assert (kept.call.session_id, kept.call.status) == ("s7", "unanswered")
    assert (kept.call.caller, kept.call.callee) == (
        Party(id="ann", role="agent"),
        Party(id="bob", role="customer"),
    )
