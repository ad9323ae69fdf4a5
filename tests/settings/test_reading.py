"""Settings from a file and variables: what they become, and what is said when they are wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml

from monitor.errors import ConfigError
from monitor.settings import Reader, Settings, SettingsError, known_secrets, load, redacted, schema
from monitor.settings.watch import Discover

DOCUMENTED = """\
api:      {app_id: "275211", region: us, api_key_file: /run/secrets/apikey, requests_per_minute: 250}
watch:    {users: [superhero2, {uid: superhero3, labels: {team: payments}}], start: now}
poll:     {min_interval: 2s, max_staleness: auto, page_size: 100, settle: 10s}
store:    {url: "sqlite:////var/lib/cometwatch/cometwatch.db"}
server:   {listen: "127.0.0.1:9464"}
rules:    {packs: [missed-calls, attachments, mentions], files: ["/etc/cometwatch/rules/*.yaml"]}
receivers:
  - {name: oncall, slack: {webhook_url_file: /run/secrets/slack}}
  - {name: ops-hook, webhook: {url: "https://hooks.example.net/chat", secret_file: /run/secrets/whsec}}
routes:
  - {match: {severity: [critical, warning], team: payments}, receivers: [oncall]}
  - {receivers: [ops-hook]}
log:      {format: auto, level: info}
"""
LEAST = "api: {app_id: 275211, region: us, api_key: sesame-sesame}\nwatch: {users: [superhero2]}\n"


def read(folder: Path, text: str, **env: str) -> Settings:
    config = folder / "c.yaml"
    config.write_text(text, "utf-8")
    return load(config, env)


def complaints(folder: Path, text: str, **env: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(folder, text, **env)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_the_documented_settings_mean_what_they_say(tmp_path: Path) -> None:
    settings = read(tmp_path, DOCUMENTED)

    assert settings.api.app == "275211"
    assert [(user.uid, user.labels) for user in settings.watch.users] == [
        ("superhero2", {}),
        ("superhero3", {"team": "payments"}),
    ]
    assert settings.poll.min_interval == timedelta(seconds=2)
    assert [(one.name, one.key, one.rate_per_s) for one in settings.receivers] == [
        ("oncall", "slack", 1.0),
        ("ops-hook", "webhook", 20.0),
    ]
    assert settings.routes[0].match == {"severity": ("critical", "warning"), "team": ("payments",)}
    assert settings.poll.max_staleness == "auto"
    assert settings.warnings == ()


def test_defaults_need_little(tmp_path: Path) -> None:
    settings = read(tmp_path, LEAST)

    assert settings.api.requests_per_minute == 250
    assert settings.store.url == "sqlite:////var/lib/cometwatch/cometwatch.db"
    assert settings.server.listen == "127.0.0.1:9464"
    assert settings.alert_max_age == timedelta(hours=1)
    assert settings.blind_after == timedelta(minutes=3)
    assert [one.message for one in settings.warnings] == ["no receivers: alerts are only kept in the store"]


def test_receivers_and_routes_that_nothing_leads_to_are_told(tmp_path: Path) -> None:
    text = """{LEAST}
receivers:
  - {name: ops, console: , fallback: {receiver: spare}}
  - {name: spare, console: }
  - {name: lead, console: }
  - {name: lonely, console: }
routes:
  - receivers: [ops]
    match: {team: a}
    routes: [{receivers: [ops], continue: true}, {receivers: [ops]}, {receivers: [ops]}]
  - {receivers: [ops], escalate: [{after: 15m, receivers: [lead]}]}
  - {receivers: [ops], match: {severity: critical}}
