"""Running one monitor in this process: logs, store, wires, signals and reloads round the app."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio
import watchfiles
from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.registry import CollectorRegistry

from monitor import logs
from monitor.app import App, Outside
from monitor.clock import Clock, system_wall
from monitor.configuration import Configuration, read
from monitor.feasibility import broken_promises
from monitor.outlets import Outlets
from monitor.server import listening, serve
from monitor.settings import Reader, SettingsError, known_secrets
from monitor.source.transport import open_http
from monitor.store.store import Store
from monitor.web import build
from monitor.web.writing import Writes

log = structlog.get_logger(__name__)

LEARN_S: Final = 10.0
FOLDERS_MS: Final = 5000  # a reload may name others
WATCH_AGAIN_S: Final = 60.0
SETTLED_MS: Final = 500  # an editor or a ConfigMap swap makes several changes of one


def run(config: Path | None, env: Mapping[str, str], *, at: Callable[[str], None] = lambda _: None) -> None:
    """Watch until SIGTERM or SIGINT. Raises CometwatchError for whatever keeps the monitor from starting."""
    configuration = read(config, env)
    settings = configuration.settings
    refuse_impossible(Reader(config, env), configuration)
    redactor = logs.Redactor(known_secrets(settings))
    logs.configure(format=settings.log.format, level=settings.log.level, redactor=redactor)
    for warning in settings.warnings:
        log.warning("config.doubtful", problem=str(warning))

    def reread() -> Configuration:
        again = read(config, env)
        redactor.learn(*known_secrets(again.settings))
        return again

    with Store.open(settings.store.url, app=settings.api.app, now=system_wall) as store:
        trio.run(_run, configuration, store, reread, redactor, at)


def refuse_impossible(reader: Reader, configuration: Configuration) -> None:
    """Raise SettingsError for secrets that can't be read and promises that can't be kept.

    Only at a start: while running, a secret may be on its way and promises stretch.
    """
    unreadable = reader.secret_problems(configuration.settings)
    if problems := (*unreadable, *broken_promises(reader, configuration, configuration.terms)):
        raise SettingsError(problems)


async def _run(
    configuration: Configuration,
    store: Store,
    reread: Callable[[], Configuration],
    redactor: logs.Redactor,
    at: Callable[[str], None],
) -> None:
    stop, registry = trio.Event(), process_registry()
    tell, told = trio.open_memory_channel[str](1)
    async with wires(configuration, at=at) as outside, trio.open_nursery() as nursery:
        app = App(configuration, store=store, outside=outside, registry=registry, read=reread)
        await nursery.start(_obey_signals, stop, tell, nursery.cancel_scope)
        nursery.start_soon(_watch_files, app, tell)
        nursery.start_soon(_learn_secrets, app, redactor)
        await app.run(stop, serve=partial(serve_pages, app, registry), reload=told)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def wires(
    configuration: Configuration, *, at: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Outside]:
    """The real outside: the network, the clock, threads, standard output."""
    connections = configuration.settings.poll.concurrency
    clock = Clock()
    async with open_http(connections=connections) as http, Outlets(stream=sys.stdout, clock=clock) as outlets:
        yield Outside(http=http, outlets=outlets, clock=clock, at=at)


def process_registry() -> CollectorRegistry:
    """A registry that also tells of the process itself."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


async def serve_pages(
    app: App,
    registry: CollectorRegistry,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Health, metrics and the status page of `app` at its address, until cancelled."""
    server = app.configuration.settings.server
    overview = app.caretaker.overview
    writes = Writes(submit=app.writer.submit, token=server.bearer, now=system_wall)
    pages = build(overview.status, overview.users, app.store, registry, hosts=server.hosts, writes=writes)
    await serve(pages, listening(server.listen), task_status=task_status)


async def _obey_signals(
    stop: trio.Event,
    tell: trio.MemorySendChannel[str],
    everything: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGHUP:
                _hint(tell, "SIGHUP")
            elif stop.is_set():  # asked twice: no waiting for the last deliveries, the outbox keeps them
                log.warning("monitor.stopped_at_once", signal=signal.Signals(number).name)
                everything.cancel()
            else:
                log.info("monitor.stopping", signal=signal.Signals(number).name)
                stop.set()


async def _watch_files(app: App, tell: trio.MemorySendChannel[str]) -> None:
    """Hint at a reload when a configuration file changes; the reload itself finds out whether it matters.

    Folders are watched, not files: a ConfigMap is exchanged by swapping a symbolic link beside them.
    """
    while folders := app.configuration.folders:
        try:
            await _watch_folders(folders, app, tell)
            _hint(tell, "other folders")  # also where a link above them was turned: nothing in them changed
        except (OSError, RuntimeError) as error:
            # No more watches to be had, or a folder is gone: no reason to stop watching CometChat.
            log.error(
                "config.watch_failed", error=str(error), instead="SIGHUP reloads", retry_in_s=WATCH_AGAIN_S
            )
            await trio.sleep(WATCH_AGAIN_S)


async def _watch_folders(folders: frozenset[Path], app: App, tell: trio.MemorySendChannel[str]) -> None:
    """Hint at changes until the configuration in force names other folders.

    The store may lie beside the configuration, and changes all the time: that is no reason to read anything.
    """
    log.info("config.watched", folders=sorted(map(str, folders)))
    async for changes in watchfiles.awatch(
        *folders,
        recursive=False,
        step=SETTLED_MS,
        watch_filter=None,
        rust_timeout=FOLDERS_MS,
        yield_on_timeout=True,
    ):
        if any(app.configuration.is_named(Path(path)) for _, path in changes):
            _hint(tell, "file change")
        if app.configuration.folders != folders:
            return


async def _learn_secrets(app: App, redactor: logs.Redactor) -> None:
    """Keep secrets that were exchanged in their files out of the log as well."""
    while True:
        await trio.sleep(LEARN_S)
        redactor.learn(*known_secrets(app.configuration.settings))


def _hint(tell: trio.MemorySendChannel[str], reason: str) -> None:
    # When it would block, a reload is waiting already, and will read what is there then.
    with suppress(trio.WouldBlock):
        tell.send_nowait(reason)
