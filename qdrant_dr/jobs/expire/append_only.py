"""Which repositories a run may delete from: append-only ones and denied keys are told of once.

Judged per repository, not per copy. A copy under a lock (S3 Object Lock, a retention rule of a
bucket) is judged when it is deleted: see `expire_copy` in `job.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, PlanRefused
from qdrant_dr.jobs.run.error_facts import error_facts
from qdrant_dr.jobs.run.run import Run, utc_now
from qdrant_dr.jobs.run.units import ExpireUnit
from qdrant_dr.records import ErrorFacts, Outcome
from qdrant_dr.repository import KEEPS, Repository, ask_to_delete


def open_to_deletion(
    config: Config, run: Run, units: Sequence[ExpireUnit], *, named: bool
) -> tuple[list[ExpireUnit], list[Outcome]]:
    """Return the units of repositories that may be deleted from, and an outcome for each other
    repository.

    One that is append-only is a remark: somebody else expires it. Where the key is refused without
    being so configured, that is a failure. Raise PlanRefused if a person `named` what to expire,
    and all of it is append-only.
    """
    closed: list[Outcome] = []
    for name in dict.fromkeys(u.repository for u in units):
        repository, began = run.repositories[name], utc_now()
        mine = [u for u in units if u.repository == name]
        if repository.append_only:
            closed.append(_closed(name, began, "skipped", *added_only(run.repositories, mine)))
            continue
        try:
            ask_to_delete(repository, config.cluster.name)
        except DRError as e:
            stay = f"{_copies(len(mine))} that no rule keeps stay"
            closed.append(_closed(name, began, "failed", stay, error=error_facts(e)))
    skipped = [note for o in closed if o.verdict == "skipped" for note in o.notes]
    left = [u for u in units if u.repository not in {o.repository for o in closed}]
    if named and skipped and not left and len(skipped) == len(closed):
        raise PlanRefused(
            "; ".join(skipped),
            "run it where another configuration and key may delete: see `append_only` in "
            "docs/configuration.md.",
        )
    run.remarks += skipped
    return left, closed


def added_only(repositories: Mapping[str, Repository], units: Sequence[ExpireUnit]) -> list[str]:
    """Report what retention would let go where nothing may be deleted."""
    counts = Counter(u.repository for u in units if repositories[u.repository].append_only)
    return [
        f"repository {name} {KEEPS}: {_copies(count)} that no rule keeps stay there until "
        "another key, a lifecycle rule or another machine lets them go"
        for name, count in sorted(counts.items())
    ]


def _copies(count: int) -> str:
    return "1 copy" if count == 1 else f"{count} copies"


def _closed(
    name: str, began: datetime, verdict: str, *notes: str, error: ErrorFacts | None = None
) -> Outcome:
    return Outcome.model_validate(
        {
            "unit": "expire",
            "collection": "*",
            "repository": name,
            "verdict": verdict,
            "started_at": began,
            "ended_at": utc_now(),
            "error": error,
            "notes": notes,
        }
    )
