"""A real Alertmanager on loopback, and the webhook that it notifies."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import h11
import httpx
import trio

PATIENCE_S: Final = 20.0
PEER_TIMEOUT_S: Final = 0.5  # how long the second of a cluster waits for the first to notify
LOOK_S: Final = 0.05  # a process of its own has no clock of ours: it is looked at until it has done it
_UNPACKED: Final = Path(__file__).parents[2] / ".venv/tools/usr/bin/prometheus-alertmanager"

Alerts = list[dict[str, Any]]


def binary() -> str | None:
    """Where Alertmanager is: on PATH, or where `.ci/alertmanager` has put it; None: nowhere."""
    found = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    return found or (str(_UNPACKED) if os.access(_UNPACKED, os.X_OK) else None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Inbox:
    """A webhook of Alertmanager's: the notifications that it was sent."""

    url: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        body = b""
        async with stream:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    self.got.append(json.loads(body))
                    answer = h11.Response(
                        status_code=200, headers=[("content-length", "0"), ("connection", "close")]
                    )
                    return await stream.send_all(connection.send(answer) or b"")
                elif isinstance(event, h11.ConnectionClosed):
                    return None

    def alerts(self, status: str) -> list[str]:
        """The `alert_id`s that it was told of in that status, in order, as often as it was."""
        told = (alert for notification in self.got for alert in notification["alerts"])
        return [alert["labels"]["alert_id"] for alert in told if alert["status"] == status]


@asynccontextmanager
async def inbox() -> AsyncIterator[Inbox]:
    async with trio.open_nursery() as nursery:
        made = Inbox()
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        made.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"
        nursery.start_soon(trio.serve_listeners, made.serve, [listener])
        yield made
        nursery.cancel_scope.cancel()


@dataclass(frozen=True)
class Alertmanager:
    """One instance, running."""

    url: str
    http: httpx.AsyncClient

    async def alerts(self) -> Alerts:
        """Those that are active, as it shows them."""
        return (await self.http.get(f"{self.url}/api/v2/alerts")).json()  # type: ignore[no-any-return]  # JSON

    async def peers(self) -> int:
        """How many of its cluster it knows, itself included; 0 until they have settled."""
        known = (await self.http.get(f"{self.url}/api/v2/status")).json()["cluster"]
        return len(known["peers"]) if known["status"] == "ready" else 0

    async def ids(self) -> list[str]:
        return sorted(alert["labels"]["alert_id"] for alert in await self.alerts())


@asynccontextmanager
async def alertmanager(
    folder: Path, hook: str, *, port: int | None = None, cluster: int | None = None, peer: int | None = None
) -> AsyncIterator[Alertmanager]:
    """Run one until the block is left. It keeps nothing: `folder` is its own. `hook` is notified at once."""
    port = port or free_port()
    config = trio.Path(folder) / "alertmanager.json"  # JSON is YAML
    await config.parent.mkdir(parents=True, exist_ok=True)
    await config.write_text(json.dumps(_configuration(hook, interval="2s" if cluster else "200ms")), "utf-8")
    address = f"127.0.0.1:{cluster}" if cluster else ""
    gossip = [
        f"--cluster.listen-address={address}",
        "--cluster.peer-timeout=2s",
        "--cluster.settle-timeout=2s",
    ]
    found = binary()
    assert found
    command = [
        *(found, f"--config.file={config}", f"--storage.path={folder}"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"),
        *(gossip if cluster else gossip[:1]),
        *([f"--cluster.peer=127.0.0.1:{peer}"] if peer else []),
    ]
    async with httpx.AsyncClient(trust_env=False) as http, trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, check=False))  # we kill it
        made = Alertmanager(f"http://127.0.0.1:{port}", http)
        try:
            await until(lambda: _is_ready(made))
            yield made
        finally:
            process.kill()
            nursery.cancel_scope.cancel()


async def _is_ready(server: Alertmanager) -> bool:
    try:
        return (await server.http.get(f"{server.url}/-/ready")).is_success
    except httpx.TransportError:
        return False


def _configuration(hook: str, interval: str) -> dict[str, Any]:
    timing = {"group_wait": "50ms", "group_interval": interval, "repeat_interval": "1h"}
    return {
        "route": {"receiver": "hook", "group_by": ["alert_id"], **timing},
        "receivers": [{"name": "hook", "webhook_configs": [{"url": hook, "send_resolved": True}]}],
    }


async def until(holds: Callable[[], Any]) -> None:
    """Wait for what another process does."""
    with trio.fail_after(PATIENCE_S):
        while True:
            answer = holds()
            if (await answer) if hasattr(answer, "__await__") else answer:
                return
            await trio.sleep(LOOK_S)
