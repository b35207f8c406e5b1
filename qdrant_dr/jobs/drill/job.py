"""`drill`: restore copies somewhere disposable, prove them there, and measure each phase."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal

from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, PlanRefused
from qdrant_dr.jobs.drill.objectives import missed_objectives, missed_under, over_time
from qdrant_dr.jobs.drill.plan import (
    Drillable,
    DrillDurations,
    DrillPlan,
    Pick,
    archived_places,
    drill_durations,
    drillable,
    plan_drills,
    plan_one,
)
from qdrant_dr.jobs.drill.scenario import (
    apply_scenario,
    played,
    refuse_impossible,
    standing_under,
    unused,
)
from qdrant_dr.jobs.run.backup_selector import FIRST
from qdrant_dr.jobs.run.load_backup import archive_skip
from qdrant_dr.jobs.run.run import Run, utc_now
from qdrant_dr.jobs.run.scope import selected_backups, selected_repositories
from qdrant_dr.jobs.run.units import DrillUnit, Perform
from qdrant_dr.records import Drilled, Outcome, Played, RunEnd
from qdrant_dr.records.base import Frozen
from qdrant_dr.repository import Backup, Copy

log = logging.getLogger(__name__)

Engine = Literal["edge", "server"]


class DrillRequest(Frozen):
    """What this run is asked for; None = as configured."""

    collection: str | None = None
    repository: str | None = None
    pick: Pick | None = None
    engine: Engine | None = None
    seed: int | None = None
    keep: bool = False
    scenario: str | None = None
    ran_by: str = ""
    note: str = ""
    dry_run: bool = False


def drill(config: Config, request: DrillRequest, run: Run, perform: Perform) -> RunEnd:
    """Pick copies, drill them, conclude. Under a scenario only with what it leaves."""
    engine = request.engine or config.drill.engine
    outcomes: list[Outcome] = []
    archived: list[Outcome] = []
    objections: list[str] = []
    doubts: list[str] = []
    unplayed: dict[str, Played] = {}
    try:
        lost = unused(config, request.scenario)
        assert run.repositories.keys().isdisjoint(lost), "begin such a run with `usable`"
        refuse_impossible(config, request.scenario, engine=engine)
        config = apply_scenario(config, request.scenario)
        with played(request.scenario):
            catalog = run.read_catalog(config)
            names = (request.collection,) if request.collection is not None else None
            asked = (request.repository,) if request.repository is not None else None
            now = utc_now()
            backups = selected_backups(catalog, config, None, names, now=now)
            run.note_source(backups)
            if not backups and catalog.complete and request.scenario is None:
                raise PlanRefused("there is no backup to drill", FIRST)
            places = selected_repositories(config, asked)
            ends = run.past_ends(config, now)
            candidates = drillable(backups, places, ends, now=now)
            frozen = archived_places(backups, places, candidates)
            archived = [archive_skip("drill", b, c, now) for b, c in frozen]
            without = nothing_to_drill(config, request, candidates, ends, frozen)
            (objections if request.scenario else doubts).extend(without)
            pace = drill_durations(ends, engine=engine)
            if frozen and not candidates:
                raise PlanRefused(
                    f"no copy can be read to be drilled: {_listed(frozen)}",
                    f"`qdrant-dr show {frozen[0][0].key}` prints how to bring it back.",
                )
            plan, units = planned(config, request, candidates, engine=engine, pace=pace, now=now)
            doubts += plan.doubts
            for remark in plan.remarks:  # no verdict rests on a pace that nobody has measured
                log.info("by a pace that is assumed until it is measured, %s", remark)
            if request.dry_run:
                return run.preview(config, units, objections=objections, doubts=doubts)
            for left in (x for x in plan.left_out if x.wanted):
                log.info("%s in %s has to wait: %s", left.collection, left.repository, left.reason)
            for done in perform_within(config, plan, units, pace, perform):
                outcomes += recorded(config, request.scenario, lost, done, backups, now=now)
            if request.scenario and request.collection is None:
                rest = protected(config, ends, candidates) - {o.collection for o in outcomes}
                for name in sorted(rest & {c.backup.manifest.collection for c in candidates}):
                    ours = [b for b in backups if b.manifest.collection == name]
                    unplayed[name] = standing_under(
                        request.scenario, lost, ours, config, restored=None, now=now
                    )
    except DRError as e:
        return run.finish(
            config, outcomes=[*outcomes, *archived], error=e, objections=objections, doubts=doubts
        )
    objections += missed_objectives(config, outcomes)
    objections += missed_under(config, outcomes, unplayed)
    doubts += over_time(outcomes, config.drill.budget.time)
    return run.finish(config, outcomes=[*outcomes, *archived], objections=objections, doubts=doubts)


def planned(
    config: Config,
    request: DrillRequest,
    candidates: Sequence[Drillable],
    *,
    engine: Engine,
    pace: DrillDurations,
    now: datetime,
) -> tuple[DrillPlan, list[DrillUnit]]:
    """Plan what to drill, as units in this order. Pure, apart from the seed of a random choice.

    `coverage` fills the budget; a named collection, another pick or a target that is kept (the next
    drill would not find its scratch empty) is one copy. Raise PlanRefused if there is none.
    """
    pick, budget = request.pick or config.drill.pick, config.drill.budget
    seed = request.seed if request.seed is not None else secrets.randbelow(2**31)
    if pick == "coverage" and request.collection is None and not request.keep:
        every = config.objectives.drill_every
        plan = plan_drills(candidates, budget=budget, every=every, pace=pace, now=now)
    else:
        plan = plan_one(candidates, pick=pick, seed=seed, budget=budget)
    return plan, [
        DrillUnit(
            key=chosen.backup.key,
            repository=chosen.copy.repository,
            engine=engine,
            pick=pick,
            seed=seed if pick == "random" or request.seed is not None else None,
            keep=request.keep,
            note=request.note,
            scenario=request.scenario,
        )
        for chosen in plan.chosen
    ]


def perform_within(
    config: Config,
    plan: DrillPlan,
    units: Sequence[DrillUnit],
    pace: DrillDurations,
    perform: Perform,
) -> Iterator[list[Outcome]]:
    """Drill the units until the next one is not expected to fit into the remaining time; it comes
    first in the next run. Engine drills may run side by side. Those on a server run one after
    another: a scratch takes one at a time, and two would distort each other's time."""
    if not units or units[0].engine == "edge":
        yield perform(units)
        return
    began, limit = utc_now(), config.drill.budget.time.total_seconds()
    for n, (unit, copy) in enumerate(zip(units, plan.chosen, strict=True)):
        spent = (utc_now() - began).total_seconds()
        if n and spent + pace.seconds(copy) > limit:
            log.info("out of time: %d of %d drills are left", len(units) - n, len(units))
            return
        yield perform([unit])


