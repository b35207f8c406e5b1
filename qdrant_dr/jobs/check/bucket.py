"""Can the bucket be read that servers in S3 mode put their snapshots into?"""

from __future__ import annotations

from collections.abc import Iterator

from qdrant_dr.cluster.bucket import probe
from qdrant_dr.config import Config
from qdrant_dr.errors import DownloadMismatch, DRError
from qdrant_dr.jobs.check.rows import CheckRow, degraded, failed, ok


def check_bucket(config: Config) -> Iterator[CheckRow]:
    """Yield one row where `cluster.snapshots_s3` is configured."""
    bucket = config.cluster.snapshots_s3
    if bucket is None:
        return
    scope, what = "cluster", "snapshots in S3"
    try:
        count = probe(bucket)
    except DownloadMismatch:
        yield degraded(
            scope,
            what,
            f"nothing lies at {bucket.url} yet: not proven that it is the servers' place",
            "make a first backup; if it does not find its snapshot there, correct the URL.",
        )
    except DRError as e:
        yield failed(scope, what, e)
    else:
        yield ok(scope, what, f"{bucket.url} can be listed, {count} entries")
