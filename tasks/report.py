"""Compute the report of one cluster and write it where the configuration says."""

from __future__ import annotations

from datetime import datetime, timedelta

from prefect import task
from prefect.artifacts import create_markdown_artifact

from qdrant_dr.config import Config
from qdrant_dr.errors import DRError
from qdrant_dr.jobs.run import Run
from qdrant_dr.records import RunEnd
from qdrant_dr.records.base import Frozen
from qdrant_dr.report import Assessment, build_frames, gather, write
from qdrant_dr.report.html import headline
from tasks.announce import publish
from tasks.config import config_of
from tasks.render import escape
from tasks.shell import RETRIED


class Compiled(Frozen):
    """What a report says in a sentence, and where it lies."""

    headline: str
    folder: str
    files: tuple[str, ...]
    digest: str


@task(name="report", task_run_name="report of {period_days} days", **RETRIED)
def compile_report(config: str, as_of: datetime, period_days: int, run_id: str) -> Compiled:
    """Read the records of every repository, compute the frames, write page and files.

    Args:
        config: Reference of the configuration.
        as_of: The moment the report speaks of.
        period_days: How far it looks back.
        run_id: The run it belongs to.
    """
    resolved = config_of(config, run_id)
    assessment = Assessment.of(gather(resolved, as_of, timedelta(days=period_days)))
    written = write(assessment, build_frames(assessment), to=resolved.report)
    return Compiled(
        headline=headline(assessment),
        folder=written.folder,
        files=written.files,
        digest=written.digest,
    )


def report(
    reference: str, config: Config, run: Run, *, as_of: datetime, period_days: int
) -> tuple[RunEnd, str | None]:
    """Compile, publish where it lies, conclude; and the headline, where there is one."""
    try:
        compiled = compile_report(reference, as_of, period_days, run.run_id)
    except DRError as error:
        return run.finish(config, outcomes=(), error=error), None
    lines = [f"# {escape(compiled.headline)}", f"As of {as_of:%Y-%m-%d %H:%M:%S} UTC.", "Files:"]
    lines += [f"- `{name}`" for name in compiled.files]
    lines.append(f"Digest of the frames: `{compiled.digest}`")
    publish(
        "where the report lies",
        lambda: create_markdown_artifact(
            "\n\n".join(lines), key=f"qdr-report-{config.cluster.name}-files"
        ),
    )
    return run.finish(config, outcomes=()), compiled.headline
