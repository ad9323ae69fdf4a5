"""`notify` and `render`: samples over the real sinks, to receivers on loopback and to none at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from monitor.samples import Sample
from tests.cli.conftest import Desk

SETTINGS = """\
api: {{app_id: "275211", region: us, api_key: sesame-sesame}}
watch: {{users: [superhero3]}}
store: {{url: "sqlite:///{folder}/store.db"}}
alerts: {{link: "https://support.example/{{conversation_id}}"}}
receivers:
  - {{name: screen, console: {{}}}}
  - {{name: hook, webhook: {{url: "{url}/geheim-path", secret: {secret}, headers: {{X-Key: geheim-key}}}}}}
  - {{name: chat, slack: {{webhook_url: "{url}/geheim-slack"}}, text: preview}}
  - {{name: gone, webhook: {{url_file: nowhere.txt}}}}
"""
SECRET = "whsec_Z2VoZWltZ2VoZWltZ2VoZWltZ2VoZWltZ2VoZWlt"
ALL_OF_THEM = """\
  - {name: bot, slack: {token_file: gone, channel: C123}}
  - {name: signed, webhook: {url_file: gone, secret_file: gone, headers: {X-Key: geheim-key}}}
  - {name: events, webhook: {url_file: gone, format: cloudevents-binary}}
  - {name: cluster, alertmanager: {urls: ["http://am-0:9093", "http://am-1:9093"], token_file: gone}}
  - {name: pager, pagerduty: {routing_key_file: gone}}
  - {name: jira, jsm: {api_key_file: gone}}
  - {name: teams, teams: {webhook_url_file: gone}}
  - {name: disc, discord: {webhook_url_file: gone}}
  - {name: tele, telegram: {token_file: gone, chat_id: "-100"}}
  - {name: mail, apprise: {urls_file: gone}}
