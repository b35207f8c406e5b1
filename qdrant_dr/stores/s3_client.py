"""Use s3fs with sessions that end on the loop that they belong to.

Its own code ends a session on whatever loop drops it, which fails if that is another one."""

from __future__ import annotations

from typing import Any

from s3fs import S3FileSystem

from qdrant_dr.stores.loops import end_on


class FileSystem(S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """The same calls as s3fs's."""

    @staticmethod
    def close_session(loop: Any, s3: Any) -> None:
        if loop is not None and loop.is_running():
            end_on(loop, lambda: s3.__aexit__(None, None, None))
        else:
            S3FileSystem.close_session(loop, s3)
