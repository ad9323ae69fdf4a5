"""Asking a running monitor's own port, with the standard library alone: a probe must start quickly."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from monitor.errors import CometwatchError, ConfigError

NEAR: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "::1"}  # noqa: S104 - asked, not bound
LISTEN: Final = "COMETWATCH_SERVER__LISTEN"
ASK_S: Final = 3.0  # the monitor is on this machine; longer means that it hangs
MAX_ANSWER: Final = 64 * 1024 * 1024  # every user's state, at the most users one app can watch
MAX_PORT: Final = 65535


class Answer(NamedTuple):
    """What the monitor said."""

    is_yes: bool
    text: str


class UnansweredError(CometwatchError):
    """Nobody answers on the address."""


def get(listen: str, path: str) -> Answer:
    """The answer of the monitor that listens on `listen` ("host:port"); of every address, the nearest.

    Raises UnansweredError, or ConfigError for what is no address.
    """
    host, _, port = listen.rpartition(":")
    if not (port.isascii() and port.isdecimal() and int(port) <= MAX_PORT):
        raise ConfigError(f'"{listen}" is no address: give host:port, for example 127.0.0.1:9464')
    connection = http.client.HTTPConnection(NEAR.get(host, host.strip("[]")), int(port), timeout=ASK_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return Answer(response.status == 200, response.read(MAX_ANSWER).decode("utf-8", "replace").strip())
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise UnansweredError(
            f"nothing answers on {listen}: {error}; is `cometwatch run` running?"
        ) from error
    finally:
        connection.close()


def is_well(listen: str, *, live: bool) -> Answer:
    """Whether the monitor is well: its process lives (`live`), or its work progresses. No answer is a no."""
    try:
        return get(listen, "/healthz" if live else "/readyz")
    except UnansweredError as error:
        return Answer(is_yes=False, text=str(error))


def shortcut(words: Sequence[str], env: Mapping[str, str]) -> int | None:
    """The exit code of a `healthcheck` that needs no settings, once it is told; None for any other command.

    A probe runs every few seconds for as long as the monitor does; the whole command line takes four times
    as long to import as this takes to answer.
    """
    match [word for word in words if word != "--live"]:
        case ["healthcheck"] if LISTEN in env:
            listen = env[LISTEN]
        case ["healthcheck", "--listen", listen]:
            pass
        case _:
            return None
    try:
        answer = is_well(listen, live="--live" in words)
    except ConfigError:
        return None  # the command line tells it as it tells all errors
    print(answer.text, file=sys.stdout if answer.is_yes else sys.stderr)
    return 0 if answer.is_yes else 1
