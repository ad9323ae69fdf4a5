"""All scenes at once on the real Alertmanager, in real time: each has a route, and alerts with its label."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import h11
import httpx
import trio

from monitor.delivery.policy import RouteSpec
from monitor.store.values import Matcher, Operator, Timing
from tests.alertmanager_sink.server import binary, free_port, until

from .scenes import Firing, Scene, Silenced
from .told import Told, told

UNIT_S: Final = 1.0
LEAD_S: Final = 0.5  # before the scenes begin, so that all begin at once
NOWHERE: Final = "nowhere"
FAR: Final = timedelta(hours=1)

Json = dict[str, Any]


def play(scenes: Sequence[Scene], folder: Path) -> dict[str, list[Told]]:
    """What receivers are told in each of the scenes, by its name. Takes as long as the longest does."""
    return trio.run(_play, scenes, folder)


async def _play(scenes: Sequence[Scene], folder: Path) -> dict[str, list[Told]]:
    heard: dict[str, list[Told]] = {scene.name: [] for scene in scenes}
    names = [scene.name for scene in scenes]
    began = math.inf

    def hear(path: str, body: Json) -> None:
        number, receiver = path.strip("/").split("/")
        at = (trio.current_time() - began) / UNIT_S
        heard[names[int(number)]].append(_told(receiver, body, at))

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, partial(_collect, hear), [listener])
        hook = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with _running(configured(scenes, hook), folder) as http:
            began = trio.current_time() + LEAD_S
            async with trio.open_nursery() as playing:
                playing.cancel_scope.deadline = began + max(scene.until for scene in scenes) * UNIT_S
                for number, scene in enumerate(scenes):
                    for firing in scene.firings:
                        playing.start_soon(_fire, http, firing, str(number), began)
                    for silence in scene.silences:
                        playing.start_soon(_silence, http, silence, str(number), began)
                playing.start_soon(trio.sleep_forever)
        nursery.cancel_scope.cancel()
    return {scene.name: [one for one in heard[scene.name] if one.at <= scene.until] for scene in scenes}


@asynccontextmanager
async def _running(config: Json, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    file = trio.Path(folder) / "alertmanager.json"  # JSON is YAML
    await file.write_text(json.dumps(config), "utf-8")
    url, found = f"http://127.0.0.1:{free_port()}", binary()
    assert found is not None
    command = [
        *(found, f"--config.file={file}", f"--storage.path={folder}", "--log.level=error"),
        *(f"--web.listen-address={url.removeprefix('http://')}", "--cluster.listen-address="),
    ]
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http, trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, check=False))  # we kill it
        try:
            await until(partial(_is_ready, http))
            yield http
        finally:
            process.kill()
            nursery.cancel_scope.cancel()


async def _is_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/-/ready")).is_success
    except httpx.TransportError:
        return False


# --- what happens ---------------------------------------------------------------------------------------


async def _fire(http: httpx.AsyncClient, firing: Firing, scene: str, began: float) -> None:
    severity = firing.labels.get("severity", "warning")
    own = {"alertname": "scene", "rule": "scene", "severity": severity, "alert": firing.name, "scene": scene}
    await trio.sleep_until(began + firing.begins * UNIT_S)
    starts_at = _now()
    alert = {
        "labels": {**firing.labels, **own},
        "startsAt": _text(starts_at),
        "endsAt": _text(starts_at + FAR),
    }
    await _post(http, "alerts", [alert])
    if firing.ends is not None:
        await trio.sleep_until(began + firing.ends * UNIT_S)
        await _post(http, "alerts", [{**alert, "endsAt": _text(_now())}])


async def _silence(http: httpx.AsyncClient, silence: Silenced, scene: str, began: float) -> None:
    matchers = (*silence.matchers, Matcher(label="scene", value=scene))
    span = timedelta(seconds=(silence.ends - silence.begins) * UNIT_S)
    await trio.sleep_until(began + silence.begins * UNIT_S)
    starts_at = _now()
    body = {
        "matchers": [_matcher_of(one) for one in matchers],
        "startsAt": _text(starts_at),
        "endsAt": _text(starts_at + (FAR if silence.is_expired else span)),
        "createdBy": "ann",
        "comment": "deploy",
    }
    number = (await _post(http, "silences", body))["silenceID"]
    if silence.is_expired:
        await trio.sleep_until(began + silence.ends * UNIT_S)
        (await http.delete(f"/api/v2/silence/{number}")).raise_for_status()


async def _post(http: httpx.AsyncClient, what: str, body: Any) -> Any:
    answer = (await http.post(f"/api/v2/{what}", json=body)).raise_for_status()
    return answer.json() if answer.content else None


def _matcher_of(one: Matcher) -> Json:
    return {
        "name": one.label,
        "value": one.value,
        "isRegex": one.operator in {Operator.LIKE, Operator.NOT_LIKE},
        "isEqual": one.operator in {Operator.IS, Operator.LIKE},
    }


def _now() -> datetime:
    return datetime.now(UTC)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


# --- the same routes in its words -----------------------------------------------------------------------


def configured(scenes: Sequence[Scene], hook: str) -> Json:
    """The configuration that has the routes of all scenes, each under its own."""
    told_at = {
        f"{number}/{name}": f"{hook}/{number}/{name}"
        for number, scene in enumerate(scenes)
        for name in sorted({name for spec in scene.routes for name in _receivers(spec)})
    }
    routes = [
        {
            "matchers": [f'scene="{number}"'],
            "receiver": NOWHERE,
            "routes": [_route(spec, str(number)) for spec in scene.routes],
        }
        for number, scene in enumerate(scenes)
    ]
    hooks = [
        {"name": name, "webhook_configs": [{"url": url, "send_resolved": True}]}
        for name, url in told_at.items()
    ]
    return {"route": {"receiver": NOWHERE, "routes": routes}, "receivers": [{"name": NOWHERE}, *hooks]}


def _route(spec: RouteSpec, scene: str) -> Json:
    """Alertmanager's routes have one receiver each."""
    listed = [
        Matcher(label=label, operator=Operator.LIKE, value="|".join(values))
        for label, values in spec.match.items()
    ]
    route: Json = {
        "matchers": [str(one) for one in (*listed, *spec.matchers)],
        "continue": spec.continue_,
        "routes": [_route(within, scene) for within in spec.routes],
    }
    if spec.receivers:
        (receiver,) = spec.receivers
        route["receiver"] = f"{scene}/{receiver}"
    if spec.group_by is not None:
        route["group_by"] = list(spec.group_by)
    return {**route, **(_timing(spec.timing) if spec.timing else {})}


