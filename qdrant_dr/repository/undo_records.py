"""Undo records of a repository: parts first, then the record that names them; read with care."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from qdrant_dr import layout
from qdrant_dr.errors import BytesDiffer, Conflict, ObjectMissing, RecordDamaged, RecordError
from qdrant_dr.records import (
    RestoredPoints,
    RunEnd,
    RunStart,
    UndoPart,
    UndoRecord,
    UndoSettled,
)
from qdrant_dr.repository.repository import Repository
from qdrant_dr.stores.base import Stat
from qdrant_dr.vault.pack_deletion_rules import ORPHAN_GRACE

UNDO_KEPT = timedelta(days=90)
"""How long the former state of points is kept after their restore."""
_TRIES = 5
_SELECTION = ("missing", "ids", "where", "every", "only")
"""The parameters of a run that say which points it restores, and what of them."""
R = TypeVar("R", UndoPart, UndoRecord, UndoSettled)


def put_undo_part(repository: Repository, part: UndoPart) -> None:
    """Keep one part, and read it back. Raise BytesDiffer if another one lies there then."""
    _put(repository, part, part.file)


def put_undo(repository: Repository, record: UndoRecord) -> None:
    """Complete an undo record whose parts are all there."""
    _put(repository, record, layout.UNDO_RECORD)


def put_settled(repository: Repository, record: UndoSettled) -> None:
    """Keep what the server made of points that it keeps otherwise than they were sent, but for what
    is kept here already: a run that was continued has settled some of them before. Raise
    BytesDiffer if others go on with the same run at the same time."""
    for _ in range(_TRIES):
        there = read_settled(repository, record)
        known = {pair for earlier in there for pair in earlier.points}
        new = tuple(pair for pair in record.points if pair not in known)
        if not new:
            return
        made = record.model_copy(update={"points": new, "number": len(there) + 1})
        try:
            _put(repository, made, made.file)
        except BytesDiffer:
            continue  # another machine that goes on with this run has taken the number
        return
    raise BytesDiffer(
        f"repository {repository.name}: other machines write what {record.run_id} has settled",
        "let one machine alone go on with that run: stop the others, and run the same command "
        "again.",
    )


def read_undo(repository: Repository, cluster: str, collection: str, run_id: str) -> UndoRecord:
    """Read the undo record of a run. Raise ObjectMissing if it is not there, or not complete."""
    return _read(UndoRecord, repository, cluster, collection, run_id, layout.UNDO_RECORD)


def read_undo_parts(repository: Repository, record: UndoRecord) -> Iterator[UndoPart]:
    """Yield the parts of an undo record in their order, each as it was written.

    Raise ObjectMissing or RecordDamaged."""
    for file in record.parts:
        part = _read(
            UndoPart, repository, record.cluster, record.collection, record.run_id, file.file
        )
        if part.sha256 != file.sha256:
            raise RecordDamaged(
                f"{repository.name}: {file.file} of the undo record of {record.run_id} is another "
                "one than was written"
            )
        yield part


def read_settled(
    repository: Repository, record: UndoRecord | UndoSettled
) -> tuple[UndoSettled, ...]:
    """Read what the server had made of points; nothing if it keeps all as they were sent."""
    of = record.cluster, record.collection, record.run_id
    found: list[UndoSettled] = []
    while True:
        wanted = UndoSettled(
            cluster=of[0], collection=of[1], run_id=of[2], points=(), number=len(found) + 1
        )
        try:
            found.append(_read(UndoSettled, repository, *of, wanted.file))
        except ObjectMissing:
            return tuple(found)


def find_undo(repository: Repository, cluster: str, run_id: str) -> str | None:
    """Return the path of the undo record of a run, of whatever collection; None if none lies
    here."""
    for there in repository.find(layout.undos(cluster)):
        found = _folder_and_run(there.path)
        if found is not None and found[1] == run_id and there.path.endswith(layout.UNDO_RECORD):
            return there.path
    return None


def read_undo_at(repository: Repository, path: str) -> UndoRecord:
    """Read the undo record at a path that `find_undo` gave."""
    return _parsed(repository, UndoRecord, path)


def _folder_and_run(path: str) -> tuple[str, str] | None:
    """Return the folder and the run of a file of an undo record; None if it is none."""
    if not layout.is_ours(path):
        return None
    folder, _, _ = path.rpartition("/")
    return folder, folder.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class LapsedUndos:
    """The files of undo records that go. `said` tells of each that was whole: that it goes, or why
    it stays though it is old."""

    files: tuple[Stat, ...] = ()
    said: tuple[str, ...] = ()


def lapsed_undos(repository: Repository, cluster: str, *, store_now: datetime) -> LapsedUndos:
    """Find the undo records that nobody needs any more: older than `UNDO_KEPT`, and of no run that
    did not end; or left by a run that died before they were complete, and so before it changed
    anything. None where none may be deleted. The record goes before its parts: what is left of it
    names no part."""
    if repository.append_only:
        return LapsedUndos()
    folders: dict[str, list[Stat]] = {}
    for there in repository.find(layout.undos(cluster)):
        if (found := _folder_and_run(there.path)) is not None:
            folders.setdefault(found[0], []).append(there)
    lapsed: list[Stat] = []
    said: list[str] = []
    for folder, files in sorted(folders.items()):
        whole = any(f.path.endswith(f"/{layout.UNDO_RECORD}") for f in files)
        newest = max(f.modified_at for f in files)
        if newest >= store_now - (UNDO_KEPT if whole else ORPHAN_GRACE):
            continue
        if whole:
            run = folder.rpartition("/")[2]
            of = f"the undo record of {run}, of {newest:%Y-%m-%d},"
            if why := _needed(repository, f"{folder}/{layout.UNDO_RECORD}", store_now):
                said.append(
                    f"{of} stays: {why}; run its command again, or take it back: "
                    f"`qdrant-dr restore --undo {run}`"
                )
                continue
            said.append(f"{of} is removed: that run cannot be taken back any more")
        lapsed += sorted(files, key=lambda f: not f.path.endswith(f"/{layout.UNDO_RECORD}"))
    return LapsedUndos(tuple(lapsed), tuple(said))


def _needed(repository: Repository, path: str, now: datetime) -> str | None:
    """Say why an undo record is still needed; None if the points of its run are as they were to be,
    or as they were before: by the end of that run, or of a later one that did the rest."""
    try:
        record = read_undo_at(repository, path)
        since = layout.time_of(record.run_id)
        if _settles(record, repository.read_end(record.run_id).records):
            return None
        starts, ends = repository.read_runs(since, now + timedelta(days=1))
    except RecordDamaged:
        return None  # nobody can use it, here
    except (RecordError, ObjectMissing) as e:
        return f"it cannot be read ({e.message})"
    began = next((s for s in starts.records if s.run_id == record.run_id), None)
    if _settles(record, ends.records, began):
        return None
    if ends.unreadable:
        return f"{len(ends.unreadable)} records of runs since cannot be read"
    return "that run did not end, so some points may be written and others not"


def _settles(record: UndoRecord, ends: Iterable[RunEnd], began: RunStart | None = None) -> bool:
    """Say whether one of these runs left nothing of the run half-done: it is that run or continued
    it, took it back, or did the same anew: from the same source into the same place, and all that
    was asked for when the run `began`. Pure."""
    for end in ends:
        for outcome in end.outcomes:
            did = outcome.detail
            if outcome.verdict == "failed" or not isinstance(did, RestoredPoints):
                continue
            if record.run_id in (did.undo_id, did.undoes):
                return True
            again = f"undo of {did.undoes}" if did.undoes else f"@{outcome.backup_id}"
            there = (did.target, did.name) == (record.target, record.collection)
            if there and record.source.endswith(again) and _same_points(began, end.start):
                return True
    return False


def _same_points(one: RunStart | None, other: RunStart) -> bool:
    """Whether both runs were asked for the same points. A file of ids may have had others in it."""
    if one is None:
        return False
    asked = [[run.parameters.get(name) for name in _SELECTION] for run in (one, other)]
    return asked[0] == asked[1] and one.parameters.get("ids") is None


def _put(repository: Repository, record: R, file: str) -> None:
    path = layout.in_undo(record.cluster, record.collection, record.run_id, file)
    with suppress(Conflict):  # two boxes of one record differ: what lies there is compared anyway
        repository.write_record(path, record)
    if _parsed(repository, type(record), path).sha256 != record.sha256:
        raise BytesDiffer(
            f"repository {repository.name}: {path} is not what was written there",
            "find out who else writes to that repository; nothing was changed in the collection.",
        )


def _read(
    kind: type[R], repository: Repository, cluster: str, collection: str, run_id: str, file: str
) -> R:
    return _parsed(repository, kind, layout.in_undo(cluster, collection, run_id, file))


def _parsed(repository: Repository, kind: type[R], path: str) -> R:
    record = repository.read_record(kind, path)
    if f"/{record.run_id}/" not in path:
        raise RecordDamaged(f"{repository.name}/{path} is of run {record.run_id}: misplaced")
    return record