"""


@dataclass
class Inbox:
    """A receiver on loopback. `status` is what it answers."""

    url: str = ""
    status: int = 200
    bodies: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(made.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def desk(tmp_path: Path, inbox: Inbox) -> Desk:
    made = Desk(tmp_path)
    made.config.write_text(SETTINGS.format(folder=tmp_path, url=inbox.url, secret=SECRET), "utf-8")
    return made


# --- notify -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", [one for one in Sample if one is not Sample.SUMMARY])
def test_a_sample_goes_the_real_road_and_says_what_it_is(desk: Desk, inbox: Inbox, what: Sample) -> None:
    result = desk("notify", "hook", "--sample", what)
    (body,) = inbox.bodies
    assert result.exit_code == 0
    assert result.stdout.startswith("hook (webhook): the sample was accepted\n  notification ")
    assert body["data"]["notification_id"] in result.stdout
    assert body["data"]["sample"] is True
    assert len(body["data"]["alerts"]) == (3 if what is Sample.GROUP else 1)
    for alert in body["data"]["alerts"]:
        assert alert["labels"] == {"sample": "true"}
        assert "nothing happened" in alert["summary"]
        assert alert["link"] == "https://support.example/superhero2_user_superhero3"
        assert alert["messages"][0]["text"] is None
    assert not (desk.folder / "store.db").exists()


@pytest.mark.parametrize("what", list(Sample))
def test_people_are_told_that_it_is_a_sample(desk: Desk, inbox: Inbox, what: Sample) -> None:
    assert desk("notify", "chat", "--sample", what).exit_code == 0
    (body,) = inbox.bodies
    assert "SAMPLE" in body["text"]
    assert "nothing happened" in json.dumps(body["blocks"])


def test_every_sample_is_another_alert(desk: Desk, inbox: Inbox) -> None:
    """Or a receiver that knows ids would say that it has this one already, and show nothing."""
    for _ in range(2):
        desk("notify", "hook")
    first, second = inbox.bodies
    assert first["data"]["notification_id"] != second["data"]["notification_id"]
    assert first["data"]["alerts"][0]["id"] != second["data"]["alerts"][0]["id"]


def test_its_end_follows(desk: Desk, inbox: Inbox) -> None:
    told = desk.json("notify", "hook", "--resolve")
    begun, ended = inbox.bodies
    assert [one["outcome"] for one in told["sent"]] == ["accepted", "accepted"]
    assert [one["status"] for one in told["sent"]] == ["firing", "resolved"]
    assert (begun["type"], ended["type"]) == ("alerts.firing", "alerts.resolved")
    assert begun["data"]["alerts"][0]["id"] == ended["data"]["alerts"][0]["id"]
    assert ended["data"]["alerts"][0]["resolution"] == "the sample is over"


@pytest.mark.parametrize(("status", "outcome"), [(500, "not accepted"), (410, "refused")])
def test_a_receiver_that_does_not_take_it_is_a_failure(
    desk: Desk, inbox: Inbox, status: int, outcome: str
) -> None:
    inbox.status = status
    result = desk("notify", "hook", "--resolve")
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"hook (webhook): the sample was {outcome}: the receiver answered {status}" in result.stderr
    assert len(inbox.bodies) == 1  # no end of what was not told
    assert "geheim" not in result.output
    result = desk("notify", "hook", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["sent"][0]["outcome"] == outcome


def test_a_secret_that_is_not_there_is_told(desk: Desk) -> None:
    result = desk("notify", "gone")
    assert result.exit_code == 1
    assert "gone (webhook): the sample was not accepted: url_file: can't read" in result.stderr


def test_the_console_shows_it(desk: Desk) -> None:
    result = desk("notify", "screen", "--sample", "attachment")
    assert result.exit_code == 0
    assert "Attachment from Captain America" in result.stdout
    told = desk("notify", "screen", "--json")
    assert json.loads(told.stdout)["sent"][0]["outcome"] == "accepted"
    assert "Missed audio call" in told.stderr


def test_a_machine_gets_no_summaries(desk: Desk, inbox: Inbox) -> None:
    (line,) = desk.refused("notify", "hook", "--sample", "summary", code=2)
    assert line.startswith("cometwatch: hook is a machine: it gets every alert")
    assert inbox.bodies == []


def test_a_receiver_that_is_not_there_names_the_nearest(desk: Desk) -> None:
    (line,) = desk.refused("notify", "hok", code=2)
    assert line == 'cometwatch: there is no receiver "hok" (did you mean "hook"?)'
    (line,) = desk.refused("notify", "zzz", code=2)
    assert line.endswith("(there are: screen, hook, chat, gone)")
    assert "'nothing' is not one of" in desk.wrong_use("notify", "hook", "--sample", "nothing")


# --- render -----------------------------------------------------------------------------------------


def test_what_is_rendered_is_what_is_sent(desk: Desk, inbox: Inbox) -> None:
    told = desk.json("render", "missed-call", "--receiver", "hook")
    (request,) = told["receivers"][0]["requests"]
    assert inbox.bodies == []  # nothing is sent
    assert (request["method"], request["url"]) == ("POST", "https://receiver.example/hook")
    assert request["headers"]["webhook-id"] == request["body"]["data"]["notification_id"]
    (alert,) = request["body"]["data"]["alerts"]
    assert alert["title"] == "Missed audio call: Captain America (superhero2) to Spiderman (superhero3)"
    assert alert["id"] == told["alert"]
    assert alert["link"] == "https://support.example/superhero2_user_superhero3"
    desk("notify", "hook")
    assert inbox.bodies[0].keys() == request["body"].keys()
    assert inbox.bodies[0]["data"].keys() == request["body"]["data"].keys()


def test_all_receivers_are_rendered_and_no_secret_is(desk: Desk) -> None:
    with desk.config.open("a", encoding="utf-8") as config:
        config.write(ALL_OF_THEM)
    told = desk.json("render", "attachment")
    by_name = {one["receiver"]: one for one in told["receivers"]}
    assert len(by_name) == 14
    for name, one in by_name.items():
        assert one["failure"] is None, name
        assert one["requests"] or one["text"], name
    assert len(by_name["cluster"]["requests"]) == 2
    assert by_name["bot"]["requests"][0]["body"]["channel"] == "C123"
    assert "blocks" in by_name["chat"]["requests"][0]["body"]
    assert "Attachment from Captain America" in by_name["mail"]["text"]
    assert "geheim" not in json.dumps(told)
    assert SECRET not in json.dumps(told)


def test_text_leaves_only_where_it_may(desk: Desk) -> None:
    told = {one["receiver"]: json.dumps(one) for one in desk.json("render", "attachment")["receivers"]}
    assert "Have a look at this photo." in told["chat"]
    assert "Have a look" not in told["hook"]


def test_for_people_it_is_text(desk: Desk) -> None:
    shown = desk("render", "attachment", "--receiver", "chat", "--receiver", "screen").stdout
    first, second = shown.split("--- ")[1:]
    assert first.startswith("chat (slack)\n\nPOST https://receiver.example/hook\n")
    assert '"type": "header"' in first
    assert second.startswith("screen (console)\n\n")
    assert "INFO  Attachment from" in second


def test_the_same_is_rendered_each_time(desk: Desk) -> None:
    assert desk("render", "mention").stdout == desk("render", "mention").stdout


def test_every_rule_of_the_packs_renders(desk: Desk) -> None:
    with desk.config.open("a", encoding="utf-8") as config:
        config.write(
            "rules: {packs: [missed-calls, attachments, mentions, edits, first-contact, floods, keywords, "
            "quiet-agent, unanswered]}\n"
        )
    rules = json.loads(desk("rules", "list", "--json").stdout)["rules"]
    assert len(rules) > 10
    for rule in rules:
        (told,) = desk.json("render", rule["name"], "--receiver", "hook")["receivers"]
        assert told["failure"] is None
        assert told["requests"][0]["body"]["data"]["alerts"][0]["title"]


def test_its_end_is_rendered(desk: Desk) -> None:
    (told,) = desk.json("render", "missed-call", "--receiver", "hook", "--resolved")["receivers"]
    assert told["requests"][0]["body"]["type"] == "alerts.resolved"


def test_a_recorded_message_is_rendered(desk: Desk) -> None:
    recorded = str(Path(__file__).parents[1] / "data" / "list-user-messages.json")
    (told,) = desk.json("render", "missed-call", "--receiver", "hook", "--message", recorded)["receivers"]
    (alert,) = told["requests"][0]["body"]["data"]["alerts"]
    assert alert["event_at"] == "2022-03-11T10:38:17Z"
    (line,) = desk.refused("render", "mention", "--message", recorded, code=2)
    assert line.startswith("cometwatch: the rule mention finds nothing in ")


def test_a_rule_that_is_not_there_names_the_nearest(desk: Desk) -> None:
    (line,) = desk.refused("render", "missed-cal", code=2)
    assert 'did you mean "missed-call"?' in line
    assert len(desk.refused("render", "mention", "--receiver", "zzz", code=2)) == 1
