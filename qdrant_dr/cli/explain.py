"""`report --explain`: the records behind a figure, in every repository, and their entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from qdrant_dr import layout
from qdrant_dr.cli.session import Column, Reply, Row, Session
from qdrant_dr.cli.tables import table, terminal_width
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.records import format_time
from qdrant_dr.report.evidence.gather import gather
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.frames.build import build_rows
from qdrant_dr.report.frames.explain import Cell, explain
from qdrant_dr.report.outputs.locate import Places, locate
from qdrant_dr.text import count

RECORDS = (
    Column("repository", "REPOSITORY"),
    Column("entry", "ENTRY", right=True),
    Column("sha256", "SHA256"),
    Column("path", "PATH"),
)
CONFIGURED = "as configured: no record tells it"
NOWHERE = "no record: it was computed from what is not there, or could not be read"


def explain_figure(session: Session, figure: str, as_of: datetime, period: timedelta) -> Reply:
    """List the records that a figure was computed from. Nothing is written."""
    config = session.config
    opened, failed = open_all(config, remember=True)
    evidence = gather(config, as_of, period, among=(opened, failed))
    cells = explain(figure, build_rows(Assessment.of(evidence)))
    places = locate((r for cell in cells for r in cell.records), opened)
    errors = {**failed, **places.errors}
    rows = [_row(cell, places) for cell in cells]
    unnamed = {
        (r["repository"], r["path"])
        for row in rows
        for r in row["records"]
        if r["entry"] is None and layout.entry_number(r["path"]) is None
    }
    return Reply(
        rows=rows,
        text="\n".join(_text(row) for row in rows),
        verdict="degraded" if errors else "ok",
        errors=list(errors.values()),
        remarks=[f"no ledger names {count(len(unnamed), 'record')} of them"] if unnamed else [],
    )


def _row(cell: Cell, places: Places) -> dict[str, Any]:
    found = [
        {
            "repository": located.repository,
            "path": located.path,
            "sha256": located.sha256,
            "size_bytes": located.size_bytes,
            "entry": located.entry,
        }
        for record in cell.records
        for located in places.of(record)
    ]
    return {
        "figure": cell.name,
        "value": _plain(cell.value),
        "configured": cell.configured,
        "records": sorted(found, key=lambda r: (r["repository"], r["path"])),
    }


def _text(row: Mapping[str, Any]) -> str:
    value = "not measured" if row["value"] is None else row["value"]
    head = f"{row['figure']} = {value}"
    records: Sequence[Row] = row["records"]
    if records:
        return f"{head}\n{table(records, RECORDS, terminal_width())}"
    return f"{head}\n{CONFIGURED if row['configured'] else NOWHERE}\n"


def _plain(value: object) -> object:
    return format_time(value.astimezone(UTC)) if isinstance(value, datetime) else value
