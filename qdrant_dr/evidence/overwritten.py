"""Whether files of a ledger were written over or deleted, as a bucket that keeps versions tells.

Entries are created once and never changed: a second version shows that somebody did otherwise, even
where the bytes that lie there now agree with all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from qdrant_dr import layout
from qdrant_dr.errors import DRError
from qdrant_dr.evidence.check import Check, some


@runtime_checkable
class KeepsVersions(Protocol):
    """A store that may keep what was written over."""

    def replaced(self, folder: str) -> list[str] | None:
        """List objects that were written over or deleted; None if the bucket tells of none."""


@dataclass(frozen=True, slots=True)
class Overwritten:
    """What the versions of a bucket tell of a ledger; `told` is false where it keeps none."""

    paths: tuple[str, ...] = ()
    told: bool = True
    error: DRError | None = None

    @property
    def words(self) -> str:
        """What was written over, or why that is not known."""
        if self.paths:
            return f"{some(self.paths, 'object')} of the ledger had other bytes, or were deleted"
        if self.error is not None:
            return f"its versions cannot be listed ({self.error.code})"
        return "each object was written once, by its versions" if self.told else "no versions"

    def check(self) -> Check:
        """Say whether an entry was written over."""
        if self.paths:
            return Check(
                "versions",
                "doubt",
                self.words,
                "by hand: compare the versions of these objects: what was there before, and who "
                "wrote the later one?",
            )
        if self.told and self.error is None:
            return Check("versions", "ok", self.words)
        return Check(
            "versions",
            "not checked",
            f"{self.words}: an entry that was written over would not be seen by them",
            "by hand: let the bucket keep versions, and whoever verifies list them.",
        )


def find_overwritten(store: object, first: int = 1) -> Overwritten | None:
    """Ask for the versions of a ledger whose entries before the `first` were cut off on record.
    None for a store that has no such thing, as a disk."""
    if not isinstance(store, KeepsVersions):
        return None
    try:
        found = store.replaced(layout.EVIDENCE)
    except DRError as e:
        return Overwritten(error=e)
    if found is None:
        return Overwritten(told=False)
    return Overwritten(tuple(p for p in found if _is_written_once(p, first)))


def _is_written_once(path: str, first: int) -> bool:
    number = layout.number_beside(path)
    return path != layout.ALLOWED_SIGNERS and (number is None or number >= first)
