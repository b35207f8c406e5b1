"""What a drill may use when something is lost: a narrower configuration, not a filter.

What is lost is not in the configuration that the run and its units work with, so nothing of it can
be opened, listed, read or written: there is no address to do it with.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from qdrant_dr.config import Config
from qdrant_dr.errors import PlanRefused, TargetNotDisposable, UsageError
from qdrant_dr.records import Played
from qdrant_dr.repository import Backup, counted_copies, newest, newest_proven

LOST_COLLECTION = "lost-collection"
LOST_NODE = "lost-node"
LOST_CLOUD = "lost-cloud"
NO_PREFECT = "no-prefect"
FORMS = (LOST_COLLECTION, LOST_NODE, f"{LOST_CLOUD}:NAME", NO_PREFECT)
DEAD_API = "http://127.0.0.1:1/api"
"""Nobody listens on port 1 (tcpmux) of loopback."""


def apply_scenario(config: Config, scenario: str | None) -> Config:
    """Return the configuration without what this scenario loses.

    `lost-node` and `lost-cloud:NAME` take every address and key of the cluster away (the
    configuration does not say which cloud it runs in), the latter also each repository in the
    failure domain of NAME: a provider is gone as a whole.
    Raise UsageError for words that are no scenario or a repository that is not configured, and
    PlanRefused if no repository is left.
    """
    if scenario is None:
        return config
    kind = _kind(config, scenario)
    if kind in (LOST_COLLECTION, NO_PREFECT):
        return config
    nowhere: dict[str, Any] = {"nodes": (), "peers": {}, "snapshots_s3": None}
    keyless: dict[str, Any] = {"api_key": None, "read_api_key": None}
    cluster = config.cluster.model_copy(update=nowhere | keyless)
    lost = unused(config, scenario)
    left = tuple(r for r in config.repositories if r.name not in lost)
    if not left:
        raise PlanRefused(
            f"under {scenario} nothing is left: every repository is in that failure domain",
            "configure a repository in another one: until then the loss of this one is final.",
        )
    return config.model_copy(update={"cluster": cluster, "repositories": left})


def unused(config: Config, scenario: str | None) -> tuple[str, ...]:
    """Return the names of the repositories that count as lost. Raise UsageError as `under` does."""
    if scenario is None or _kind(config, scenario) != LOST_CLOUD:
        return ()
    named = config.repository(scenario.partition(":")[2])
    assert named is not None
    return tuple(r.name for r in config.repositories if r.domain == named.domain)


def usable(config: Config, scenario: str | None) -> tuple[str, ...] | None:
    """Return the names of the repositories that a run may open; None for all. Raise as `under`
    does."""
    return (
        tuple(r.name for r in apply_scenario(config, scenario).repositories) if scenario else None
    )


def words(scenario: str, lost: Sequence[str] = ()) -> str:
    """Say what was not used."""
    if scenario == LOST_COLLECTION:
        return "the collection was not read from the cluster, as in every drill"
    if scenario == NO_PREFECT:
        return "nothing of Prefect was loaded or asked"
    gone = f"{', '.join(lost)} not opened, " if lost else ""
    return f"{gone}nothing asked of the cluster"


def refuse_impossible(config: Config, scenario: str | None, *, engine: str) -> None:
    """Raise what makes a drill under this scenario prove nothing, or endanger its source.

    PlanRefused for `no-prefect` in a process that has loaded Prefect. TargetNotDisposable for a
    scratch at an address of the cluster, which cannot be asked who it is when it is lost.
    """
    if scenario == NO_PREFECT and sys.modules.get("prefect") is not None:
        raise PlanRefused(
            "Prefect is loaded in this process: a drill in it shows nothing about being without it",
            "run `qdrant-dr drill --scenario no-prefect` in a shell.",
        )
    scratch = config.drill.scratch
    if scenario is None or engine != "server" or scratch is None:
        return
    from qdrant_dr.jobs.target.scratch import address  # all that is said to Qdrant hangs on it

    cluster = [*config.cluster.nodes, *config.cluster.peers.values()]
    if address(scratch.url) in {address(url) for url in cluster}:
        raise TargetNotDisposable(
            f"{scratch.url} is a node of cluster {config.cluster.name!r}",
            "a drill never restores into its source; give another server.",
        )


@contextmanager
def played(scenario: str | None) -> Iterator[None]:
    """Play the scenario inside the block. Under `no-prefect` no import of Prefect succeeds in this
    process, and child processes get an API address where nobody answers."""
    if scenario != NO_PREFECT:
        yield
        return
    before = os.environ.get("PREFECT_API_URL")
    os.environ["PREFECT_API_URL"] = DEAD_API
    sys.modules["prefect"] = None  # type: ignore[assignment]  # makes every import of it fail
    try:
        yield
    finally:
        del sys.modules["prefect"]
        if before is None:
            del os.environ["PREFECT_API_URL"]
        else:
            os.environ["PREFECT_API_URL"] = before


def standing_under(
    scenario: str,
    lost: Sequence[str],
    backups: Sequence[Backup],
    config: Config,
    *,
    restored: str | None,
    now: datetime,
) -> Played:
    """Return what is left of the promises about one collection. Pure.

    `backups` are those of the collection that were found in what is left; `restored` is the id of
    the one that this drill brought back equal, which proves it, too. Only the present incarnation
    counts: another life of the name is another collection.
    """
    last = newest(backups, now=now)
    alive = [b for b in backups if last and b.manifest.incarnation == last.manifest.incarnation]
    promise = config.objectives.proven
    proven = newest_proven(alive, depth=promise.depth, max_age=promise.max_age, now=now)
    best = newest([b for b in alive if b is proven or b.key.backup_id == restored], now=now)
    safe = counted_copies(best, now=now) if best else ()
    age = (now - best.manifest.captured_at).total_seconds() if best else None
    return Played(
        name=scenario,
        unused=tuple(lost),
        newest_proven_us=None if age is None else max(0, round(age * 1e6)),
        copies_left=len(safe),
        domains_left=len({c.domain for c in safe}),
    )


def _kind(config: Config, scenario: str) -> str:
    kind, colon, name = scenario.partition(":")
    if kind != LOST_CLOUD and not colon and scenario in FORMS:
        return kind
    if kind == LOST_CLOUD and config.repository(name) is not None:
        return kind
    known = [r.name for r in config.repositories]
    if kind == LOST_CLOUD:
        close = difflib.get_close_matches(name, known, 1) or known[:1]
        what = f"no repository is named {name!r}" if name else f"{LOST_CLOUD} needs a repository"
        raise UsageError(f"{what}; there are: {', '.join(known)}", f"say {kind}:{close[0]}.")
    close = difflib.get_close_matches(scenario, FORMS, 1)
    meant = f"did you mean {close[0]}? else " if close else ""
    raise UsageError(f"{scenario!r} is no scenario", f"{meant}say one of {', '.join(FORMS)}.")