"""
    said = [str(one) for one in read(tmp_path, text.replace("{LEAST}", LEAST)).warnings]
    assert [one.partition(" warning: ")[2] for one in said] == [
        "routes[0].routes[2]: no alert gets here, as routes[0].routes[1] takes them all: put it before",
        "routes[2]: no alert gets here, as routes[1] takes them all: put it before",
        'nothing is ever sent to "lonely": no route leads there',
    ]


def test_an_alertmanager_is_named_without_the_path_of_its_api(tmp_path: Path) -> None:
    text = "receivers: [{name: am, alertmanager: {urls: ['http://am:9093/api/v2/alerts']}}]"
    (said,) = complaints(tmp_path, f"{LEAST}\n{text}")
    assert "without /api/v2/alerts, for example http://alertmanager-0:9093" in said


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        ("ca_file: nope.pem", "ca_file: can't read nope.pem: No such file or directory"),
        ("ca_file: c.yaml", "ca_file: c.yaml holds no certificates in PEM"),
        ("cert_file: c.yaml", "cert_file: c.yaml holds no certificate in PEM that fits its key"),
        ("cert_file: c.yaml, key_file: nope.pem", "key_file: can't read nope.pem: No such file"),
    ],
)
def test_certificates_of_no_use_are_told_before_they_are_needed(
    tmp_path: Path, tls: str, expected: str
) -> None:
    text = f"receivers: [{{name: hook, webhook: {{url: 'https://hooks.example'}}, tls: {{{tls}}}}}]"
    (tmp_path / "c.yaml").write_text(f"{LEAST}\n{text}")
    reader = Reader(tmp_path / "c.yaml", {})
    (problem,) = reader.secret_problems(reader.settings())
    assert f"receivers[0].tls.{expected}" in str(problem).replace(f"{tmp_path}/", "")


WRONG = Path(__file__).parent / "wrong"


@pytest.mark.parametrize("name", sorted(path.stem for path in WRONG.glob("*.yaml")))
def test_every_mistake_is_told_at_once_with_its_place(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(WRONG / f"{name}.yaml", {})
    said = str(caught.value).replace(f"{WRONG}/", "") + "\n"
    assert said == (WRONG / f"{name}.txt").read_text("utf-8")


def test_without_any_settings_it_says_how_to_give_them() -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, {})
    first, second = str(caught.value).splitlines()
    assert first.startswith(
        "no --config given: api is missing; for example api: {app_id: '275211', region: us,"
    )
    assert second == "no --config given: watch is missing; for example watch: {users: [superhero2]}"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"nope\.yaml: can't be read: No such file or directory; name the settings file"
    ):
        load(tmp_path / "nope.yaml", {})


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"api: \xff")
    with pytest.raises(ConfigError, match=r"not UTF-8 text \(byte 5\)"):
        load(tmp_path / "c.yaml", {})


@pytest.mark.parametrize("word", ["no", "on", "yes", "0123", "12e4", "1_000", "0x1f", "2026-11-22", "1:30"])
def test_plain_words_are_taken_as_written(tmp_path: Path, word: str) -> None:
    settings = read(tmp_path, LEAST.replace("[superhero2]", f"[{word}]"))
    assert settings.watch.users[0].uid == word


# --- variables --------------------------------------------------------------------------------------


def test_variables_override_the_file(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        DOCUMENTED,
        COMETWATCH_API__REQUESTS_PER_MINUTE="500",
        COMETWATCH_POLL__MAX_STALENESS="1m",
        COMETWATCH_WATCH__USERS='["one", {"uid": "two"}]',
        COMETWATCH_LOG='{"level": "debug"}',
        HOME="/root",
    )
    assert settings.api.requests_per_minute == 500
    assert settings.poll.max_staleness == timedelta(minutes=1)
    assert [user.uid for user in settings.watch.users] == ["one", "two"]
    assert (settings.log.level, settings.log.format) == ("debug", "auto")


def test_a_variable_takes_the_place_of_the_files_other_way_to_say_it(tmp_path: Path) -> None:
    settings = read(
        tmp_path, DOCUMENTED, COMETWATCH_API__BASE_URL="http://127.0.0.1:9000/v3", COMETWATCH_API__API_KEY="k"
    )
    assert settings.api.app == "127.0.0.1:9000/v3"
    assert settings.api.key() == "k"


def test_variables_alone_are_enough() -> None:
    settings = load(
        None,
        {
            "COMETWATCH_API__APP_ID": "275211",
            "COMETWATCH_API__REGION": "eu",
            "COMETWATCH_API__API_KEY": "k",
            "COMETWATCH_WATCH__USERS": '["a"]',
        },
    )
    assert settings.api.app_id == "275211"


def test_wrong_variables_are_told_by_their_names(tmp_path: Path) -> None:
    wrong = {
        "COMETWATCH_API__BASEURL": "http://h/v3",
        "COMETWATCH_API__TIMEOUT": "3",
        "COMETWATCH_WATCH__USERS": "[a",
        "COMETWATCH_ZZZ_QQQ_XXX": "x",
        "COMETWATCH_ROUTES": '[{"receivers": ["nobody"]}]',
    }
    assert complaints(tmp_path, DOCUMENTED, **wrong) == [
        "COMETWATCH_API__BASEURL: no setting has this name (did you mean COMETWATCH_API__BASE_URL?)",
        "COMETWATCH_API__TIMEOUT: api.timeout: expected a time with its unit (ms, s, m, h, d) such as 2s, 5m "
        'or 27h, not "3"; for example timeout: 30s',
        'COMETWATCH_ROUTES: routes[0].receivers[0]: no receiver is named "nobody" '
        "(there are: oncall, ops-hook)",
        "COMETWATCH_WATCH__USERS: expected JSON; for example COMETWATCH_WATCH__USERS="
        """'["superhero2", {"uid": "superhero3", "labels": {"team": "payments"}}]'""",
        "COMETWATCH_ZZZ_QQQ_XXX: no setting has this name; `cometwatch schema settings` lists the keys",
    ]


def test_variables_that_kubernetes_makes_for_a_service_are_not_ours(tmp_path: Path) -> None:
    links = {
        "COMETWATCH_SERVICE_HOST": "10.0.0.1",
        "COMETWATCH_SERVICE_PORT": "9464",
        "COMETWATCH_SERVICE_PORT_METRICS": "9464",
        "COMETWATCH_PORT": "tcp://10.0.0.1:9464",
        "COMETWATCH_PORT_9464_TCP": "tcp://10.0.0.1:9464",
        "COMETWATCH_PORT_9464_TCP_ADDR": "10.0.0.1",
        "COMETWATCH_HEADLESS_SERVICE_HOST": "10.0.0.2",
        "COMETWATCH_HEADLESS_PORT": "tcp://10.0.0.2:1",
        "COMETWATCH_CONFIG": "/etc/cometwatch/cometwatch.yaml",
    }
    assert read(tmp_path, LEAST, **links) == read(tmp_path, LEAST)


# --- meaning ----------------------------------------------------------------------------------------


def test_uids_become_lower_case_with_a_warning(tmp_path: Path) -> None:
    settings = read(tmp_path, LEAST.replace("[superhero2]", "[one, {uid: SuperHero3}]"))
    assert [user.uid for user in settings.watch.users] == ["one", "superhero3"]
    assert str(settings.warnings[0]).endswith(
        'c.yaml:2:22: warning: CometChat keeps uids in lower case: watching "superhero3" for "SuperHero3"'
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("now", "now"),
        ("beginning", "beginning"),
        ("2026-11-22T08:00:00Z", datetime(2026, 11, 22, 8, tzinfo=UTC)),
        ("2026-11-22T09:00:00+01:00", datetime(2026, 11, 22, 8, tzinfo=UTC)),
    ],
)
def test_start(tmp_path: Path, written: str, meant: object) -> None:
    settings = read(tmp_path, LEAST.replace("[superhero2]", f"[superhero2], start: {written}"))
    assert settings.watch.start == meant


def test_without_routes_all_goes_to_everybody(tmp_path: Path) -> None:
    settings = read(tmp_path, LEAST + "receivers: [{name: a, console: }, {name: b, console: {}}]\n")
    assert [(route.match, route.receivers) for route in settings.routes] == [({}, ("a", "b"))]


def test_paths_start_where_the_file_lies(tmp_path: Path) -> None:
    text = (
        "api: {app_id: a, region: us, api_key_file: key}\nwatch: {users: [a]}\nrules: {files: [r/*.yaml]}\n"
    )
    (tmp_path / "key").write_text("sesame\n")
    settings = read(tmp_path, text)
    assert settings.api.key() == "sesame"
    assert settings.rules.files == (str(tmp_path / "r/*.yaml"),)


# --- secrets ----------------------------------------------------------------------------------------

SECRETIVE = """\
api: {app_id: a, region: us, api_key: key-in-the-open}
watch: {users: [a]}
receivers:
  - {name: s, slack: {webhook_url: "https://hooks.slack.com/services/T0/B0/slack-secret"}}
  - name: w
    webhook:
      url: https://hooks.example.net/path-secret
      secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
      headers: {X-Token: header-secret}
