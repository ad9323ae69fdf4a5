"""The connections to the API: as many as one app's quota needs, kept and packed."""

from __future__ import annotations

from typing import Final

import httpx

from monitor import outgoing

# One app's whole quota is 333 requests/s, about 34 connections at 100 ms. httpx's own pool slows down with
# every idle connection, so there are only as many as the pollers use.
CONNECTIONS: Final = 16


def open_http(
    *, transport: httpx.AsyncBaseTransport | None = None, connections: int = CONNECTIONS
) -> httpx.AsyncClient:
    """A client for `source.client.Client`, as `outgoing.client` describes it."""
    limits = httpx.Limits(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=55
    )
    headers = {"accept": "application/json", "accept-encoding": "gzip"}
    return outgoing.client(limits, headers, transport=transport)