def nothing_to_drill(
    config: Config,
    request: DrillRequest,
    candidates: Sequence[Drillable],
    ends: Sequence[RunEnd],
    frozen: Sequence[tuple[Backup, Copy]] = (),
) -> list[str]:
    """Name collections that should be protected and of which no copy can be drilled. Pure.

    `frozen` are those that lie in an archive.
    """
    if request.collection is not None:
        return []  # then it is a refusal
    short = protected(config, ends, candidates) - {c.backup.manifest.collection for c in candidates}
    where = f" in {request.repository}" if request.repository else ""
    under_it = f"under {request.scenario} " if request.scenario else ""
    ice = {b.key.collection: _listed([(b, c)]) for b, c in frozen}
    return [f"{under_it}no sealed, sound copy of {name} is there to drill{where}"
            + (f": {ice[name]}" if name in ice else "")
            for name in sorted(short)]  # fmt: skip


def _listed(frozen: Sequence[tuple[Backup, Copy]]) -> str:
    return "; ".join(f"{b.key} in {c.repository} is {c.archive}" for b, c in frozen)


def protected(
    config: Config, ends: Sequence[RunEnd], candidates: Sequence[Drillable]
) -> frozenset[str]:
    """Return the names of the collections that should be protected. Pure.

    They are those of the newest inventory and the expected ones: what lies nowhere is in no
    catalog, and must not be forgotten for it. Without an inventory, all that are included.
    """
    expected = frozenset(config.collections.expect)
    inventory = max((e for e in ends if e.seen), key=lambda e: e.ended_at, default=None)
    if inventory is None:
        there = {c.backup.manifest.collection for c in candidates}
        return expected | {n for n in there if config.collections.decide(n).status == "included"}
    # not selected by that run: it asked for others, or there was a young backup
    wanted = ("included", "not-selected")
    return expected | {s.collection for s in inventory.seen if s.status in wanted}


def recorded(
    config: Config,
    scenario: str | None,
    lost: Sequence[str],
    outcomes: Sequence[Outcome],
    backups: Sequence[Backup],
    *,
    now: datetime,
) -> list[Outcome]:
    """Return the outcomes, with what the scenario left of the promises at `now`. Pure."""
    if scenario is None:
        return list(outcomes)
    told = []
    for o in outcomes:
        if isinstance(o.detail, Drilled):
            ours = [b for b in backups if b.manifest.collection == o.collection]
            equal = o.verdict != "failed" and o.detail.fingerprint_equal
            back = o.backup_id if equal else None
            standing = standing_under(scenario, lost, ours, config, restored=back, now=now)
            detail = o.detail.model_copy(update={"scenario": standing})
            told.append(o.model_copy(update={"detail": detail}))
        else:
            told.append(o)
    return told
