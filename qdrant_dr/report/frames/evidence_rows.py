"""Rows of ledgers and controls, and what a ledger says of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from qdrant_dr.report.controls.facts import Facts
from qdrant_dr.report.controls.judge import answers
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.ledger import InLedgers, LedgerState
from qdrant_dr.report.frames.provenance import Lazily, Made, records_of_columns


def ledger_row(state: LedgerState) -> dict[str, Any]:
    """Build a row of the frame `ledger`, without cluster and source."""
    head, anchor = state.head, state.anchor
    return {
        "repository": state.repository,
        "state": state.state,
        "head_number": head.entry.number if head else None,
        "head_sha256": head.entry.sha256 if head else None,
        "head_at": head.entry.at if head else None,
        "since": state.first.entry.at if state.first else None,
        "entries_count": len(state.entries) if head else None,
        "signed_by": ", ".join(state.signers) or None,
        "unsigned_tail_count": state.unsigned_tail if head else None,
        "unsigned_between_count": state.unsigned_between if head else None,
        "anchored_number": anchor.number if anchor else None,
        "anchored_in": f"{anchor.repository} {anchor.by.number}" if anchor else None,
        "anchored_at": anchor.by.at if anchor else None,
        "timestamped_number": state.timestamped,
        "breaks_count": len(state.breaks) if head or state.breaks else None,
        "found_count": sum(len(e.entry.found) for e in state.entries) if head else None,
    }


def in_ledgers_row(found: InLedgers | None) -> dict[str, Any]:
    """Build the columns of a run that tell of ledgers."""
    numbers = found.numbers if found else ()
    return {
        "ledger_number": ", ".join(f"{name} {number}" for name, number in numbers) or None,
        "signed_by": (", ".join(found.signers) or None) if found else None,
    }


def control_rows(
    evidence: Evidence, made: Mapping[str, Sequence[Made]]
) -> Iterator[tuple[dict[str, Any], tuple[object, ...]]]:
    """Judge every control by the rows of the other frames: its row, without cluster and source, and
    the records of the columns that decide it."""
    facts = Facts(
        {name: [m.row for m in rows] for name, rows in made.items()},
        evidence.config.copies,
        evidence.as_of,
        evidence.period,
    )
    for answer in answers(facts):
        control = answer.control
        row = {
            "framework": control.framework,
            "control": control.id,
            "asks": control.asks,
            "state": answer.state,
            "covers": control.covers,
            "figures": answer.figures,
            "computed_from": ", ".join(control.figures) or None,
            "add": control.add,
        }
        yield row, (Lazily(partial(records_of_columns, control.figures, made)),)
