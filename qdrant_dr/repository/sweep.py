"""Unfinished things: found, judged by the store's clock, and removed when they are surely dead."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from qdrant_dr.errors import PlanRefused
from qdrant_dr.layout import BUNDLES, call_of, is_ours
from qdrant_dr.records import Intent
from qdrant_dr.repository.catalog import Catalog, Unfinished
from qdrant_dr.repository.delete_permission import clean
from qdrant_dr.repository.foreign_objects import strangers_in_words
from qdrant_dr.repository.record_bundles import is_lapsed
from qdrant_dr.repository.repository import Repository
from qdrant_dr.stores.base import OpenUpload, Stat
from qdrant_dr.vault.pack_deletion_rules import ORPHAN_GRACE, may_commit

_NAMED = 3


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What of one repository goes, and what stays and why. `reason` refuses all of it."""

    repository: str
    folders: tuple[Unfinished, ...] = ()
    uploads: tuple[OpenUpload, ...] = ()
    kept: tuple[str, ...] = ()
    refused: str | None = None
    bundles: tuple[Stat, ...] = ()
    undos: tuple[Stat, ...] = ()


@dataclass(frozen=True, slots=True)
class Sweeping:
    """What was removed, what was kept, and what the store refused to remove, in words."""

    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def refuse_late_commit(
    intent: Intent, *, now: datetime, orphan_grace: timedelta = ORPHAN_GRACE
) -> None:
    """Refuse the commit of a run older than half of `orphan_grace`: a sweep may be at its parts.

    Raise PlanRefused.
    """
    if not may_commit(intent.started_at, now=now, grace=orphan_grace):
        raise PlanRefused(
            f"the capture of {intent.collection} began at "
            f"{intent.started_at:%Y-%m-%d %H:%M:%S} UTC, "
            f"more than {orphan_grace / 2} ago: its manifest is not written any more",
            "find out what took so long, then run `qdrant-dr backup COLLECTION` again.",
        )


def plan_sweep(
    catalog: Catalog,
    repository: str,
    *,
    store_now: datetime,
    orphan_grace: timedelta = ORPHAN_GRACE,
) -> SweepPlan:
    """Decide what is swept; `store_now` is by clocks that were compared with the store's. A partly
    readable catalog sweeps nothing, and what any record names as a backup stays, whatever it lacks.
    """
    if not catalog.complete:
        unread = [r.name for r in catalog.unreachable] + [u.path for u in catalog.unreadable]
        return SweepPlan(repository, refused=f"not everything could be read: {', '.join(unread)}")
    before = store_now - orphan_grace
    folders: list[Unfinished] = []
    kept: list[str] = []
    for found in catalog.unfinished:
        if found.repository != repository or found.expired:
            continue  # `expire` finishes it, and what it leaves goes with its packs
        # the records of its calls are all that is known of what lies on a node: they stay until
        # the sweep of that node finds nothing there
        data = tuple(f for f in found.files if not call_of(f.path.rpartition("/")[2]))
        if not data:
            continue
        if why := _kept(catalog, found, before):
            kept.append(f"{found.folder}: {why}")
        else:
            folders.append(replace(found, files=data))
    uploads: list[OpenUpload] = []
    for upload in catalog.uploads.get(repository, ()):
        if not is_ours(upload.path):
            kept.append(f"{upload.path}: an upload that is not ours")
        elif upload.started_at > before:
            kept.append(f"{upload.path}: an upload of {upload.started_at:%Y-%m-%d %H:%M:%S} UTC")
        else:
            uploads.append(upload)
    return SweepPlan(repository, tuple(folders), tuple(uploads), tuple(kept))


def lapsed_bundles(repository: Repository, *, store_now: datetime) -> tuple[Stat, ...]:
    """Return bundles of records that nobody takes anything from any more; none where none may be
    deleted."""
    if repository.append_only:
        return ()
    before = store_now - ORPHAN_GRACE
    every = repository.store.find(BUNDLES)
    return tuple(s for s in every if is_ours(s.path) and is_lapsed(s, before))


def _kept(catalog: Catalog, found: Unfinished, before: datetime) -> str | None:
    """Why what a capture left stays; None if it goes."""
    if why := needed(catalog, found):
        return why
    newest = max(f.modified_at for f in found.files)
    return f"written to at {newest:%Y-%m-%d %H:%M:%S} UTC" if newest > before else None


def needed(catalog: Catalog, found: Unfinished) -> str | None:
    """Say why what lies in a folder without a manifest stays, whatever its age; None if nothing
    keeps it. Of a copy that is on record as going, only what lies beside it does."""
    if not found.expired:
        if found.folder in catalog.folders:
            return "committed elsewhere, `replicate` completes it"
        if found.named:
            return "it was a backup, see `qdrant-dr status`"
    if beside := catalog.strangers_beside(found.repository, found.folder):
        return f"in it {strangers_in_words(beside)}"
    return None


def sweep(repository: Repository, plan: SweepPlan) -> Sweeping:
    """Carry a plan out, data first and intents last. What the store refuses to remove stays, while
    the rest goes. Raise what else the store raises."""
    if plan.refused is not None:
        return Sweeping(kept=(plan.refused,))
    gone: list[str] = []
    stays: list[str] = []
    why = None
    doing = [(u.path, partial(repository.discard_upload, u)) for u in plan.uploads]
    doing += [
        (u.folder, partial(repository.delete_unfinished, u.folder, u.files)) for u in plan.folders
    ]
    for what, remove in doing:
        refused = clean(repository, remove)
        (gone if refused is None else stays).append(what)
        why = why or refused
    for bundle in plan.bundles:
        if clean(repository, partial(repository.store.delete, bundle.path)) is not None:
            break  # where they stay, they harm nobody
        gone.append(bundle.path)
    for file in plan.undos:
        if clean(repository, partial(repository.delete, file.path)) is not None:
            break
        gone.append(file.path)
    left = f"{len(stays)} unfinished of dead runs stay ({', '.join(stays[:_NAMED])}): {why}"
    return Sweeping(tuple(gone), plan.kept, (left,) if why else ())
