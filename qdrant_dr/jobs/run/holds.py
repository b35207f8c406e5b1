"""What is held, by all repositories together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from qdrant_dr.errors import CatalogIncomplete
from qdrant_dr.records import Hold
from qdrant_dr.repository import Repository, read_holds


def holds_of(repositories: Sequence[Repository], cluster: str) -> tuple[Hold, ...]:
    """Return every hold that any repository knows, each once; a release counts if every repository
    that has the hold has it, too. Raise CatalogIncomplete if one cannot be read: what it holds must
    not go."""
    found: dict[str, Hold] = {}
    where: defaultdict[str, set[str]] = defaultdict(set)
    for repository in repositories:
        read = read_holds(repository, cluster)
        if read.unreadable:
            bad = ", ".join(f"{u.repository}/{u.path}" for u in read.unreadable)
            raise CatalogIncomplete(f"holds cannot be read: {bad}", "nothing was deleted.")
        found |= {h.hold_id: h for h in read.records}
        for hold in read.records:
            where[hold.hold_id].add(repository.name)
    return tuple(
        hold.model_copy(
            update={"releases": tuple(r for r in hold.releases if where[r] <= where[hold.hold_id])}
        )
        if hold.releases
        else hold
        for hold in found.values()
    )