def _timing(timing: Timing) -> Mapping[str, str]:
    assert timing.repeat is not None
    spans = {
        "group_wait": timing.wait,
        "group_interval": timing.interval,
        "repeat_interval": timing.repeat,
    }
    return {key: f"{round(span.total_seconds() * UNIT_S * 1000)}ms" for key, span in spans.items()}


def _receivers(spec: RouteSpec) -> Iterator[str]:
    yield from spec.receivers
    for within in spec.routes:
        yield from _receivers(within)


# --- what it tells --------------------------------------------------------------------------------------


async def _collect(hear: Any, stream: trio.SocketStream) -> None:
    """A webhook that hears everything and answers 200."""
    connection = h11.Connection(h11.SERVER)
    path, body = "", b""
    async with stream:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                path, body = event.target.decode(), b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                hear(path, json.loads(body))
                headers = [("content-length", "0"), ("connection", "close")]
                answer = h11.Response(status_code=200, headers=headers)
                return await stream.send_all(connection.send(answer) or b"")
            elif isinstance(event, h11.ConnectionClosed):
                return None


def _told(receiver: str, body: Json, at: float) -> Told:
    group = {
        label: value for label, value in body["groupLabels"].items() if label not in {"alertname", "scene"}
    }
    statuses = [(alert["labels"]["alert"], alert["status"] == "firing") for alert in body["alerts"]]
    return told(at, receiver, group, statuses)
