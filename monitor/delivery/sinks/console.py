"""Alerts on a terminal, or as plain text in a container's log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TextIO

import trio
from rich.console import Console
from rich.text import Text

from monitor.clock import Clock
from monitor.delivery.render import console
from monitor.delivery.sinks.base import Delivered, RetryAfter, Settlement, Traits
from monitor.store.values import Notification

_STYLES: Final = {"CRITICAL": "bold red", "WARNING": "bold yellow", "INFO": "bold blue", "RESOLVED": "green"}


class ConsoleSink:
    """Shows every alert at once and in full, so it is no receiver that summaries are made for."""

    traits = Traits(people=False)

    def __init__(
        self,
        *,
        stream: TextIO,
        clock: Clock,
        # A reader that stopped (a stuck pipe) must block neither the loop nor a shutdown.
        run_sync: Callable[..., Awaitable[Any]] = partial(trio.to_thread.run_sync, abandon_on_cancel=True),
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._run_sync = run_sync

    async def send(self, notification: Notification) -> Settlement:
        blocks = console.blocks(notification, now=self._clock.wall())
        try:
            await self._run_sync(self._write, blocks)
        except (OSError, ValueError) as exc:  # ValueError: the stream was closed
            return RetryAfter(reason=f"the console can't be written ({type(exc).__name__})")
        return Delivered()

    def _write(self, blocks: tuple[console.Block, ...]) -> None:
        if self._stream.isatty():
            terminal = Console(file=self._stream, highlight=False, soft_wrap=True)
            for block in blocks:
                terminal.print(_coloured(block), end="")
        else:
            self._stream.write("".join(console.text(block) for block in blocks))
        self._stream.flush()


def _coloured(block: console.Block) -> Text:
    """The plain text with its heading coloured. A `Text`, so that brackets in names are no markup."""
    shown = Text(console.text(block))
    shown.stylize(_STYLES.get(block.word, "bold"), 0, len(block.heading))
    return shown