"""
IN_IT = {
    "key-in-the-open",
    "https://hooks.slack.com/services/T0/B0/slack-secret",
    "https://hooks.example.net/path-secret",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "header-secret",
}


def test_no_secret_is_shown(tmp_path: Path) -> None:
    settings = read(tmp_path, SECRETIVE)
    shown = json.dumps(redacted(settings)) + repr(settings) + str(settings)
    assert known_secrets(settings) == IN_IT
    assert not [secret for secret in IN_IT if secret in shown]


def test_no_secret_is_in_an_error(tmp_path: Path) -> None:
    text = (
        SECRETIVE.replace("https://hooks", "ftp://hooks")
        .replace("whsec_", "whsec_!")
        .replace("{X-Token:", "{X-Token: [")
    )
    text = (
        text.replace("header-secret}", "header-secret]}")
        .replace("api_key: key", "api_key: [key")
        .replace("open}", "open]}")
    )
    said = "\n".join(complaints(tmp_path, text))
    assert said.count("\n") == 4
    assert not [
        word for word in ("key-in", "slack-secret", "path-secret", "MfKQ9", "header-secret") if word in said
    ]


def test_secret_files_are_read_again_each_time(tmp_path: Path) -> None:
    settings = read(tmp_path, LEAST.replace("api_key: sesame-sesame", "api_key_file: key"))
    for secret in ("first", "second"):
        (tmp_path / "key").write_text(f"  {secret}\n")
        assert settings.api.key() == secret


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "can't read key: No such file or directory; put the secret there"),
        (b"\n", "key is empty; it has to hold the secret and nothing else"),
        (b"\xff", "can't read key: it is not text; put the secret there"),
    ],
)
def test_an_unusable_secret_file_is_explained(tmp_path: Path, content: bytes | None, expected: str) -> None:
    (tmp_path / "c.yaml").write_text(LEAST.replace("api_key: sesame-sesame", "api_key_file: key"))
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    reader = Reader(tmp_path / "c.yaml", {})
    problems = reader.secret_problems(reader.settings())
    assert [str(one).replace(f"{tmp_path}/", "") for one in problems] == [
        f"c.yaml:1:49: api.api_key_file: {expected}"
    ]


def test_secrets_of_the_wrong_form_are_told_without_showing_them(tmp_path: Path) -> None:
    text = LEAST + "receivers: [{name: w, webhook: {url_file: url, secret_file: sign}}]\n"
    (tmp_path / "c.yaml").write_text(text)
    (tmp_path / "url").write_text("hush.example.net")
    (tmp_path / "sign").write_text("hush")
    reader = Reader(tmp_path / "c.yaml", {})
    problems = reader.secret_problems(reader.settings())
    assert [str(one).replace(f"{tmp_path}/", "") for one in problems] == [
        "c.yaml:3:43: receivers[0].webhook.url_file: url: expected an address that begins with https:// "
        "(or http://) and names a host",
        "c.yaml:3:61: receivers[0].webhook.secret_file: sign: expected a Standard Webhooks secret: "
        "whsec_ and 24 to 64 random bytes in base64",
    ]


# --- whom to watch ----------------------------------------------------------------------------------

WATCHING = """\
api: {app_id: "275211", region: us, api_key_file: /run/secrets/apikey}
watch:
  users: [superhero2, {uid: superhero3, labels: {team: payments}, weight: 4, max_staleness: 30s}]
  cohorts:
    - {name: vip, users: [superhero4, 275211], labels: {tier: gold}, weight: 25, max_staleness: 30s}
    - {name: agents, file: agents.txt}
    - {name: support, discover: {tags: [support], roles: [agent], search: help, status: available}}
    - {name: everybody, discover: , max_staleness: auto}
  groups: [hiking, {guid: book-club, weight: 2, max_staleness: 1m}]
  refresh: 5m
  grace: 1d
  source: user-all
