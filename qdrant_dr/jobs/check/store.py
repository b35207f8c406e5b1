"""What a store must be able to do, tried on probe objects that are removed again.

Everything lies below `probes/<random>/`, which no backup, proof or run ever uses. Where nothing may
be deleted they stay, and every later check tries the same ones again: nothing piles up.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

from qdrant_dr import layout
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import (
    BytesDiffer,
    CatalogIncomplete,
    ClockSkew,
    Conflict,
    DRError,
    RepositoryDenied,
    RepositoryError,
    StoreOverwrites,
)
from qdrant_dr.jobs.check.keys import check_keys
from qdrant_dr.jobs.check.probes import LAST, kept_probes, remove_probes
from qdrant_dr.jobs.check.rows import CheckRow, degraded, failed, ok, skipped
from qdrant_dr.jobs.run.clocks import clock_text, store_clock
from qdrant_dr.quantities import format_size
from qdrant_dr.repository import Repository, Store, is_refusal, open_repository
from qdrant_dr.stores.base import fill

ROUNDS = 4
"""Races per store: a store that checks first and writes then loses one of them sooner or later."""
LOOK_SECONDS = 60.0
PART = 64 * 1024
WRITTEN = b"what a probe of `qdrant-dr check` holds: always the same bytes.\n" * 16


def check_repository(
    cfg: RepositoryConfig, *, stall_timeout: timedelta, skew_limit: timedelta, read_only: bool
) -> Iterator[CheckRow]:
    """Open one repository and try what backups will ask of it; what fails is a row."""
    scope = f"repository {cfg.name}"
    try:
        repository = open_repository(cfg, stall_timeout=stall_timeout)
    except DRError as e:
        yield failed(scope, "open", e)
        return
    yield ok(scope, "open", f"id {repository.id} at {repository.location}")
    if repository.keys is not None:
        yield check_keys(scope, cfg, repository)
    if read_only:
        yield from _only_read(scope, repository)
        return
    folder = kept_probes(repository.store) or f"{layout.PROBES}/{secrets.token_hex(8)}"
    try:
        yield from _write(scope, cfg, repository.store, folder, skew_limit)
    finally:
        yield from _clean(scope, cfg, repository.store, folder)


def _only_read(scope: str, repository: Repository) -> Iterator[CheckRow]:
    yield _tried(scope, "list", lambda: _count(repository))
    for what in ("write", "create-only", "part", "second process", "clock", "delete"):
        yield skipped(scope, what, "not proven: --read-only")


def _write(
    scope: str, cfg: RepositoryConfig, store: Store, folder: str, skew_limit: timedelta
) -> Iterator[CheckRow]:
    wrote = _tried(scope, "write", partial(_record, store, folder))
    yield wrote
    if wrote.state == "failed":
        return  # all that follows would only say so again
    yield _tried(scope, "create-only", partial(_race, store, folder))
    yield _tried(scope, "part", partial(_part, store, folder))
    if cfg.url.startswith("memory:"):
        yield skipped(scope, "second process", "not proven: the memory of one process")
    else:
        yield _tried(scope, "second process", partial(_second_process, cfg, store, folder))
    clock = _tried(scope, "clock", partial(_clock, store, folder, skew_limit))
    if clock.code == RepositoryDenied.code:  # a retention rule keeps the earlier probe as it is
        clock = skipped(scope, "clock", f"not proven, a run compares it: {clock.found}")
    yield clock


def _tried(scope: str, what: str, attempt: Callable[[], str]) -> CheckRow:
    try:
        return ok(scope, what, attempt())
    except DRError as e:
        return failed(scope, what, e)


def _count(repository: Repository) -> str:
    return f"{len(repository.store.find('backups'))} objects below backups/"


def _record(store: Store, folder: str) -> str:
    """A small object, read back whole and in a range."""
    path, data = f"{folder}/record.json", WRITTEN
    try:
        _put(store, path, data)
    except DRError as e:
        if not is_refusal(e) or store.stat(path) is None:
            raise
        # a retention rule keeps the earlier one: one more a day shows that writing is allowed
        path = f"{folder}/record-{datetime.now(UTC):%Y%m%d}.json"
        store.create(path, data)
    if (back := store.read(path)) != data:
        raise BytesDiffer(f"wrote {len(data)} bytes and read {len(back)} others back", _SUSPECT)
    if b"".join(store.read_range(path, 100, 200)) != data[100:200]:
        raise BytesDiffer("a range of an object is not the bytes in that range", _SUSPECT)
    return f"{format_size(len(data))}, read back equal"


def _put(store: Store, path: str, data: bytes) -> None:
    """Create an object, or replace the one that an earlier check could not remove."""
    if store.stat(path) is None:
        store.create(path, data)
        return
    fill(store.sink(path, size_hint=len(data), replace=True), [data])


def _race(store: Store, folder: str) -> str:
    """Two writers at once want one name with different content: exactly one may win.

    A name that an earlier check could not free must not be overwritten, and a race that was lost
    then is lost still. Raise StoreOverwrites if both won, or if the winner's bytes are not what is
    there.
    """
    lost = f"{folder}/race-lost.json"
    if store.stat(lost) is not None:
        raise StoreOverwrites(
            f"{store.name}: two writers of one name both won a race of an earlier check",
            f"when that is mended, remove {folder}/ by hand, and check again.",
        )
    taken = 0
    for turn in range(ROUNDS):
        path = f"{folder}/race-{turn}.json"
        if store.stat(path) is not None:
            _third(store, path)
            taken += 1
            continue
        contents = [secrets.token_hex(64).encode() for _ in range(2)]
        start = threading.Barrier(2, timeout=LOOK_SECONDS)

        def compete(data: bytes, path: str = path, start: threading.Barrier = start) -> bool:
            start.wait()
            return _created(store, path, data)

        with ThreadPoolExecutor(2) as pool:
            won = list(pool.map(compete, contents))
        if won == [False, False]:
            raise RepositoryError(f"{store.name}: two writers of one name, and neither won")
        if all(won) or store.read(path) != contents[won.index(True)]:
            _put(store, lost, b"lost")  # where probes stay, the next check must know
            raise StoreOverwrites(f"{store.name}: two writers of one name both won a race")
        _third(store, path)
    if taken:
        return f"{taken} names of earlier races were refused to a later writer"
    return f"{ROUNDS} races of two writers, one winner each; a later third was refused"


def _third(store: Store, path: str) -> None:
    there = store.read(path)
    if _created(store, path, b"a third, later") or store.read(path) != there:
        raise StoreOverwrites(f"{store.name}: an object was overwritten by a create-only write")


def _created(store: Store, path: str, data: bytes) -> bool:
    try:
        store.create(path, data)
    except Conflict:
        return False
    return True


def _part(store: Store, folder: str) -> str:
    """A part is invisible until its commit; a given-up one leaves nothing. That of an earlier check
    must still be whole."""
    path, data = f"{folder}/part.snapshot", WRITTEN * (PART // len(WRITTEN))
    if store.stat(path) is not None:
        if b"".join(store.read_range(path)) != data:
            raise BytesDiffer(f"{store.name}: the part of an earlier check is not whole", _SUSPECT)
        return f"{format_size(PART)} of an earlier check, whole"
    for commit in (False, True):
        sink = store.sink(path, size_hint=PART)
        try:
            sink.write(data)
            if (early := store.stat(path)) is not None:
                raise RepositoryError(
                    f"{store.name}: {early.size_bytes} bytes were visible before their commit",
                    _SUSPECT,
                )
            if commit:
                sink.commit()
        finally:
            sink.abort()
    there = store.stat(path)
    if there is None or there.size_bytes != PART:
        raise BytesDiffer(f"{store.name}: a part of {PART} bytes did not arrive whole", _SUSPECT)
    return f"{format_size(PART)}, visible at its commit only"


def _second_process(cfg: RepositoryConfig, store: Store, folder: str) -> str:
    """Another process must see the same objects at once: no cache stands in between."""
    ours = {there.path for there in store.find(folder)}
    command = [sys.executable, "-m", "qdrant_dr.repository.list_store", folder]
    try:
        done = subprocess.run(
            command,
            input=cfg.model_dump_json(),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            timeout=LOOK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RepositoryError(
            f"{store.name}: a second process did not list it in {LOOK_SECONDS:.0f} s"
        ) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RepositoryError(f"{store.name}: a second process could not list it: {last}")
    theirs = set(done.stdout.splitlines())
    if not ours or ours != theirs:
        raise CatalogIncomplete(
            f"{store.name}: we list {len(ours)} objects, a second process {len(theirs)}",
            "this store lists late or from a cache: backups could be overlooked. use another.",
        )
    return f"lists the same {len(ours)} objects"


def _clock(store: Store, folder: str, limit: timedelta) -> str:
    """The store's clock against ours, by the time it gives an object that we just wrote."""
    before = datetime.now(UTC)
    _put(store, f"{folder}/{LAST}", b"what time is it?")
    after = datetime.now(UTC)
    there = store.stat(f"{folder}/{LAST}")
    if there is None:
        raise RepositoryError(f"{store.name}: what was just written is not there", _SUSPECT)
    clock = store_clock(there, before, after)
    if clock.exceeds(limit):
        raise ClockSkew(f"{store.name}: its clock is {clock_text(clock)} from ours")
    return f"{clock_text(clock)} from ours"


def _clean(scope: str, cfg: RepositoryConfig, store: Store, folder: str) -> Iterator[CheckRow]:
    """Remove the probes. A key that may not is no fault: it is what protects backups from it."""
    try:
        count = remove_probes(store, folder)
    except DRError as e:
        if not is_refusal(e):
            yield failed(scope, "delete", e)
            return
        left = f"{len(store.find(folder))} probes stay in {folder}/, and are used again"
        if cfg.append_only:
            yield ok(scope, "delete", f"refused, as it should be: append-only; {left}")
        else:
            yield skipped(scope, "delete", f"{e.message}: {left}. {_MEANT}")
        return
    if count and cfg.append_only:
        yield degraded(
            scope, "delete", f"{count} probes removed, though `append_only: true`", _LOOSE
        )
    elif count:
        yield ok(scope, "delete", f"{count} probes removed")


_MEANT = "say `append_only: true` if that is meant; else `expire` needs the permission to delete"
_LOOSE = (
    "take the permission to delete from this key, or `append_only` out of the configuration: it "
    "protects nothing as long as whoever has the key may delete."
)
_SUSPECT = "do not use this store before you know why."
