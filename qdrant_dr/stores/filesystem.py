"""A file system of fsspec for an object storage: its proxy, its trust and its patience are ours.

Time-outs are set, for the defaults wait for minutes on an endpoint that is dead. What a user's
`options` say goes before what is set here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from fsspec.asyn import get_loop

from qdrant_dr.config import Tls
from qdrant_dr.network import ca_file, client_pair, proxy_for, tls_context
from qdrant_dr.secrets import laid_over

CONNECT = 5  # seconds
READ = 60  # seconds without a byte
_GOOGLE = "https://storage.googleapis.com"


def make_filesystem(kind: str, options: Mapping[str, Any], tls: Tls) -> Any:
    """A new one of `s3`, `gs` or `az`; nothing is reached yet, except that some libraries look
    for credentials now. No listing or instance caches: what another process did must be seen.

    Raise ImportError, ConfigInvalid, and whatever the library makes of wrong options.
    """
    ours = {"use_listings_cache": False, "skip_instance_cache": True, "loop": get_loop()}
    if kind == "s3":
        from s3fs import S3FileSystem

        made = S3FileSystem(**laid_over(_of_s3(options, tls), options), **ours)
        made.retries = 2  # over those of the client: more would last longer than any deadline
        return made
    if kind == "gs":
        # what gcsfs tries otherwise is gRPC: every first call to an endpoint that is not Google's
        # waits a minute for it. this variable keeps it from even loading gRPC
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        from qdrant_dr.stores.gcs import FileSystem as Gcs

        return Gcs(**laid_over(_of_gcs(options, tls), options), **ours)
    from qdrant_dr.stores.azure import FileSystem as Azure

    return Azure(
        **{"connection_timeout": CONNECT, "read_timeout": READ, **options}, tls=tls, **ours
    )


def _of_s3(options: Mapping[str, Any], tls: Tls) -> dict[str, Any]:
    config: dict[str, Any] = {
        "connect_timeout": CONNECT,
        "read_timeout": READ,
        "retries": {"max_attempts": 2, "mode": "standard"},
        "tcp_keepalive": True,
        "max_pool_connections": 32,  # a catalog is thousands of small records
        "signature_version": "s3v4",  # signed URLs are of the second version otherwise
    }
    if pair := client_pair(tls):
        config["client_cert"] = pair
    inner = options.get("client_kwargs")
    endpoint = options.get("endpoint_url") or (inner or {}).get("endpoint_url")
    if endpoint:  # else the client knows its endpoint, and asks the environment by the same rule
        proxy = proxy_for(str(endpoint))
        config["proxies"] = {str(endpoint).partition(":")[0]: proxy} if proxy else {}
    return {"config_kwargs": config, "client_kwargs": {"verify": ca_file(tls)}}


def _of_gcs(options: Mapping[str, Any], tls: Tls) -> dict[str, Any]:
    import aiohttp

    endpoint = options.get("endpoint_url") or os.environ.get("STORAGE_EMULATOR_HOST") or _GOOGLE
    if "://" not in str(endpoint):
        endpoint = f"http://{endpoint}"
    return {
        "requests_timeout": aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=READ),
        "session_kwargs": {
            "connector": aiohttp.TCPConnector(ssl=tls_context(tls), loop=get_loop()),
            "proxy": proxy_for(str(endpoint)),
        },
    }
