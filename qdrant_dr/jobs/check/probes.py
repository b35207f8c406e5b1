"""The probes of a check, and what becomes of those that nobody may remove."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from qdrant_dr import layout
from qdrant_dr.errors import DRError, RepositoryError
from qdrant_dr.repository import Stat, Store, is_refusal

LAST = "clock.json"
"""The probe that is written last."""
_ABANDONED = timedelta(minutes=10)


def kept_probes(store: Store) -> str | None:
    """Return the folder of probes that may not be removed; remove those that may."""
    old = None
    try:
        if (old := _left_before(store)) is not None:
            remove_probes(store, old)
    except DRError as e:
        return old if is_refusal(e) else None  # all else, the first probe tells
    return None


def _left_before(store: Store) -> str | None:
    """The folder of probes that an earlier check could not remove: complete, or of long ago."""
    found: dict[str, list[Stat]] = {}
    for there in store.find(layout.PROBES):
        _, folder, *rest = there.path.split("/")
        if rest:
            found.setdefault(folder, []).append(there)
    long_ago = datetime.now(UTC) - _ABANDONED
    return next(
        (
            f"{layout.PROBES}/{folder}"
            for folder, probes in sorted(found.items())
            if any(p.path.endswith(f"/{LAST}") for p in probes)
            or all(p.modified_at < long_ago for p in probes)
        ),
        None,
    )


def remove_probes(store: Store, folder: str) -> int:
    """Delete all probes of a folder; how many there were. Raise RepositoryError if some stay."""
    there = store.find(folder)
    for probe in there:
        store.delete(probe.path)
    for upload in store.open_uploads(folder):
        store.discard_upload(upload)
    if left := store.find(folder):
        raise RepositoryError(
            f"{store.name}: {len(left)} of {len(there)} probes are still there after deletion",
            f"remove {folder}/ by hand, and allow deleting.",
        )
    return len(there)
