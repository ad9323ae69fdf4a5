"""The one place that opens HTTP connections to the API."""

from __future__ import annotations

import ssl
from functools import cache
from importlib import metadata
from typing import Final

import httpx

# One app's whole quota is 333 requests/s, about 34 connections at 100 ms. httpx's own pool slows down with
# every idle connection, so there are only as many as the pollers use.
CONNECTIONS: Final = 16


def open_http(
    *, transport: httpx.AsyncBaseTransport | None = None, connections: int = CONNECTIONS
) -> httpx.AsyncClient:
    """A client for `source.client.Client`; the caller closes it. `transport` stands in for the network.

    Redirects are never followed: the key would travel along. There is no timeout here: the deadline of a
    request is set round all of it, once, by `Client`. Proxy variables and ~/.netrc of the environment are not
    heeded, so that nothing but the settings decides where the key goes; a private certificate authority is
    named by SSL_CERT_FILE or SSL_CERT_DIR. The certificates are read once in a process (45 ms).
    """
    limits = httpx.Limits(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=55
    )
    return httpx.AsyncClient(
        transport=transport or httpx.AsyncHTTPTransport(verify=_tls(), limits=limits, trust_env=False),
        headers={"accept": "application/json", "accept-encoding": "gzip", "user-agent": user_agent()},
        follow_redirects=False,
        timeout=None,  # noqa: S113 - see above
        trust_env=False,
    )


def user_agent() -> str:
    try:
        return f"cometwatch/{metadata.version('cometwatch')}"
    except metadata.PackageNotFoundError:  # run from a checkout
        return "cometwatch"


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()
