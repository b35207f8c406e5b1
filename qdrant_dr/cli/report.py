"""`report`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from cyclopts import Parameter

from qdrant_dr.cli.runs import exit_code
from qdrant_dr.cli.session import Given, Reply, Said
from qdrant_dr.config import ReportConfig
from qdrant_dr.errors import DRError, Interrupted, UsageError
from qdrant_dr.jobs.run import begin
from qdrant_dr.report import FORMATS, Assessment, Written, build_frames, gather, write
from qdrant_dr.report.html import headline
from qdrant_dr.report.write import Format
from qdrant_dr.units import parse_duration


def report(
    *,
    period: str = "30d",
    as_of: str | None = None,
    out: str | None = None,
    formats: Annotated[str, Parameter(name="--format")] = ",".join(FORMATS),
    session: Given,
) -> Reply:
    """Write the report: what is restorable, how fast, who says so.

    It is computed from the records alone, and is the same again for the same records and --as-of.

    Parameters
    ----------
    period
        Runs and drills that began in this time before --as-of.
    as_of
        The moment it speaks of, such as 2026-11-22T10:00:00Z; now if left out.
    out
        Folder or URL to write below; as configured if left out.
    formats
        Any of html, csv, parquet, with commas.
    """
    config = session.config
    span, chosen = _period(period), _formats(formats)
    at = datetime.now(UTC) if as_of is None else _moment(as_of)
    to = config.report if out is None else _elsewhere(config.report, out)
    # begun after `at` was taken: a report does not speak of its own run
    parameters: dict[str, str | int | bool | tuple[str, ...] | None] = {
        "period": period,
        "as_of": as_of,
        "formats": chosen,
    }
    run = begin(config, "report", parameters=parameters)
    written: Written | None = None
    said: list[str] = []
    try:
        assessment = Assessment.of(gather(config, at, span))
        said.append(headline(assessment))
        written = write(assessment, build_frames(assessment), to=to, formats=chosen)
        end = run.finish(config, outcomes=())
    except DRError as e:
        end = run.finish(config, outcomes=(), error=e)
    except KeyboardInterrupt:
        end = run.finish(config, outcomes=(), error=Interrupted("report was interrupted"))
    files = list(written.files) if written else []
    row = {
        "headline": said[0] if said else None,
        "as_of": at,
        "folder": written.folder if written else None,
        "files": files,
        "digest": written.digest if written else None,
    }
    every = [end.error, *(r.error for r in end.repositories)]
    errors: list[Said] = [e for e in every if e is not None]
    return Reply(
        rows=[row] if written else [],
        text="\n".join([*said, *files]),
        verdict=end.verdict,
        exit_code=exit_code(end),
        run_id=run.run_id,
        errors=errors,
    )


def _period(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as e:
        raise UsageError(f"--period: {e}", "write 30d.") from None


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise UsageError(
            f"--as-of {text} is no moment with a time zone", "write 2026-11-22T10:00:00Z."
        )
    return at.astimezone(UTC)


def _formats(text: str) -> tuple[Format, ...]:
    wanted = [word.strip() for word in text.split(",")]
    if unknown := [word for word in wanted if word not in FORMATS]:
        raise UsageError(
            f"--format {', '.join(unknown)} is not known", f"choose among {', '.join(FORMATS)}."
        )
    return tuple(f for f in FORMATS if f in wanted)


def _elsewhere(configured: ReportConfig, out: str) -> ReportConfig:
    """Options are those of the configured place: they fit only the same kind of place."""
    same = out.partition("://")[0] == configured.url.partition("://")[0] and "://" in out
    return configured.model_copy(update={"url": out, "options": configured.options if same else {}})
