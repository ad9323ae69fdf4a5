"""What is said in logs: never a secret, never a forged line."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from hypothesis import assume, given
from hypothesis import strategies as st

from monitor import logs
from rules.model import Party

SECRET = "zq7-S3cr3t/with+odd=chars&more"


@contextmanager
def recording(form: str, *secrets: str, level: str = "debug") -> Iterator[io.StringIO]:
    """Logging set up as in production, on a stream of ours, and put back afterwards."""
    root = logging.getLogger()
    before = (root.handlers, root.level, structlog.get_config())
    stream = io.StringIO()
    try:
        logs.configure(format=form, level=level, redactor=logs.Redactor(secrets), stream=stream)
        yield stream
    finally:
        logging.captureWarnings(capture=False)
        root.handlers, root.level = before[0], before[1]
        structlog.configure(**before[2])


def said(form: str, *secrets: str, event: str = "area.happened", **facts: Any) -> str:
    with recording(form, *secrets) as stream:
        logs.get("test").info(event, **facts)
    return stream.getvalue()


# --- properties -------------------------------------------------------------------------------------

TEXT = st.text(max_size=30)
WITH_SECRET = st.tuples(TEXT, TEXT).map(SECRET.join)
FORMS = st.sampled_from(["json", "console"])


def planted(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values that somewhere hold a leaf: as text, key, bytes, exception, in lists and mappings."""
    forms = leaf | leaf.map(str.encode) | leaf.map(ValueError) | leaf.map(lambda text: {text: 1})
    return st.recursive(
        forms,
        lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(TEXT, inner, min_size=1),
    )


@given(form=FORMS, value=planted(WITH_SECRET), event=WITH_SECRET)
def test_a_known_secret_never_reaches_the_output(form: str, value: Any, event: str) -> None:
    output = said(form, SECRET, event=event, value=value, more={"deep": [value]})
    assert SECRET not in output
    assert "zq7" not in output


@given(form=FORMS, value=planted(TEXT), event=TEXT, key=TEXT)
def test_an_event_is_one_line(form: str, value: Any, event: str, key: str) -> None:
    assume(key not in {"event", "self", "exc_info", "stack_info", "exception", "level", "timestamp"})
    output = said(form, event=event, value=value, **{key: value})
    assert output.endswith("\n")
    assert len(output.splitlines()) == 1
    assert not set(output[:-1]) & {chr(code) for code in (*range(32), 127, *range(128, 160), 0x2028, 0x202E)}


@given(value=planted(TEXT), event=TEXT)
def test_json_lines_are_json(value: Any, event: str) -> None:
    line = json.loads(said("json", event=event, value=value))
    assert line["level"] == "info"
    assert set(line) >= {"timestamp", "event", "part", "value"}


@given(st.text(min_size=logs.MIN_SECRET, max_size=40))
def test_any_secret_is_redacted_wherever_libraries_quote_it(secret: str) -> None:
    assume(secret not in logs.REDACTED)
    redactor = logs.Redactor([secret])
    for quoted in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]):
        assert redactor.known(f"<{quoted}>") == f"<{logs.REDACTED}>"


# --- by key and by shape ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [
        {"text": "hush"},
        {"caption": "hush"},
        {"api_key": "hush"},
        {"Authorization": "hush"},
        {"headers": {"apikey": "hush"}},
        {"call": {"wsChannel": {"identity": "i", "secret": "hush", "service": "s"}}},
        {"url": "https://hooks.slack.com/services/T0/B0/hush"},
        {"url": "https://data-us.cometchat.io/a/media/x.png?Expires=1&Signature=hush&Key-Pair-Id=k"},
        {"url": "https://files-us.cometchat.io/a/media/x.png?fat=hush"},
        {"url": "https://user:hush@example.net/"},
        {"error": 'bad row {"text": "hush \\" hush", "id": 1}'},
        {"error": "Message(id=1, text='hush \\' hush')"},
        {"error": "{'secret': 'hush'}"},
        {"error": "sent headers apikey: hush"},
        {"error": "Authorization: Bearer hush"},
        {"error": ValueError("whsec_hush")},
        {"value": Party(id="hush")},
        {"value": object()},
    ],
)
@pytest.mark.parametrize("form", ["json", "console"])
def test_secrets_are_known_by_key_and_by_shape(form: str, facts: dict[str, Any]) -> None:
    assert "hush" not in said(form, **facts)


def test_what_is_harmless_stays_readable() -> None:
    line = json.loads(
        said(
            "json",
            uid="superhero2",
            count=3,
            ratio=0.5,
            seen=None,
            ok=True,
            key="call:1",
            url="https://a.example/b?id=1",
        )
    )
    facts = {key: line[key] for key in ("uid", "count", "ratio", "seen", "ok", "key", "url")}
    assert facts == {
        "uid": "superhero2", "count": 3, "ratio": 0.5, "seen": None, "ok": True, "key": "call:1",
        "url": "https://a.example/b?id=1",
    }  # fmt: skip


def test_long_texts_are_cut() -> None:
    assert len(said("json", value="x" * 100_000)) < 2 * logs.MAX_TEXT


# --- exceptions and libraries -----------------------------------------------------------------------


def _fail(text: str) -> None:
    raise ValueError(text)


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_tells_no_secret_and_forges_no_line(form: str) -> None:
    with recording(form, SECRET) as stream:
        try:
            _fail(f"{SECRET}\n2026-11-22 [error] forged\x1b[31m\r\u2028forged")
        except ValueError:
            logs.get("test").exception("area.failed")
    first, *rest = stream.getvalue().splitlines()
    assert "area.failed" in first
    assert SECRET not in stream.getvalue()
    assert "ValueError" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    assert all(line.startswith("    | ") for line in rest)
    assert bool(rest) == (form == "console")


@pytest.mark.parametrize("form", ["json", "console"])
def test_libraries_log_through_the_same_door(form: str) -> None:
    with recording(form, SECRET) as stream:
        logging.getLogger("hypercorn.error").error("GET /%s\nforged", SECRET)
        logging.getLogger("httpx").info("HTTP Request: GET https://x.api-us.cometchat.io/v3/users")
        logging.getLogger("another").info("said %s", "something")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert SECRET not in stream.getvalue()
    assert "said something" in lines[1]


def test_the_level_is_the_least_that_is_shown() -> None:
    with recording("json", level="warning") as stream:
        logs.get("test").info("area.detail")
        logging.getLogger("another").info("detail")
        logs.get("test").warning("area.matter")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["area.matter"]


def test_auto_is_json_where_there_is_no_terminal() -> None:
    assert json.loads(said("auto"))["event"] == "area.happened"


def test_secrets_learnt_later_are_kept_too() -> None:
    redactor = logs.Redactor(["first-key"])
    redactor.learn("second-key")
    assert redactor.text("first-key second-key third-key") == f"{logs.REDACTED} {logs.REDACTED} third-key"


def test_an_exception_whose_text_fails_is_logged_all_the_same() -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert json.loads(said("json", error=BrokenError()))["error"] == (
        "BrokenError: (its text failed with RuntimeError)"
    )
