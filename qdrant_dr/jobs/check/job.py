"""`check` as a job: what a backup will need is tried, and on request every replica is read."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from qdrant_dr.cluster import Inventory
from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, NothingSelected
from qdrant_dr.jobs.check import Told, nobody, try_everything
from qdrant_dr.jobs.check.nodes import ClusterCheck
from qdrant_dr.jobs.check.rows import Checked, CheckRow, degraded, ok, skipped
from qdrant_dr.jobs.run.run import Run
from qdrant_dr.jobs.run.units import CompareUnit, Perform
from qdrant_dr.records import Compared, Outcome, RunEnd
from qdrant_dr.records.base import Frozen


class CheckRequest(Frozen):
    """What this run is asked for. `replicas`: how much is read of each, None: they are not compared
    at all; `collections` and `seed` are of that."""

    repositories: tuple[str, ...] | None = None
    read_only: bool = False
    replicas: Literal["sample", "whole"] | None = None
    collections: tuple[str, ...] | None = None
    seed: int | None = Field(None, ge=0)


def check(config: Config, request: CheckRequest, run: Run, perform: Perform) -> RunEnd:
    """Check and conclude. What failed makes the run fail, what is doubtful degrades it."""
    try:
        checked, outcomes = run_checks(config, request, perform)
    except DRError as e:
        return run.finish(config, outcomes=(), error=e)
    return conclude_check(config, run, checked, outcomes)


def run_checks(
    config: Config, request: CheckRequest, perform: Perform, told: Told = nobody
) -> tuple[Checked, list[Outcome]]:
    """Return all rows, those of replicas last, and the outcomes made of them.

    Raise NothingSelected for a name that is not configured, or not on the cluster.
    """
    cluster = ClusterCheck(config)
    rows = try_everything(
        config, cluster, request.repositories, read_only=request.read_only, told=told
    )
    outcomes: list[Outcome] = []
    if request.replicas is not None:
        if cluster.inventory is None:
            more = [skipped("replicas", "compared", "not proven: the collections are not known")]
        else:
            outcomes = perform(plan_compare(config, request, cluster.inventory))
            more = [_row(outcome) for outcome in outcomes]
        for row in more:
            told(row)
        rows += more
    return Checked(tuple(rows)), outcomes


def conclude_check(
    config: Config, run: Run, checked: Checked, outcomes: Sequence[Outcome]
) -> RunEnd:
    """Build the end record of a check."""
    of_units = {f"collection {o.collection}" for o in outcomes}
    wrong = [
        f"{r.scope}: {r.what}: {r.found}"
        for r in checked.rows
        if r.state == "failed" and not (r.what == COMPARED and r.scope in of_units)
    ]
    return run.finish(config, outcomes=outcomes, objections=wrong)


def plan_compare(
    config: Config, request: CheckRequest, inventory: Inventory
) -> tuple[CompareUnit, ...]:
    """Plan a unit for each included collection, or for the named ones. Pure, apart from a new seed.

    Raise NothingSelected for a name that is not there.
    """
    assert request.replicas is not None
    rules = config.collections
    names = [n for n in inventory.names if rules.decide(n).status == "included"]
    if request.collections is not None:
        if absent := sorted(set(request.collections) - set(inventory.names)):
            raise NothingSelected(f"there is no collection {', '.join(absent)} on the cluster")
        names = list(dict.fromkeys(request.collections))
    seed = None
    if request.replicas == "sample":
        seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    nodes = tuple(n.url for n in inventory.nodes)
    return tuple(
        CompareUnit(collection=name, nodes=nodes, reading=request.replicas, seed=seed)
        for name in names
    )


COMPARED = "compared"


def _row(outcome: Outcome) -> CheckRow:
    scope = f"collection {outcome.collection}"
    if outcome.error is not None:
        return CheckRow(
            scope=scope, what=COMPARED, state="failed", found=outcome.error.message,
            next_step=outcome.error.hint, code=outcome.error.code,
        )  # fmt: skip
    if outcome.verdict != "ok":
        return degraded(scope, COMPARED, "; ".join(outcome.notes), NEXT)
    return ok(scope, COMPARED, "; ".join(_equal(outcome)))


def _equal(outcome: Outcome) -> Iterator[str]:
    yield from outcome.notes
    detail = outcome.detail
    if isinstance(detail, Compared) and detail.shards:
        how = "all of it" if detail.reading == "whole" else f"a sample, seed {detail.seed}"
        yield f"{detail.shards} shards, every replica equal ({how}: {detail.points} points read)"


NEXT = (
    "back the collection up (the fullest replica is taken), then let Qdrant make the other one "
    "anew: drop that replica and replicate the shard from the node that has all."
)
"""For replicas that differ."""
