"""Whether drills met what was promised: recovery time, recovery points, their budget. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from qdrant_dr.config import Config
from qdrant_dr.quantities import how_long
from qdrant_dr.records import Drilled, Outcome, Played


def over_time(outcomes: Sequence[Outcome], limit: timedelta) -> list[str]:
    """Say which drills together took longer than their budget."""
    if not outcomes:
        return []
    took = max(o.ended_at for o in outcomes) - min(o.started_at for o in outcomes)
    if took <= limit:
        return []
    which = outcomes[0].collection if len(outcomes) == 1 else f"{len(outcomes)} copies"
    spent = f"the drill of {which} took {took.total_seconds():.0f} s"
    return [f"{spent}, `drill.budget.time` is {limit.total_seconds():.0f} s"]


def missed_objectives(config: Config, outcomes: Sequence[Outcome]) -> list[str]:
    """Name drills on a real server that took longer than promised."""
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


def missed_under(
    config: Config, outcomes: Sequence[Outcome], unplayed: Mapping[str, Played] | None = None
) -> list[str]:
    """Name the recovery points that the scenario would have cost, each collection once.

    `unplayed`: what is left of those that this run did not drill. A budget that leaves them for the
    next run does not keep their promise.
    """
    found = [
        (o.collection, o.detail.scenario)
        for o in outcomes
        if isinstance(o.detail, Drilled) and o.detail.scenario is not None
    ]
    missed: dict[str, str] = {}
    for name, left in [*found, *(unplayed or {}).items()]:
        promised = config.collections.override(name).objectives.rpo or config.objectives.rpo
        if left.newest_proven_us is None:
            missed[name] = f"under {left.name} no backup of {name} is proven"
        elif (age := timedelta(microseconds=left.newest_proven_us)) > promised:
            missed[name] = (
                f"under {left.name} the newest proven backup of {name} is "
                f"{how_long(age)} old, "
                f"promised {how_long(promised)}"
            )
    return list(missed.values())
