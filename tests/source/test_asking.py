"""The commands `messages` and `doctor`, from words on a command line to bytes on a socket and back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from monitor.cli import app
from tests.source.rows import SAMPLE, a_body, a_row
from tests.source.serving import KEY
from tests.source.test_answers import an_error


class Api(ThreadingHTTPServer):
    """A real server on loopback that answers every path with one body."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Talk)
        self.body = SAMPLE.read_bytes()
        self.status = 200
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v3"


class Talk(BaseHTTPRequestHandler):
    server: Api
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Quiet."""


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(*words: str, **env: str | None) -> Result:
    variables = {"COMETWATCH_CONFIG": None, "COMETWATCH_API__API_KEY": KEY, "COLUMNS": "300", **env}
    return CliRunner().invoke(app, words, env=variables, prog_name="cometwatch")


def test_messages_are_a_table_for_people(api: Api) -> None:
    shown = run("messages", "superhero2", "--base-url", api.url)
    assert shown.exit_code == 0, shown.output
    assert "Captain America (superhero2) called Spiderman (superhero3)" in shown.stdout
    assert "call/audio initiated" in shown.stdout
    assert "2022-03-11 10:38:17Z" in shown.stdout
    assert "messages superhero2 --affix prepend --id 1776" in shown.stderr
    path, headers = api.asked[0]
    assert path == "/v3/users/superhero2/messages?affix=prepend&perPage=20&limit=20"
    assert headers["apikey"] == KEY


def test_messages_are_lines_of_json_for_machines(api: Api) -> None:
    shown = run("messages", "superhero2", "--base-url", api.url, "--json")
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [row["id"] for row in rows] == [1776, 1777]
    assert rows[0]["call"]["caller"]["id"] == "superhero2"
    assert "secret" not in shown.stdout


OPTIONS = [
    ("--search-key=hello", "searchKey=hello"),
    ("--has-attachments", "hasAttachments=1"),
    ("--attachment-types=image,video", "attachmentTypes=image%2Cvideo"),
    ("--has-mentions", "hasMentions=1"),
    ("--no-has-links", "hasLinks=0"),
    ("--mentioned-uids=a,b", "mentionedUids=a%2Cb"),
    ("--unread", "unread=1"),
    ("--undelivered", "undelivered=1"),
    ("--hide-replies", "hideReplies=1"),
    ("--affix=append", "affix=append"),
    ("--id=1776", "id=1776"),
    ("--category=call", "category=call"),
    ("--categories=call,message", "categories=call%2Cmessage"),
    ("--type=audio", "type=audio"),
    ("--types=audio, video", "types=audio%2Cvideo"),
    ("--my-mentions-only", "myMentionsOnly=1"),
    ("--has-reactions", "hasReactions=1"),
    ("--sender=superhero3", "sender=superhero3"),
    ("--mentions-with-blocked-info", "mentionsWithBlockedInfo=1"),
    ("--mentions-with-tag-info", "mentionsWithTagInfo=1&mentionswithTagInfo=1"),
    ("--per-page=7", "perPage=7"),
    ("--limit=7", "limit=7"),
    ("--from-timestamp=2022-03-11T10:45:12Z", "fromTimestamp=1646995512"),
    ("--to-timestamp=1646995512", "toTimestamp=1646995512"),
    ("--with-tags", "withTags=1"),
    ("--tags=vip,late", "tags=vip%2Clate"),
]


@pytest.mark.parametrize(("option", "query"), OPTIONS)
def test_every_filter_is_an_option(api: Api, option: str, query: str) -> None:
    shown = run("messages", "superhero2", "--base-url", api.url, option)
    assert shown.exit_code == 0, shown.output
    sent = api.asked[0][0].partition("?")[2].split("&")
    assert set(query.split("&")) <= set(sent)


def test_acting_users_and_the_general_list(api: Api) -> None:
    run("messages", "superhero2", "--base-url", api.url, "--on-behalf-of", "superhero3")
    run("messages", "superhero2", "--base-url", api.url, "--source", "user-all")
    (first, its), (second, theirs) = api.asked
    assert first.startswith("/v3/users/superhero2/messages?")
    assert its["onbehalfof"] == "superhero3"
    assert second.startswith("/v3/messages?")
    assert theirs["onbehalfof"] == "superhero2"


def test_counts_are_numbers_for_each_peer(api: Api) -> None:
    api.body = (
        b'{"data":[{"entityType":"user","entityId":"superhero3","entity":{"name":"Spider"},"count":4}]}'
    )
    shown = run("messages", "superhero2", "--base-url", api.url, "--count", "--unread")
    assert shown.exit_code == 0, shown.output
    assert "4" in shown.stdout
    assert "Spider" in shown.stdout
    assert "unread=1&count=1" in api.asked[0][0]
    lines = run("messages", "superhero2", "--base-url", api.url, "--count", "--json").stdout
    assert json.loads(lines)["count"] == 4


def test_a_uid_is_asked_for_in_lower_case_and_that_is_said(api: Api) -> None:
    shown = run("messages", "Superhero2", "--base-url", api.url)
    assert "lower case" in shown.stderr
    assert "/users/superhero2/" in api.asked[0][0]


def test_a_row_that_can_not_be_read_is_said_and_the_others_shown(api: Api) -> None:
    api.body = a_body(a_row(id="5", sentAt="secret words"), a_row({"text": "shown"}, id="6"))
    shown = run("messages", "bob", "--base-url", api.url)
    assert "row 5 can't be read: sentAt: expected unix seconds, found string(12)" in shown.stderr
    assert "shown" in shown.stdout
    assert "secret" not in shown.output


def test_hostile_text_can_not_paint_the_terminal(api: Api) -> None:
    api.body = a_body(a_row({"text": "a\x1b[2Jb\r\nc [bold]d[/bold] \u202e"}))
    shown = run("messages", "bob", "--base-url", api.url)
    assert shown.exit_code == 0
    assert not {"\x1b", "\r", "\u202e"} & set(shown.stdout)
    assert "[bold]d[/bold]" in shown.stdout
    assert len(shown.stdout.splitlines()) == 2


def test_files_are_named_without_their_links(api: Api) -> None:
    file = {"name": "a.png", "size": 5, "url": "https://files.test/a.png?fat=signed"}
    api.body = a_body(a_row({"attachments": [file], "text": "<@uid:bob>"}, type="image", tags=["vip"]))
    shown = run("messages", "bob", "--base-url", api.url).stdout
    assert "[file a.png, 5 bytes] [mentions bob] [tags vip]" in shown
    assert "signed" not in shown


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "AUTH_ERR_APIKEY_NOT_FOUND", "API key"),
        (404, "ERR_UID_NOT_FOUND", "no such user"),
        (500, None, "failed"),
    ],
)
def test_a_failure_is_one_line_and_exit_1(api: Api, status: int, code: str | None, said: str) -> None:
    api.status, api.body = status, an_error(code)
    shown = run("messages", "superhero2", "--base-url", api.url)
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert len(shown.stderr.splitlines()) == 1
    assert said in shown.stderr
    assert KEY not in shown.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("messages", "x"), "--base-url"),
        (("messages", "x", "--base-url", "nonsense"), "base_url"),
        (("messages", "x", "--base-url", "http://127.0.0.1:1/v3", "--id", "abc"), "1776"),
        (("messages", "x", "--base-url", "http://127.0.0.1:1/v3", "--from-timestamp", "noon"), "2026-11-22"),
        (("messages", "x", "--base-url", "http://127.0.0.1:1/v3", "--types", ","), "audio,video"),
        (("messages", "x", "--base-url", "http://127.0.0.1:1/v3", "--limit", "1001"), "1000"),
        (
            ("messages", "x", "--base-url", "http://a/v3", "--source", "user-all", "--on-behalf-of", "y"),
            "--on-behalf-of",
        ),
        (("messages", "@app", "--base-url", "http://a/v3", "--on-behalf-of", "y"), "--on-behalf-of"),
        (("messages", "@everyone", "--base-url", "http://a/v3"), "@group:GUID"),
    ],
)
def test_wrong_use_is_exit_2_with_the_right_form(words: tuple[str, ...], said: str) -> None:
    shown = run(*words)
    assert shown.exit_code == 2
    assert said in " ".join(shown.stderr.split())


def test_the_key_may_come_from_a_file(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "apikey"
    file.write_text("another-key\n")
    shown = run(
        "messages", "x", "--base-url", api.url, "--api-key-file", str(file), COMETWATCH_API__API_KEY=None
    )
    assert shown.exit_code == 0, shown.output
    assert api.asked[0][1]["apikey"] == "another-key"


def test_a_missing_key_file_is_said(api: Api, tmp_path: Path) -> None:
    file = str(tmp_path / "none")
    shown = run("messages", "x", "--base-url", api.url, "--api-key-file", file, COMETWATCH_API__API_KEY=None)
    assert shown.exit_code == 1
    assert "No such file" in shown.stderr


def test_a_settings_file_says_where_to_ask_and_which_list(api: Api, tmp_path: Path) -> None:
    config = tmp_path / "cometwatch.yaml"
    config.write_text(
        f"api: {{base_url: '{api.url}'}}\nwatch: {{users: [superhero2], source: user-all}}\n"
        "receivers: [{name: here, console: {}}]\n"
    )
    shown = run("messages", "superhero2", "--config", str(config))
    assert shown.exit_code == 0, shown.output
    assert api.asked[0][0].startswith("/v3/messages?")


@pytest.mark.parametrize(
    ("asked", "path"),
    [("@app", "/v3/messages?"), ("@group:Hiking 1", "/v3/groups/Hiking%201/messages?")],
)
def test_lists_of_nobody_can_be_read_too(api: Api, asked: str, path: str) -> None:
    shown = run("messages", asked, "--base-url", api.url)
    assert shown.exit_code == 0, shown.output
    assert api.asked[0][0].startswith(path)
    assert "onbehalfof" not in api.asked[0][1]
    assert f"cometwatch messages {asked}" in shown.stderr


@pytest.mark.parametrize("source", ["app", "groups"])
def test_a_users_own_list_is_shown_whatever_is_watched(api: Api, tmp_path: Path, source: str) -> None:
    config = tmp_path / "cometwatch.yaml"
    config.write_text(
        f"api: {{base_url: '{api.url}'}}\nwatch: {{users: [superhero2], groups: [x], source: {source}}}\n"
        "receivers: [{name: here, console: {}}]\n"
    )
    shown = run("messages", "superhero2", "--config", str(config))
    assert shown.exit_code == 0, shown.output
    assert api.asked[0][0].startswith("/v3/users/superhero2/messages?")


def test_the_doctor_speaks_to_people(api: Api) -> None:
    shown = run("doctor", "--user", "superhero2", "--base-url", api.url)
    assert shown.exit_code == 0, shown.output
    assert "What may the key do? fullAccess" in shown.stdout
    assert "Which watch.source fits?" in shown.stdout
    assert len(api.asked) <= 25


def test_the_doctor_speaks_to_machines_without_naming_anybody(api: Api) -> None:
    shown = run("doctor", "--user", "superhero2", "--base-url", api.url, "--json")
    report = json.loads(shown.stdout)
    assert report["requests"] == len(api.asked)
    assert {"name", "question", "answer", "meaning", "evidence"} == set(report["facts"][0])
    assert not [word for word in ("superhero", KEY, "127.0.0.1", "Spiderman") if word in shown.stdout]


def test_a_doctor_that_could_not_ask_is_exit_1(api: Api) -> None:
    api.status, api.body = 401, an_error("AUTH_ERR_APIKEY_NOT_FOUND")
    shown = run("doctor", "--user", "superhero2", "--base-url", api.url)
    assert shown.exit_code == 1
    assert "Stopped early, what was not asked is unknown: " in shown.stderr
