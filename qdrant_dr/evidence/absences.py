"""Records that entries name and that are gone: which of them a later record explains.

Pure: names and paths in, words out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
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
    removed: tuple[str, ...] = ()
    """Others that an entry says its run removed: leftovers, slots of keys."""
    left_out: tuple[str, ...] = ()
    """Of folders that a bundle leaves out."""
    unexplained: tuple[str, ...] = ()

    def check(self, left_out: Sequence[str] = ()) -> Check:
        """Say what is gone, and whether something explains it; `left_out`: what a bundle has not,
        on purpose."""
        explained = [
            f"{count(len(paths), 'record')} {why}"
            for paths, why in (
                (self.expired, "of expired backups"),
                (self.removed, "that a run removed"),
                (self.left_out, f"left out of the bundle ({', '.join(left_out)})"),
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
            return Check("absences", "ok", f"explained: {', '.join(explained)}")
        return Check("absences", "ok", "nothing that an entry names is gone")


def explain(
    named: Mapping[str, Named],
    present: Set[str],
    tombstones: Collection[str],
    removed: Mapping[str, Named],
    left_out: tuple[str, ...] = (),
) -> Absences:
    """Sort the records that are gone by what explains them. `tombstones` are the paths below
    `expired/` whose records could be read, are what an entry named, and were not taken back;
    `removed` are those that a run says it removed, after an entry last named them."""
    expired: dict[str, int] = {}
    for path in tombstones:
        if (taken := layout.read_backup_path(path)) is not None and path in named:
            expired[taken.folder] = max(expired.get(taken.folder, 0), named[path].number)
    found: dict[str, list[str]] = {"expired": [], "removed": [], "left_out": [], "unexplained": []}
    for names, else_ in ((named, "unexplained"), (removed, "removed")):
        for path in names.keys() - present:
            taken = layout.read_backup_path(path) if path.startswith(f"{layout.BACKUPS}/") else None
            of_expired = taken and expired.get(taken.folder, 0) >= names[path].number
            left = else_ == "unexplained" and path.startswith(left_out)
            found["expired" if of_expired else "left_out" if left else else_].append(path)
    return Absences(**{why: tuple(sorted(paths)) for why, paths in found.items()})
