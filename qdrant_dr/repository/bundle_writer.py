"""Write bundles of what a look has read, and remove those that nobody needs any more."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Container, Sequence
from datetime import datetime
from functools import partial

from qdrant_dr import layout
from qdrant_dr.errors import Conflict, DRError
from qdrant_dr.repository.delete_permission import clean
from qdrant_dr.repository.record_bundles import (
    BATCH,
    Entry,
    encode,
    in_bundles,
    is_lapsed,
    md5_of,
    to_merge,
    worth_reading,
)
from qdrant_dr.repository.record_cache import RememberingStore, mark_of
from qdrant_dr.repository.record_memory import InBundle
from qdrant_dr.repository.repository import Repository
from qdrant_dr.stores.base import Stat, fill

log = logging.getLogger(__name__)
_TRIED = 5  # records that show whether the marks of a store are MD5s


def write_bundles(repository: Repository, now: datetime) -> None:
    """Put what was read since the repository was opened into bundles, where enough is in none.
    What fails is no error: a bundle saves requests, and nothing else."""
    store = repository.store
    if not isinstance(store, RememberingStore):
        return
    store.write_down()
    for folder in store.listed:
        try:
            _write_folder(repository, store, folder, now)
        except DRError as e:
            log.debug("no bundles of %s/%s: %s", repository.name, folder, e.message)


def _write_folder(
    repository: Repository, store: RememberingStore, folder: str, now: datetime
) -> None:
    listed, place = store.listed[folder], layout.bundles_of(folder)
    known = store.memory.marks(folder)
    read = {p: s for p, s in listed.items() if known.get(p) == mark_of(s)}
    before = {of.bundle for of in store.memory.bundled(folder).values()}
    bundled = _bundles(store, folder, before)
    new = [s for p, s in read.items() if p not in bundled]
    if place is None or len(new) < BATCH or not any(_content(store, s) for s in new[:_TRIED]):
        return
    there = {s.path: s for s in store.find(place) if layout.is_ours(s.path)}
    store.memory.forget_bundles(before - there.keys())
    # another one may have bundled them meanwhile
    others = worth_reading(there.values(), new, now, before)
    looked = before | store.unbundle(folder, others, there)
    bundled = _bundles(store, folder, there)
    if not store.memory.usable:
        return
    lapsed = {s.path for s in there.values() if is_lapsed(s, now)}
    unneeded = there.keys() & (looked | lapsed) - set(bundled.values())
    # where they stay, merging would leave more of them each time
    merged = to_merge(listed, bundled) if _remove(repository, store, unneeded) else frozenset()
    paths = [p for p in read if p not in bundled or bundled[p] in merged]
    if len(paths) < BATCH:
        return
    for some in in_bundles([read[path] for path in paths]):
        _write(store, f"{place}", some)
    _remove(repository, store, merged - set(_bundles(store, folder, there).values()))


def _bundles(store: RememberingStore, folder: str, there: Container[str]) -> dict[str, str]:
    """The bundle of each record that one has as it is now."""
    return {path: of.bundle for path, of in store.bundled(folder, there).items()}


def _remove(repository: Repository, store: RememberingStore, bundles: Collection[str]) -> bool:
    """Remove bundles; False where bundles may not be deleted."""
    for path in sorted(bundles):
        if (why := clean(repository, partial(store.delete, path))) is not None:
            log.debug("%s stays: %s", path, why)
            return False
        store.memory.forget_bundles([path])
    return not repository.append_only


def _content(store: RememberingStore, there: Stat) -> tuple[Entry, bytes] | None:
    """What a bundle says of a record, and its bytes; None if nobody could believe them there."""
    known = store.memory.recall(there.path, mark_of(there))
    if known is None or md5_of(known.data) != there.md5:
        return None
    entry = Entry(
        path=there.path, size_bytes=len(known.data), mark=there.mark, read_at=known.read_at
    )
    return entry, known.data


def _write(store: RememberingStore, place: str, records: Sequence[Stat]) -> None:
    contents = [found for s in records if (found := _content(store, s))]
    if not contents:
        return
    data = encode(contents)
    path = f"{place}/{hashlib.sha256(data).hexdigest()[:32]}.bundle"
    try:
        fill(store.sink(path, size_hint=len(data)), [data])
    except Conflict:
        log.debug("%s/%s is there already", store.name, path)
    stats = {s.path: s for s in records}
    store.memory.keep_bundled(
        {e.path: InBundle(mark_of(stats[e.path]), e.read_at, path) for e, _ in contents}
    )
