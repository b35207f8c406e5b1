"""The known object storages, by the short names of their protocols.

Which URL leads to which of them, or to a folder, stands in `repository/open_store`.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Mapping
from typing import Any

from fsspec.asyn import get_loop

from qdrant_dr.ambient_options import with_ambient
from qdrant_dr.config import Tls
from qdrant_dr.stores.azure import Azure
from qdrant_dr.stores.gcs import Gcs
from qdrant_dr.stores.provider import Provider
from qdrant_dr.stores.s3 import S3

PROVIDERS: Mapping[str, Provider] = {"s3": S3(), "gs": Gcs(), "az": Azure()}


def make_filesystem(
    kind: str, options: Mapping[str, Any], tls: Tls, loop: AbstractEventLoop | None = None
) -> Any:
    """Make a file system of `s3`, `gs` or `az`, without a call, except that some libraries look for
    credentials now. It has no listing or instance caches, so that changes by others are seen. Its
    calls run on `loop`, else on fsspec's, which is one for all.

    Raise ImportError, ConfigInvalid, and whatever the library raises for wrong options.
    """
    import qdrant_dr.stores.send_body  # noqa: F401 -- it registers how

    ours = {"use_listings_cache": False, "skip_instance_cache": True, "loop": loop or get_loop()}
    return PROVIDERS[kind].filesystem(with_ambient(kind, options), tls, **ours)