"""


def test_users_cohorts_and_groups_mean_what_they_say(tmp_path: Path) -> None:
    watch = read(tmp_path, WATCHING).watch
    assert [(user.weight, user.max_staleness) for user in watch.users] == [
        (1.0, None),
        (4.0, timedelta(seconds=30)),
    ]
    vip, agents, support, everybody = watch.cohorts
    assert (vip.users, vip.labels, vip.weight) == (("superhero4", "275211"), {"tier": "gold"}, 25.0)
    assert agents.file == str(tmp_path / "agents.txt")
    assert dict(watch.discovered) == {"support": support.discover, "everybody": everybody.discover}
    assert support.discover == Discover(
        tags=("support",), roles=("agent",), search="help", status="available"
    )
    assert (everybody.discover, everybody.max_staleness) == (Discover(), "auto")
    assert [group.guid for group in watch.groups] == ["hiking", "book-club"]
    assert (watch.refresh, watch.grace) == (timedelta(minutes=5), timedelta(days=1))
    jsonschema.Draft202012Validator(schema()).validate(yaml.safe_load(WATCHING))


@pytest.mark.parametrize(
    "watch", ["{groups: [hiking]}", "{groups: [hiking], source: app}", "{groups: [hiking], source: groups}"]
)
def test_users_need_not_be_named_where_something_else_is_read(tmp_path: Path, watch: str) -> None:
    assert read(tmp_path, LEAST.replace("{users: [superhero2]}", watch)).watch.users == ()


def test_uids_in_cohorts_and_guids_become_lower_case_with_a_warning(tmp_path: Path) -> None:
    text = LEAST.replace("[superhero2]", "[one], cohorts: [{name: VIP, users: [Two]}], groups: [Hiking]")
    settings = read(tmp_path, text + "receivers: [{name: here, console: {}}]\n")
    assert settings.watch.cohorts[0].users == ("two",)
    assert settings.watch.groups[0].guid == "hiking"
    assert [str(one).partition("warning: ")[2] for one in settings.warnings] == [
        'CometChat keeps guids in lower case: watching "hiking" for "Hiking"',
        'CometChat keeps uids in lower case: watching "two" for "Two"',
    ]


# --- the schema -------------------------------------------------------------------------------------


def test_the_schema_takes_what_we_take() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    documented = yaml.safe_load(DOCUMENTED)
    jsonschema.Draft202012Validator(schema()).validate(documented)


def test_the_schema_refuses_unknown_keys() -> None:
    documented = yaml.safe_load(DOCUMENTED) | {"pol": {}}
    assert not jsonschema.Draft202012Validator(schema()).is_valid(documented)


def test_a_group_of_everything_is_not_what_an_empty_list_means_here(tmp_path: Path) -> None:
    settings = read(
        tmp_path, f"{LEAST}\nreceivers: [{{name: a, console: }}]\nroutes: [{{receivers: [a], group_by: []}}]"
    )
    [only] = settings.warnings
    assert "groups nothing" in only.message
    assert only.place.line > 0
