"""The tables of packs: one ranged request for the end of each, remembered on this machine."""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from qdrant_dr.disk import closed_to_others
from qdrant_dr.errors import BlockMissing, BoxDamaged, KeyMissing, ObjectMissing, RecordUnknown
from qdrant_dr.stores.base import Stat, Store
from qdrant_dr.vault.box import NeedsMore, Table, check_box, note_key, read_table
from qdrant_dr.vault.master_key import Keyring

log = logging.getLogger(__name__)

_TAIL = 64 * 1024
_IN_MEMORY = 256
_BLAMED = 2  # tries: a table of before a repair is read anew


class Tables:
    """Reads tables of one repository. Safe to use from several threads.

    `folder` keeps them as they were read, so encrypted ones stay so; None: there is nothing to
    save, or no place. An object that changed is another one: it is known by name, size, mark and
    time. One that rots keeps all of these, so whoever says that a copy is good, or reads its bytes,
    takes tables that nobody has read before.
    """

    def __init__(self, store: Store, keys: Keyring | None, folder: Path | None = None) -> None:
        self._store, self._keys = store, keys
        self._folder = _usable(folder)
        self._read: OrderedDict[tuple[str, str], Table] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, pack: Stat) -> Table:
        """Return the table of a pack. Raise BoxDamaged, KeyMissing."""
        at = pack.path, _mark(pack)
        with self._lock:
            if (known := self._read.get(at)) is not None:
                self._read.move_to_end(at)
                return known
        table = self._fetch(pack)
        self.keep(pack, table)
        return table

    def keep(self, pack: Stat, table: Table) -> None:
        """Hold a table in memory, as long as there are not too many."""
        with self._lock:
            self._read[pack.path, _mark(pack)] = table
            if len(self._read) > _IN_MEMORY:
                self._read.popitem(last=False)

    def forget(self, pack: Stat) -> None:
        """Read the table anew when it is asked for again."""
        with self._lock:
            self._read.pop((pack.path, _mark(pack)), None)
        if self._folder is not None:
            with suppress(OSError):
                self._file(self._folder, pack).unlink(missing_ok=True)

    def _fetch(self, pack: Stat) -> Table:
        wanted = min(_TAIL, pack.size_bytes)
        tail = self._recall(pack)
        fresh = tail is None
        for _ in range(_BLAMED):
            if tail is None:
                tail = read_piece(self._store, pack.path, pack.size_bytes - wanted, pack.size_bytes)
            try:
                table = read_table(pack.path, tail, pack.size_bytes, self._keys)
            except NeedsMore as e:
                wanted, tail, fresh = e.size, None, True
                if wanted > pack.size_bytes:
                    break
                continue
            except (KeyMissing, RecordUnknown):
                # a flipped bit may look like another key or format; rot shows without any
                check_box(pack.path, self._store.read_range(pack.path))
                note_key(pack.path, tail, self._keys)
                raise
            if fresh:
                self._remember(pack, tail)
            return table
        raise BoxDamaged(f"{pack.path}: its table is larger than the pack")

    def _file(self, folder: Path, pack: Stat) -> Path:
        return folder / hashlib.sha256(f"{pack.path} {_mark(pack)}".encode()).hexdigest()[:32]

    def _recall(self, pack: Stat) -> bytes | None:
        if self._folder is None:
            return None
        try:
            data = self._file(self._folder, pack).read_bytes()
        except OSError:
            return None
        digest, tail = data[:32], data[32:]
        return tail if hashlib.sha256(tail).digest() == digest else None

    def _remember(self, pack: Stat, tail: bytes) -> None:
        if self._folder is None:
            return
        file = self._file(self._folder, pack)
        new = file.with_suffix(f".{secrets.token_hex(4)}")
        try:
            new.write_bytes(hashlib.sha256(tail).digest() + tail)
            new.replace(file)
        except OSError as e:  # it can be read again
            log.info("tables of packs are not remembered: %s", e)
            self._folder = None


def read_piece(store: Store, path: str, start: int, end: int) -> bytes:
    """Return exactly these bytes of a pack. Raise BlockMissing if it is gone, BoxDamaged if it has
    fewer."""
    try:
        data = b"".join(store.read_range(path, start, end))
    except ObjectMissing:
        raise BlockMissing(f"{path} is not there") from None
    if len(data) != end - start:
        raise BoxDamaged(f"{path} ends at byte {start + len(data)}, before {end}")
    return data


def _mark(pack: Stat) -> str:
    return f"{pack.size_bytes} {pack.mark} {pack.modified_at.timestamp():.6f}"


def _usable(folder: Path | None) -> Path | None:
    """The folder, if it is ours alone: whoever can write to it could make us name other blocks."""
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if strange := [p for p in (folder.parent, folder) if not closed_to_others(p)]:
            log.info("%s is not used: %s is not ours alone", folder, strange[0])
            return None
    except OSError as e:
        log.info("%s is not used: %s", folder, e)
        return None
    return folder
