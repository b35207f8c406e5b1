"""Which two states are meant: backups as everywhere, `NAME@live`, or `live` of the other's name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from qdrant_dr.cluster.aliases import aliases_of
from qdrant_dr.cluster.recover import collection_names
from qdrant_dr.cluster.serving import whole_facts
from qdrant_dr.cluster.source_nodes import SourceNodes, open_sources
from qdrant_dr.config import Config
from qdrant_dr.errors import CollectionVanished, PlanRefused, UsageError
from qdrant_dr.jobs.compare_points.states import BackupState, LiveState, State
from qdrant_dr.jobs.read_points.opened_backup import look_up
from qdrant_dr.jobs.run.backup_selector import select, split
from qdrant_dr.jobs.run.catalogs import catalog_of, open_all

LIVE = "live"


def collections_of(one: str, two: str) -> tuple[str, str]:
    """Return the collection of each selector. Raise UsageError if neither names one, or if both
    are the same."""
    if one == two:
        raise UsageError(f"{one} is compared with itself", "name two backups, or one and `live`.")
    named = [None if s == LIVE else _collection(s) for s in (one, two)]
    first, second = named[0] or named[1], named[1] or named[0]
    if first is None or second is None:
        raise UsageError(f"{one} and {two} name no collection", "write NAME@live.")
    return first, second


def _collection(selector: str) -> str:
    live = selector.removesuffix(f"@{LIVE}")
    return live if live != selector else split(selector)[0]


@contextmanager
def open_states(
    config: Config, one: str, two: str, folder: Path, *, now: datetime
) -> Iterator[tuple[State, State]]:
    """Give the two states that are meant, archives below `folder`. Raise what `backup_state` and
    `live_state` raise, NodeUnreachable."""
    names = collections_of(one, two)
    with ExitStack() as stack:
        states: list[State] = []
        for n, (selector, collection) in enumerate(zip((one, two), names, strict=True)):
            if selector in (LIVE, f"{collection}@{LIVE}"):
                sources = stack.enter_context(open_sources(config, config.cluster.nodes))
                states.append(live_state(sources, collection))
            else:
                place = folder / f"archive-{n}"
                states.append(backup_state(config, selector, place, stack, now=now))
        yield states[0], states[1]


def backup_state(
    config: Config, selector: str, folder: Path, stack: ExitStack, *, now: datetime
) -> BackupState:
    """Find the backup that is meant; what it opens is closed with the `stack`. Raise what `select`
    and `look_up` raise, and the conflict."""
    opened, failed = open_all(config)
    catalog = catalog_of(config, opened, failed, collection=_collection(selector))
    backup = select(selector, catalog, proven=config.objectives.proven, now=now)
    if backup.conflict is not None:
        raise backup.conflict
    return BackupState(config, look_up(config, backup), folder, stack)


def live_state(sources: SourceNodes, collection: str) -> LiveState:
    """Find the collection on the cluster. Raise PlanRefused for an alias, or if not all of it
    answers, CollectionVanished."""
    node = sources.answering[0].node
    names = collection_names(node)
    if collection not in names:
        if target := aliases_of(node).get(collection):
            raise PlanRefused(
                f"{collection!r} is an alias of {target!r}", f"write {target}@{LIVE}."
            )
        raise CollectionVanished(
            f"the cluster has no collection {collection!r}",
            "compare two backups of it, or restore it: `qdrant-dr list` names them.",
        )
    return LiveState(node, collection, whole_facts(node, collection))
