"""What this thread's work writes and removes, noted for the ledger.

A context variable, like that of `log_context`: threads of a unit get a copy of the context and note
into the same list. What other processes wrote comes back in the outcomes of their units.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from qdrant_dr import layout
from qdrant_dr.records.ledger import Change

_noting: ContextVar[tuple[list[Change], ...]] = ContextVar("noting", default=())


@contextmanager
def noting_changes() -> Iterator[list[Change]]:
    """Note in this block what is written and removed; whoever notes around it does so, too."""
    noted: list[Change] = []
    token = _noting.set((*_noting.get(), noted))
    try:
        yield noted
    finally:
        _noting.reset(token)


def note_from_here() -> list[Change]:
    """Note from here on, for a run, whatever was noted before."""
    noted: list[Change] = []
    _noting.set((noted,))
    return noted


def note_written(repository_id: str, path: str, data: bytes) -> None:
    """Note that a record was written."""
    if _noting.get() and layout.in_ledger(path):
        _note(Change(
            repository_id=repository_id, path=path,
            sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data),
        ))  # fmt: skip


def note_removed(repository_id: str, path: str, size_bytes: int) -> None:
    """Note that a record was removed, of this size."""
    if layout.in_ledger(path):
        _note(Change(repository_id=repository_id, path=path, sha256=None, size_bytes=size_bytes))


def last_changes(changes: Iterable[Change], repository_id: str) -> dict[str, Change]:
    """Return what each record of a repository came to, by its path."""
    return {c.path: c for c in changes if c.repository_id == repository_id}


def removals(changes: Iterable[Change], repository_id: str) -> tuple[Change, ...]:
    """Return the first removal of each record of a repository, by path; also of what was written
    anew."""
    found: dict[str, Change] = {}
    for change in changes:
        if change.repository_id == repository_id and change.sha256 is None:
            found.setdefault(change.path, change)
    return tuple(found[path] for path in sorted(found))


def _note(change: Change) -> None:
    for noted in _noting.get():
        noted.append(change)
