"""`report`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

from cyclopts import Parameter

from qdrant_dr.cli.explain import explain_figure
from qdrant_dr.cli.runs import reply_of
from qdrant_dr.cli.session import Given, Reply
from qdrant_dr.dispatch.threads import in_this_thread
from qdrant_dr.errors import Interrupted, UsageError
from qdrant_dr.jobs.run.run import begin
from qdrant_dr.jobs.run.units import Format
from qdrant_dr.quantities import parse_duration
from qdrant_dr.records import Reported
from qdrant_dr.report.job import ReportRequest
from qdrant_dr.report.job import report as write_report
from qdrant_dr.report.outputs.write import DEFAULT_FORMATS, FORMATS


def report(
    *,
    period: str = "30d",
    as_of: str | None = None,
    out: str | None = None,
    formats: Annotated[str, Parameter(name="--format")] = ",".join(DEFAULT_FORMATS),
    explain: str | None = None,
    session: Given,
) -> Reply:
    """Write the report: what can be restored, how fast, and on what evidence.

    It is computed from the records alone: the same records and --as-of give the same report.

    Parameters
    ----------
    period
        Cover runs and drills that began within this time before --as-of.
    as_of
        The moment to report on, such as 2026-11-22T10:00:00Z. Default: now.
    out
        Folder or URL to write below. Default: as configured.
    formats
        Any of html, csv, parquet, oscal, separated by commas. oscal: the controls of NIST SP 800-53
        as assessment results.
    explain
        Write no report; list the records that a figure comes from, their hashes, and the ledger
        entries that name them: rpo, rto, protected, quorum, or FRAME.COLUMN[:KEY], such as
        copies.proven_at:movies,aws.
    """
    config = session.config
    if explain is not None:
        now = datetime.now(UTC)
        return explain_figure(
            session, explain, moment_of(as_of) if as_of else now, period_of(period)
        )
    request = ReportRequest(
        period=period_of(period),
        as_of=None if as_of is None else moment_of(as_of),
        url=out,
        formats=_formats(formats),
    )
    run = begin(
        config, "report", parameters={"period": period, "as_of": as_of, "formats": request.formats}
    )
    try:
        end = write_report(config, request, run, in_this_thread(config, run.run_id))
    except KeyboardInterrupt:
        end = run.finish(config, outcomes=(), error=Interrupted("report was interrupted"))
    reply = reply_of(end, unwritten=run.unwritten)
    made = next((o.detail for o in end.outcomes if isinstance(o.detail, Reported)), None)
    if made is None:
        return reply
    row = {**made.model_dump(exclude={"kind"}), "files": list(made.files)}
    return replace(reply, rows=[row], columns=(), text="\n".join([made.headline, *made.files]))


def period_of(text: str) -> timedelta:
    """Parse --period. Raise UsageError."""
    try:
        return parse_duration(text)
    except ValueError as e:
        raise UsageError(f"--period: {e}", "write 30d.") from None


def moment_of(text: str) -> datetime:
    """Parse --as-of. Raise UsageError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise UsageError(
            f"--as-of {text} is not a time with a time zone", "write 2026-11-22T10:00:00Z."
        )
    return at.astimezone(UTC)


def _formats(text: str) -> tuple[Format, ...]:
    wanted = [word.strip() for word in text.split(",")]
    if unknown := [word for word in wanted if word not in FORMATS]:
        raise UsageError(
            f"--format {', '.join(unknown)} is not known", f"choose from {', '.join(FORMATS)}."
        )
    return tuple(f for f in FORMATS if f in wanted)
