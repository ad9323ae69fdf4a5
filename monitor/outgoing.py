"""Outgoing HTTP, to CometChat and to receivers: whom we trust, and what no library may do unasked."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from importlib import metadata
from pathlib import Path

import httpcore
import httpx

from monitor.reach import Guard, NotConnected, Reach

__all__ = ["NotConnected", "Reach", "Tls", "client", "tls", "user_agent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Whom to trust for one receiver, and who we are to it. Changed files are read again."""

    ca_file: Path | None = None  #: authorities in the place of the public ones
    cert_file: Path | None = (
        None  #: our own certificate, for who asks for one; its key too, if `key_file` is None
    )
    key_file: Path | None = None


def client(
    limits: httpx.Limits,
    headers: Mapping[str, str],
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    reach: Reach = Reach(),
    tls: Tls = Tls(),
) -> httpx.AsyncClient:
    """A client that the caller closes. `transport` stands in for the network.

    It connects to no address that `reach` forbids, whatever a URL or a name server says. Redirects are never
    followed: keys and alerts would travel along. There is no timeout here: deadlines are set once, round a
    whole exchange, by whoever asks. Proxy variables and ~/.netrc of the environment are not heeded, so that
    nothing but the settings decides where keys go; a private certificate authority is named by `tls`, or for
    all by SSL_CERT_FILE or SSL_CERT_DIR.
    """
    return httpx.AsyncClient(
        transport=transport or _Guarded(limits, reach, tls),
        headers={"user-agent": user_agent(), **headers},
        follow_redirects=False,
        timeout=None,  # noqa: S113 - see above
        trust_env=False,
    )


class _Guarded(httpx.AsyncHTTPTransport):
    """httpx's own transport over guarded connections, for which it has no argument.

    Were its insides to change, it would find no pool and send nothing: never does it go unguarded.
    """

    def __init__(self, limits: httpx.Limits, reach: Reach, trusted: Tls) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls(),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=Guard(reach=reach, trust=partial(trust, trusted)),
        )


def user_agent() -> str:
    try:
        return f"cometwatch/{metadata.version('cometwatch')}"
    except metadata.PackageNotFoundError:  # run from a checkout
        return "cometwatch"


@cache
def tls() -> ssl.SSLContext:
    """Whom we trust, for HTTP/1.1. The certificates are read once in a process (45 ms)."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def trust(trusted: Tls) -> ssl.SSLContext:
    """What the files say now. Raises OSError (an SSLError is one) if they are of no use."""
    files = (trusted.ca_file, trusted.cert_file, trusted.key_file)
    if not any(files):
        return tls()
    return _read(trusted, tuple(file.stat().st_mtime_ns if file else None for file in files))


@lru_cache(maxsize=64)
def _read(trusted: Tls, _changed_at: tuple[int | None, ...]) -> ssl.SSLContext:
    context = (
        ssl.create_default_context(cafile=trusted.ca_file) if trusted.ca_file else httpx.create_ssl_context()
    )
    if trusted.cert_file:
        # With no password the library would ask for one on the terminal.
        context.load_cert_chain(trusted.cert_file, trusted.key_file, password="")
    context.set_alpn_protocols(["http/1.1"])
    return context
