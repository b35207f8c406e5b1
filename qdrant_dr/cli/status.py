"""`status`."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from qdrant_dr.cli.session import Column, Given, Reply
from qdrant_dr.errors import UsageError
from qdrant_dr.quantities import how_long
from qdrant_dr.records import ErrorFacts
from qdrant_dr.report.evidence.collection_status import Standing
from qdrant_dr.report.evidence.gather import gather
from qdrant_dr.report.findings.acknowledged import words
from qdrant_dr.report.findings.all_findings import ELSEWHERE, FOREIGN
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.outputs.metrics import prometheus

COLLECTIONS = (
    Column("collection", "COLLECTION"),
    Column("status", "STATUS"),
    Column("rpo_seconds", "RPO", how_long, right=True),
    Column("rpo_objective_seconds", "PROMISED", how_long, right=True),
    Column("proof_age_seconds", "PROVEN", how_long, right=True, spare=1),
    Column("copies", "COPIES", str, right=True),
    Column("domains", "DOMAINS", str, right=True, spare=2),
    Column("next_command", "NEXT"),
)
REMARKED = (ELSEWHERE, FOREIGN)
"""Notices shown although they raise no alarm: a person may want to clean these up."""
PERIOD = timedelta(days=30)


def status(
    *,
    format: Literal["text", "prometheus"] = "text",  # noqa: A002 - the option's name
    out: Path | None = None,
    session: Given,
) -> Reply:
    """Say whether each collection is protected, from the records alone.

    Exit 0: all are, and nothing is wrong; 3: something needs attention; 1: an objective is missed,
    or could not be checked.

    Parameters
    ----------
    format
        A line per collection, or metrics for Prometheus.
    out
        Write the metrics to this file in one step, as Prometheus's textfile collector requires.
    """
    if out is not None and format != "prometheus":
        raise UsageError("--out is for --format prometheus", "redirect the table instead.")
    now = datetime.now(UTC)
    found = Assessment.of(gather(session.config, now, PERIOD, remember=True, ledgers=False))
    # problems of a collection appear in NEXT of its line; the others have no line
    names = {s.collection for s in found.standings}
    errors = [
        ErrorFacts(code=p.severity, message=f"{p.scope}: {p.what}", hint=p.next_command)
        for p in found.problems
        if p.severity != "notice" and p.scope not in names
    ]
    metrics = prometheus(found) if format == "prometheus" else None
    if metrics is not None and out is not None:
        _replace(out, metrics)
    return Reply(
        rows=[] if out else [_row(s, now) for s in found.standings],
        columns=COLLECTIONS,
        text=None if out else metrics,
        verdict=found.verdict,
        errors=errors,
        remarks=[
            *(
                f"{p.scope}: {p.what}; {words(p.acknowledged)}"
                for p in found.problems
                if p.acknowledged is not None
            ),
            *(f"{p.scope}: {p.what}" for p in found.problems if p.code in REMARKED),
            *(f"{v.repository} (chunked): {v.words}" for v in found.evidence.vaults),
            *(
                f"{s.repository}: {s.words}"
                for s in found.evidence.stored
                if s.layout == "plain" and s.monthly_cost is not None
            ),
            *(
                []
                if found.standings
                else ["no collection has been recorded yet: run `qdrant-dr backup`"]
            ),
        ],
    )


def _row(s: Standing, now: datetime) -> dict[str, Any]:
    return {
        "collection": s.collection,
        "status": s.status,
        "rpo_seconds": s.rpo.total_seconds() if s.rpo is not None else None,
        "rpo_objective_seconds": s.rpo_objective.total_seconds(),
        "proof_age_seconds": (now - s.proof.ended_at).total_seconds() if s.proof else None,
        "acknowledged": [
            f"{p.what}; {words(p.acknowledged)}" for p in s.problems if p.acknowledged is not None
        ],
        "copies": len(s.safe_copies),
        "domains": len(s.domains),
        "next_command": s.exclusion if s.status == "excluded" else s.next_command,
    }


def _replace(file: Path, text: str) -> None:
    """Replace the file in one step: a collector may read it at any time."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(file)
    except OSError as e:
        aside.unlink(missing_ok=True)
        raise UsageError(f"{file} cannot be written: {e.strerror}", "choose another.") from None
