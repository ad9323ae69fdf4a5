"""Shipped configurations and manifests: accepted as they are, and with no right too many."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from monitor.cli.simulating import DEMO_KEY
from monitor.settings import Settings, load
from tests.deploy import DEPLOY, ROOT, project, yaml_of

KUBERNETES = DEPLOY / "kubernetes"
COMPOSE = yaml_of(DEPLOY / "compose" / "compose.yaml")
CONFIGURATIONS = [
    DEPLOY / "config.sample.yaml",
    DEPLOY / "compose" / "cometwatch.yaml",
    KUBERNETES / "cometwatch.yaml",
]
IMAGE = f"cometwatch:{project()['project']['version']}"
USER = 65532  # as the Dockerfile says


def manifest(name: str) -> dict[str, Any]:
    """The workload of that file, which stands first."""
    document: dict[str, Any] = next(yaml.safe_load_all((KUBERNETES / name).read_text(encoding="utf-8")))
    return document


def pod(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = manifest(name)["spec"]["template"]["spec"]
    return spec


def monitor(name: str) -> dict[str, Any]:
    """The monitor's own container in that workload."""
    spec = pod(name)
    every = [*spec.get("initContainers", ()), *spec["containers"]]
    return next(container for container in every if container["name"] == "cometwatch")


each_workload = pytest.mark.parametrize("name", ["statefulset.yaml", "sidecar.yaml"])


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_a_shipped_configuration_is_accepted_without_a_warning(path: Path) -> None:
    assert load(path, {}).warnings == ()


def test_the_sample_names_every_setting() -> None:
    text = (DEPLOY / "config.sample.yaml").read_text(encoding="utf-8")
    missing = [key for key in settings(Settings) if not re.search(rf"\b{key}(_file)?:\s", text)]
    assert missing == []  # a secret is shown in the form in which it stands in a file


def test_the_cohorts_that_the_sample_shows_in_comments_are_accepted(tmp_path: Path) -> None:
    text = (DEPLOY / "config.sample.yaml").read_text(encoding="utf-8")
    written = text.replace("cohorts: []", "cohorts:").replace("  #   - {name", "      - {name")
    (tmp_path / "c.yaml").write_text(written, encoding="utf-8")
    cohorts = load(tmp_path / "c.yaml", {}).watch.cohorts
    assert [cohort.name for cohort in cohorts] == ["vip", "agents", "support", "helpers"]


def settings(model: type[BaseModel], within: tuple[type[BaseModel], ...] = ()) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield field.alias or name
        for module, inner in re.findall(r"(monitor\.settings\.\w+)\.(\w+)", str(field.annotation)):
            found = getattr(__import__(module, fromlist=[inner]), inner)
            if issubclass(found, BaseModel) and found not in {model, *within}:  # routes hold routes
                yield from settings(found, (model, *within))


def test_the_sample_shows_the_defaults() -> None:
    sample = load(DEPLOY / "config.sample.yaml", {})
    for section in ("poll", "store", "server", "rules", "log"):
        assert getattr(sample, section) == Settings.model_fields[section].default, section
    for key in ("alert_max_age", "retention", "blind_after", "drain_timeout"):
        assert getattr(sample, key) == Settings.model_fields[key].default, key


