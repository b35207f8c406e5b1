"""Calls to servers of tests, without the 20 ms of CPU in which `httpx.get` reads certificates.

    loopback.get(f"{server.url}/collections")

No connection is kept: servers end, and others get their ports.
"""

from __future__ import annotations

import httpx

loopback = httpx.Client(
    timeout=60,
    trust_env=False,
    verify=False,  # plain HTTP, there is nothing to verify
    limits=httpx.Limits(max_keepalive_connections=0),
)
