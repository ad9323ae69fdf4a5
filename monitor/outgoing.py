"""Outgoing HTTP, to CometChat and to receivers: whom we trust, and what no library may do unasked."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from functools import cache
from importlib import metadata

import httpx


def client(
    limits: httpx.Limits, headers: Mapping[str, str], *, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """A client that the caller closes. `transport` stands in for the network.

    Redirects are never followed: keys and alerts would travel along. There is no timeout here: deadlines are
    set once, round a whole exchange, by whoever asks. Proxy variables and ~/.netrc of the environment are
    not heeded, so that nothing but the settings decides where keys go; a private certificate authority is
    named by SSL_CERT_FILE or SSL_CERT_DIR.
    """
    return httpx.AsyncClient(
        transport=transport or httpx.AsyncHTTPTransport(verify=tls(), limits=limits, trust_env=False),
        headers={"user-agent": user_agent(), **headers},
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
def tls() -> ssl.SSLContext:
    """Whom we trust, for HTTP/1.1. The certificates are read once in a process (45 ms)."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
