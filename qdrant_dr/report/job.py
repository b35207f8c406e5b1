"""`report`: read all records, judge them, write the page and the frames."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import Field

from qdrant_dr.config import Config
from qdrant_dr.errors import DRError
from qdrant_dr.jobs.run import Run, utc_now
from qdrant_dr.jobs.units import Perform
from qdrant_dr.records import Outcome, Reported, RunEnd
from qdrant_dr.records.base import Frozen
from qdrant_dr.report.frames import Assessment, build_frames
from qdrant_dr.report.gather import gather
from qdrant_dr.report.write import FORMATS, Format, write


class ReportRequest(Frozen):
    """What this run is asked for. `as_of` None = now; `url` None = `report.url`."""

    period_days: int = Field(30, ge=1)
    as_of: datetime | None = None
    url: str | None = None
    formats: tuple[Format, ...] = FORMATS


def report(config: Config, request: ReportRequest, run: Run, perform: Perform) -> RunEnd:
    """Write the report. Its verdict is that of what it found: a bad state is no good report.

    There are no units to perform: the records are read once, here.
    """
    del perform
    started_at = utc_now()
    try:
        # a report does not speak of its own run
        as_of = request.as_of or run.start.started_at - timedelta(microseconds=1)
        assessment = Assessment.of(gather(config, as_of, timedelta(days=request.period_days)))
        run.source_kind = assessment.source_kind
        to = config.report.model_copy(update={"url": request.url} if request.url else {})
        written = write(assessment, build_frames(assessment), to=to, formats=request.formats)
    except DRError as e:
        return run.finish(config, outcomes=(), error=e)
    worst = {p.severity for p in assessment.problems}
    found = tuple(
        f"{p.severity}: {p.scope}: {p.what}"
        for p in assessment.problems
        if p.severity in ("critical", "warning")
    )
    outcome = Outcome(
        unit="report",
        collection="*",
        verdict="failed" if "critical" in worst else "degraded" if "warning" in worst else "ok",
        started_at=started_at,
        ended_at=utc_now(),
        notes=found,
        detail=Reported(files=written.files, digest=written.digest),
    )
    return run.finish(config, outcomes=[outcome])