@each_workload
def test_in_kubernetes_the_monitor_can_do_nothing_but_its_work(name: str) -> None:
    security = pod(name)["securityContext"] | monitor(name)["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == USER
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert pod(name)["automountServiceAccountToken"] is False


@each_workload
def test_in_kubernetes_there_is_one_monitor_with_a_volume_that_outlives_it(name: str) -> None:
    document = manifest(name)
    assert document["spec"]["replicas"] == 1
    claims = {volume["name"] for volume in pod(name)["volumes"] if "persistentVolumeClaim" in volume}
    claims |= {claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates", ())}
    mounts = {mount["name"]: mount["mountPath"] for mount in monitor(name)["volumeMounts"]}
    assert [mounts[claim] for claim in claims] == ["/var/lib/cometwatch"]


@each_workload
def test_in_kubernetes_secrets_are_files(name: str) -> None:
    assert [variable for variable in monitor(name)["env"] if "valueFrom" in variable] == []
    mounts = {mount["name"]: mount["mountPath"] for mount in monitor(name)["volumeMounts"]}
    configured = load(KUBERNETES / "cometwatch.yaml", {})
    assert configured.api.api_key_file is not None
    assert Path(configured.api.api_key_file).parent == Path(mounts["secrets"])


@each_workload
def test_in_kubernetes_prometheus_reaches_the_metrics_and_finds_the_pod(name: str) -> None:
    variables = {variable["name"]: variable["value"] for variable in monitor(name)["env"]}
    assert variables["COMETWATCH_SERVER__LISTEN"] == "0.0.0.0:9464"
    assert monitor(name)["ports"] == [{"name": "metrics", "containerPort": 9464}]
    scraped = yaml_of(KUBERNETES / "monitoring" / "podmonitor.yaml")["spec"]
    labels = manifest(name)["spec"]["template"]["metadata"]["labels"]
    assert scraped["selector"]["matchLabels"].items() <= labels.items()
    assert scraped["podMetricsEndpoints"][0]["port"] == "metrics"


@each_workload
def test_in_kubernetes_a_stop_leaves_time_to_drain(name: str) -> None:
    drain = Settings.model_fields["drain_timeout"].default.total_seconds()
    assert pod(name)["terminationGracePeriodSeconds"] > drain


def test_the_sidecar_never_keeps_its_product_from_starting_or_serving() -> None:
    sidecar = monitor("sidecar.yaml")
    assert sidecar["restartPolicy"] == "Always"
    assert {"startupProbe", "readinessProbe", "lifecycle"} & sidecar.keys() == set()
    assert sidecar["livenessProbe"]["exec"]["command"] == ["cometwatch", "healthcheck", "--live"]
    assert manifest("sidecar.yaml")["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize("name", ["statefulset.yaml", "sidecar.yaml"])
def test_the_image_has_the_projects_version(name: str) -> None:
    assert monitor(name)["image"] == IMAGE
    assert COMPOSE["services"]["monitor"]["image"] == IMAGE
    assert f"ARG VERSION={project()['project']['version']}" in (ROOT / "Dockerfile").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("service", COMPOSE["services"].values(), ids=COMPOSE["services"])
def test_in_compose_a_service_is_confined_checked_and_published_on_loopback_only(
    service: dict[str, Any],
) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["healthcheck"]["test"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert not service["image"].endswith(":latest")
    assert ":" in service["image"]


def test_in_compose_every_mounted_file_exists() -> None:
    folder = DEPLOY / "compose"
    mounts = [mount for service in COMPOSE["services"].values() for mount in service.get("volumes", ())]
    paths = [mount.partition(":")[0] for mount in mounts if mount.startswith(".")]
    paths += [source["file"] for kind in ("configs", "secrets") for source in COMPOSE[kind].values()]
    assert len(paths) == 5
    assert [path for path in paths if not (folder / path).exists()] == []


def test_in_compose_monitor_simulator_and_prometheus_find_each_other() -> None:
    configured = load(DEPLOY / "compose" / "cometwatch.yaml", {})
    assert configured.api.base_url == "http://simulator:9000/v3"
    assert configured.api.api_key_file == "/run/secrets/apikey"
    assert (DEPLOY / "compose" / "secrets" / "apikey").read_text(encoding="utf-8").strip() == DEMO_KEY
    assert COMPOSE["services"]["monitor"]["secrets"] == ["apikey"]
    scrape = yaml_of(DEPLOY / "prometheus" / "prometheus.yaml")["scrape_configs"]
    assert [(each["job_name"], each["static_configs"][0]["targets"]) for each in scrape] == [
        ("cometwatch", ["monitor:9464"])
    ]


def instructions() -> list[tuple[str, list[str]]]:
    """The Dockerfile as (instruction, words), continuation lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(words[0], words[1:]) for words in (shlex.split(line) for line in lines)]


def test_everything_the_image_is_built_from_exists_and_reaches_the_builder() -> None:
    let_through = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line[:1] == "!"
    }
    copied = {
        source.removeprefix("./")
        for name, words in instructions()
        if name == "COPY" and not words[0].startswith("--from")
        for source in words[:-1]
    }
    assert copied == let_through
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_the_image_runs_as_a_number_and_both_stages_have_one_base() -> None:
    named = instructions()
    assert [words[0] for name, words in named if name == "USER"] == [f"{USER}:{USER}"]
    bases = {words[0] for name, words in named if name == "FROM"}
    assert len(bases) == 1
    assert bases.pop().count(":") == 1
