"""`report`: read all records, judge them, write the page and the frames."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import Field

from qdrant_dr.config import Config, ReportConfig
from qdrant_dr.errors import DRError, UsageError
from qdrant_dr.hints import told_with
from qdrant_dr.jobs.run.catalogs import bundle_all, open_all
from qdrant_dr.jobs.run.run import Run, utc_now
from qdrant_dr.jobs.run.units import Format, Perform, ReportUnit
from qdrant_dr.records import Outcome, Reported, RunEnd
from qdrant_dr.records.base import Frozen
from qdrant_dr.report.evidence.gather import gather
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.frames.build import build_frames
from qdrant_dr.report.outputs.write import DEFAULT_FORMATS, write
from qdrant_dr.report.page.html import headline


class ReportRequest(Frozen):
    """The request of a report run. `as_of` None: when the run began; `url` None: as configured."""

    period: timedelta = Field(timedelta(days=30), gt=timedelta(0))
    as_of: datetime | None = None
    url: str | None = None
    formats: tuple[Format, ...] = DEFAULT_FORMATS


def compile_report(config: Config, unit: ReportUnit) -> Outcome:
    """Write the report. The verdict is that of its worst finding.

    Even a report that was written without trouble must not end green while the state is red.
    """
    started_at = utc_now()
    opened, failed = open_all(config, remember=True)
    assessment = Assessment.of(gather(config, unit.as_of, unit.period, among=(opened, failed)))
    bundle_all(opened)
    written = write(
        assessment,
        build_frames(assessment),
        to=_place(config.report, unit.url),
        formats=unit.formats,
    )
    return Outcome(
        unit="report",
        collection="*",
        verdict=assessment.verdict,
        started_at=started_at,
        ended_at=utc_now(),
        notes=tuple(
            told_with(f"{p.severity}: {p.scope}: {p.what}", p.next_command)
            for p in assessment.problems
            if p.severity != "notice"
        ),
        detail=Reported(
            headline=headline(assessment),
            folder=written.folder,
            files=written.files,
            digest=written.digest,
        ),
    )


def report(config: Config, request: ReportRequest, run: Run, perform: Perform) -> RunEnd:
    """Write the report and conclude the run. The report does not cover its own run."""
    as_of = request.as_of or run.start.started_at - timedelta(microseconds=1)
    try:
        if as_of > run.start.started_at:
            raise UsageError(
                f"{as_of:%Y-%m-%d %H:%M:%S} UTC is in the future: the same report would differ "
                "tomorrow",
                "give a time in the past, or leave it out.",
            )
        unit = ReportUnit(
            as_of=as_of, period=request.period, url=request.url, formats=request.formats
        )
        (outcome,) = perform([unit])
    except DRError as e:
        return run.finish(config, outcomes=(), error=e)
    if outcome.error is not None:  # nothing is written: it is the run that failed
        return run.finish(config, outcomes=(), error=outcome.error)
    return run.finish(config, outcomes=[outcome])


def _place(configured: ReportConfig, url: str | None) -> ReportConfig:
    """Return another place; the configured options are kept only for the same kind of store."""
    if url is None:
        return configured
    if "://" in url and url.partition("://")[0] == configured.url.partition("://")[0]:
        return configured.model_copy(update={"url": url})
    return configured.model_copy(update={"url": url, "options": {}, "credentials": None})
