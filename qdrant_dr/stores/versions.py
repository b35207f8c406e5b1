"""What a bucket does with deleted objects: keeps versions, locks them, or lets them go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from qdrant_dr.errors import DRError, ObjectMissing


class Asks(Protocol):
    """The store, as far as it is needed here."""

    def call(self, doing: str, path: str, method: str, *args: Any, **given: Any) -> Any: ...


class Keeping(Protocol):
    """`hidden`: why deleted bytes stay, and what makes them go; None if they are gone at once."""

    hidden: str | None

    def locked_until(self, key: str) -> datetime | None:
        """Until when this object cannot go at all."""


class KeepingS3:
    """Versioning hides what is deleted behind a marker; object lock keeps its versions."""

    def __init__(self, store: Asks, bucket: str) -> None:
        self._store, self._bucket = store, bucket
        found = store.call(
            "asking for the versioning of", bucket, "_call_s3", "get_bucket_versioning",
            Bucket=bucket,
        )  # fmt: skip
        self.hidden: str | None = None
        if found.get("Status") == "Enabled":
            self.hidden = (
                f"bucket {bucket} keeps versions: a lifecycle rule NoncurrentVersionExpiration "
                "lets deleted ones go"
            )

    def locked_until(self, key: str) -> datetime | None:
        try:
            found = self._store.call(
                "asking for the lock of", key, "_call_s3", "head_object",
                Bucket=self._bucket, Key=key,
            )  # fmt: skip
        except ObjectMissing:
            return None
        until = found.get("ObjectLockRetainUntilDate")
        return until.astimezone(UTC) if isinstance(until, datetime) else None


class KeepingGCS:
    """Versions, and the days that Google keeps every deleted object for (soft delete)."""

    def __init__(self, store: Asks, bucket: str) -> None:
        try:
            found = store.call("asking about", bucket, "_call", "GET", f"b/{bucket}", json_out=True)
        except DRError:
            found = {}  # an account may write objects and not read its bucket's settings
        self.hidden: str | None = None
        soft = int(found.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0))
        if found.get("versioning", {}).get("enabled"):
            self.hidden = (
                f"bucket {bucket} keeps versions: a lifecycle rule on numNewerVersions or "
                "daysSinceNoncurrentTime lets deleted ones go"
            )
        elif soft:
            self.hidden = f"bucket {bucket} keeps deleted objects for {soft // 86400} days"

    def locked_until(self, key: str) -> datetime | None:  # noqa: ARG002
        return None  # a retention policy refuses the deletion itself


KEEPING: dict[str, Callable[[Asks, str], Keeping]] = {"s3": KeepingS3, "gs": KeepingGCS}
