"""The plan of one restore of points: what would be written, or every reason why not. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from qdrant_dr.jobs.restore_points.compare_with_live import Surveyed
from qdrant_dr.jobs.restore_points.options import selection_words
from qdrant_dr.jobs.run.units import RestorePointsUnit
from qdrant_dr.quantities import format_size


@dataclass(frozen=True)
class PointsPlan:
    """What a restore of points would do. `surveyed` is None where the points were not compared:
    because it is refused, or because it is done at once."""

    source: str
    unit: RestorePointsUnit
    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    surveyed: Surveyed | None = None
    size_bytes: int = 0
    repositories: tuple[str, ...] = ()

    @property
    def possible(self) -> bool:
        return not self.refusals

    @property
    def title(self) -> str:
        """Say what is restored to where, in one line."""
        only = f", only {self.unit.only}" if self.unit.only else ""
        what = "" if self.unit.undoes else f" ({selection_words(self.unit)}{only})"
        return f"{self.source}{what} into {self.unit.name} on {self.unit.target}"

    @property
    def steps(self) -> tuple[str, ...]:
        """Say what is done, one step after the other."""
        found = self.surveyed
        if found is None:
            return ()
        if not found.to_write:
            return ("nothing: every point is as it is to be",)
        counts = found.counts
        places = ", ".join(self.repositories)
        write = ", ".join(
            f"{kind} {counts[kind]} points"
            for kind in ("create", "overwrite", "delete")
            if counts[kind]
        )
        size = format_size(self.size_bytes)
        return (
            f"keep what {found.to_write} points are now, as an undo record in {places}",
            f"{write} ({size}); what somebody changes meanwhile is left alone",
            "read every one of them back, and see that nothing else was touched",
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """Say what is left alone, and name the first points."""
        found = self.surveyed
        if found is None:
            return self.warnings
        said = []
        if found.first:
            named = ", ".join(f"{what} {point_id}" for what, point_id in found.first)
            said.append(f"first: {named}{', ...' * (found.to_write > len(found.first))}")
        if equal := found.counts["equal"]:
            said.append(f"{equal} points are as they are to be, and are not written")
        if changed := found.counts["changed"]:
            ids = ", ".join(map(str, found.changed))
            said.append(
                f"{changed} points were changed by somebody since and are left alone ({ids}); "
                "`--overwrite-changed` takes them back all the same"
            )
        if lacking := found.counts["lacking"]:
            ids = ", ".join(map(str, found.lacking))
            said.append(f"{lacking} points are not live, so that `--only` skips them ({ids})")
        return (*said, *self.warnings)


def room_reasons(unit: RestorePointsUnit, size_bytes: int, node_space: int | None) -> list[str]:
    """Refuse what a node has no room for: points are in the log and in a segment. No Qdrant call
    tells free space."""
    needed = 2 * size_bytes
    if node_space is None or needed <= node_space:
        return []
    return [
        (
            f"{unit.name!r} on {unit.target} needs about {format_size(needed)}, but a node has "
            f"only {format_size(node_space)} (`cluster.node_space`): free space first"
        )
    ]
