"""What leaves the house: text, links and metadata only as the policy says."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given

from monitor.delivery.render.disclosure import disclose
from monitor.delivery.values import PREVIEW_LENGTH, Receiver, TextPolicy
from monitor.store.values import Notification
from tests.delivery.samples import (
    MEDIA_URL,
    TEXT,
    a_notification,
    a_photo,
    a_photo_alert,
    notifications,
)


@pytest.mark.parametrize(
    ("policy", "text", "shown"),
    [
        (TextPolicy.NONE, TEXT, None),
        (TextPolicy.PREVIEW, TEXT, TEXT),
        (TextPolicy.PREVIEW, "y" * 140, "y" * 140),
        (TextPolicy.PREVIEW, "y" * 141, "y" * 139 + "…"),
        (TextPolicy.FULL, "y" * 9000, "y" * 9000),
        (TextPolicy.FULL, None, None),
    ],
)
def test_text_leaves_as_far_as_the_policy_says(
    policy: TextPolicy, text: str | None, shown: str | None
) -> None:
    alert = a_photo_alert(messages=(a_photo(text),))
    told = disclose(a_notification(alert), Receiver(name="r", text=policy))
    assert told.alerts[0].messages[0].text == shown


def test_what_a_group_told_before_is_kept_in_as_well() -> None:
    told = disclose(a_notification(others=(a_photo_alert(),)), Receiver(name="r"))
    assert TEXT not in repr(told.others)
    assert MEDIA_URL not in repr(told.others)


@pytest.mark.parametrize(("links", "url"), [(False, None), (True, MEDIA_URL)])
def test_media_links_leave_only_if_allowed(links: bool, url: str | None) -> None:
    told = disclose(a_notification(a_photo_alert()), Receiver(name="r", links=links))
    assert told.alerts[0].messages[0].attachments[0].url == url


def test_free_metadata_never_leaves() -> None:
    told = disclose(a_notification(a_photo_alert()), Receiver(name="r", text=TextPolicy.FULL, links=True))
    assert told.alerts[0].messages[0].metadata == {}


@given(notifications)
def test_by_default_no_text_and_no_media_link_is_left(notification: Notification) -> None:
    told = disclose(notification, Receiver(name="r"))
    for alert in told.alerts:
        for message in alert.messages:
            assert message.text is None
            assert all(attachment.url is None for attachment in message.attachments)
    assert msgspec.structs.replace(told, alerts=()) == msgspec.structs.replace(notification, alerts=())


@given(notifications)
def test_a_preview_is_short(notification: Notification) -> None:
    told = disclose(notification, Receiver(name="r", text=TextPolicy.PREVIEW))
    assert all(len(m.text or "") <= PREVIEW_LENGTH for a in told.alerts for m in a.messages)
