"""`drill`: restore a copy somewhere disposable, prove it there, and measure each phase."""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from qdrant_dr.config import Config
from qdrant_dr.errors import (
    DRError,
    PlanRefused,
)
from qdrant_dr.jobs.run import Run, utc_now
from qdrant_dr.jobs.scope import selected_backups, selected_repositories
from qdrant_dr.jobs.units import DrillUnit, Perform
from qdrant_dr.records import Drilled, Outcome, RunEnd
from qdrant_dr.records.base import Frozen
from qdrant_dr.repository import CLOCK_TOLERANCE, Backup, Copy, sound
from qdrant_dr.units import format_size

Pick = Literal["coverage", "latest", "random"]
Engine = Literal["edge", "server"]


class DrillRequest(Frozen):
    """What this run is asked for; None = as configured."""

    collection: str | None = None
    repository: str | None = None
    pick: Pick | None = None
    engine: Engine | None = None
    seed: int | None = None
    keep: bool = False
    note: str = ""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Drillable:
    """A copy that may be drilled, and when one was last drilled from it with success."""

    backup: Backup
    copy: Copy
    drilled_at: datetime | None


def plan_drill(
    candidates: Sequence[Drillable], *, pick: Pick, engine: Engine, request: DrillRequest
) -> DrillUnit:
    """Choose one copy: the newest backup, a seeded random one, or the longest undrilled first.

    Raise PlanRefused if there is none: a drill of nothing is not a pass.
    """
    if not candidates:
        raise PlanRefused(
            "there is no sealed copy without an open failure to drill",
            "run `qdrant-dr verify --depth content` first.",
        )
    ordered = sorted(
        candidates,
        key=lambda c: (c.backup.manifest.captured_at, str(c.backup.key), c.copy.repository),
    )
    seed = request.seed if request.seed is not None else secrets.randbelow(2**31)
    if pick == "random":
        chosen = random.Random(seed).choice(ordered)
    elif pick == "latest":
        newest = ordered[-1].backup.key
        chosen = next(c for c in ordered if c.backup.key == newest)
    else:
        # per collection and repository only the newest backup is of interest
        latest = {(c.backup.manifest.collection, c.copy.repository): c for c in ordered}
        undrilled = [c for c in latest.values() if c.drilled_at is None]
        chosen = max(
            undrilled or latest.values(),
            key=lambda c: (
                -(c.drilled_at.timestamp() if c.drilled_at else 0),
                c.backup.manifest.captured_at,
            ),
        )
    return DrillUnit(
        key=chosen.backup.key,
        repository=chosen.copy.repository,
        engine=engine,
        pick=pick,
        seed=seed if pick == "random" or request.seed is not None else None,
        keep=request.keep,
        note=request.note,
    )


def drillable(
    backups: Sequence[Backup],
    repositories: Sequence[str],
    ends: Sequence[RunEnd],
    *,
    now: datetime,
) -> tuple[Drillable, ...]:
    """Sealed, sound copies, none from the future, each with the last good drill of its place."""
    last: dict[tuple[str, str | None], datetime] = {}
    for end in ends:
        for outcome in end.outcomes:
            if outcome.unit == "drill" and outcome.verdict in ("ok", "degraded"):
                where = (outcome.collection, outcome.repository)
                last[where] = max(outcome.ended_at, last.get(where, outcome.ended_at))
    return tuple(
        Drillable(b, c, last.get((b.manifest.collection, c.repository)))
        for b in backups
        if b.seal is not None and b.manifest.captured_at <= now + CLOCK_TOLERANCE
        for c in b.copies
        if c.repository in repositories and sound(b, c)
    )


def drill(config: Config, request: DrillRequest, run: Run, perform: Perform) -> RunEnd:
    """Pick one copy, drill it, conclude."""
    outcomes: list[Outcome] = []
    doubts: list[str] = []
    try:
        catalog = run.look(config)
        names = (request.collection,) if request.collection is not None else None
        asked = (request.repository,) if request.repository is not None else None
        now = utc_now()
        backups = selected_backups(catalog, config, None, names, now=now)
        run.note_source(backups)
        places = selected_repositories(config, asked)
        candidates = drillable(backups, places, run.past_ends(config, now), now=now)
        within, doubts = within_budget(candidates, config.drill.budget.bytes)
        unit = plan_drill(
            within,
            pick=request.pick or config.drill.pick,
            engine=request.engine or config.drill.engine,
            request=request,
        )
        if request.dry_run:
            return run.preview(config, [unit])
        outcomes += perform([unit])
    except DRError as e:
        return run.finish(config, outcomes=outcomes, error=e)
    missed = missed_objectives(config, outcomes)
    doubts += over_time(outcomes, config.drill.budget.time)
    return run.finish(config, outcomes=outcomes, objections=missed, doubts=doubts)


def within_budget(
    candidates: Sequence[Drillable], limit: int
) -> tuple[tuple[Drillable, ...], list[str]]:
    """The copies that may be drilled, and the collections that are too large, in words. Pure."""
    small = tuple(c for c in candidates if c.backup.manifest.size_bytes <= limit)
    left_out = {c.backup.manifest.collection for c in candidates}
    left_out -= {c.backup.manifest.collection for c in small}
    return small, [
        f"{name} is larger than `drill.budget.bytes` ({format_size(limit)}): no drill of it"
        for name in sorted(left_out)
    ]


def over_time(outcomes: Sequence[Outcome], limit: timedelta) -> list[str]:
    """Drills that took longer than their budget. Pure."""
    return [
        f"the drill of {o.collection} took {(o.ended_at - o.started_at).total_seconds():.0f} s, "
        f"`drill.budget.time` is {limit.total_seconds():.0f} s"
        for o in outcomes
        if o.ended_at - o.started_at > limit
    ]


def missed_objectives(config: Config, outcomes: Sequence[Outcome]) -> list[str]:
    """Drills on a real server that took longer than promised. Pure."""
    missed = []
    for outcome in outcomes:
        found = outcome.detail
        if not isinstance(found, Drilled) or found.target_kind != "server":
            continue
        promised = config.collections.override(outcome.collection).objectives.rto
        promised = promised or config.objectives.rto
        took = timedelta(microseconds=found.recovery_us)
        if took > promised:
            missed.append(
                f"{outcome.collection} came back in {took.total_seconds():.0f} s, "
                f"promised {promised.total_seconds():.0f} s"
            )
    return missed
