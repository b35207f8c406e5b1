"""Records that entries name and that are gone: which of them a later record explains.

Pure: names and paths in, words out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from qdrant_dr import layout
from qdrant_dr.evidence.check import Check, some
from qdrant_dr.evidence.named import Named
from qdrant_dr.text import count


@dataclass(frozen=True, slots=True)
class Absences:
    """Paths of records that are gone, by why."""

    expired: tuple[str, ...] = ()
    """Files of backups that a record below `expired/`, itself in the ledger, says were to go."""
    taken_back: tuple[str, ...] = ()
    """Records that a copy was to go, beside the copy that stayed."""
    swept: tuple[str, ...] = ()
    """What a capture that came to nothing had left: no manifest was ever named."""
    keys: tuple[str, ...] = ()
    """Slots of keys, where a later entry is of a change of keys."""
    unexplained: tuple[str, ...] = ()

    def check(self) -> Check:
        """Say what is gone, and whether something explains it."""
        explained = [
            f"{count(len(paths), 'record')} {why}"
            for paths, why in (
                (self.expired, "of expired backups"),
                (self.taken_back, "of expiries that were taken back"),
                (self.swept, "of captures that came to nothing"),
                (self.keys, "of keys that were removed"),
            )
            if paths
        ]
        if self.unexplained:
            others = f"; explained: {', '.join(explained)}" if explained else ""
            return Check(
                "absences",
                "failed",
                f"{some(self.unexplained, 'record')} gone, and no entry explains it{others}",
                "`qdrant-dr replicate` brings back what another repository still has; an older "
                "version of the bucket tells when it went.",
            )
        if explained:
            return Check("absences", "ok", f"explained by later entries: {', '.join(explained)}")
        return Check("absences", "ok", "nothing that an entry names is gone")


def explain(
    named: Mapping[str, Named],
    present: Collection[str],
    tombstones: Collection[str],
    key_changes: Collection[int],
) -> Absences:
    """Sort the records that are gone by what explains them. `tombstones` are the paths below
    `expired/` whose records could be read, are what an entry named, and were not taken back."""
    expired: dict[str, int] = {}
    for path in tombstones:
        if (taken := layout.read_backup_path(path)) is not None and path in named:
            expired[taken.folder] = max(expired.get(taken.folder, 0), named[path].number)
    found: dict[str, list[str]] = {}
    for path in (path for path in named if path not in present):
        found.setdefault(_why(path, named, present, expired, key_changes), []).append(path)
    return Absences(**{why: tuple(sorted(paths)) for why, paths in found.items()})


def _why(
    path: str,
    named: Mapping[str, Named],
    present: Collection[str],
    expired: Mapping[str, int],
    key_changes: Collection[int],
) -> str:
    top = path.partition("/")[0]
    if top == layout.KEYS:
        later = any(number >= named[path].number for number in key_changes)
        return "keys" if later else "unexplained"
    taken = layout.read_backup_path(path)
    if taken is None:
        return "unexplained"
    manifest = f"{layout.BACKUPS}/{taken.folder}/{layout.MANIFEST}"
    if top == layout.EXPIRED:
        return "taken_back" if manifest in present else "unexplained"
    if top != layout.BACKUPS:
        return "unexplained"
    if expired.get(taken.folder, 0) >= named[path].number:
        return "expired"
    came_to_nothing = layout.call_of(taken.file) is not None and manifest not in named
    return "swept" if came_to_nothing else "unexplained"
