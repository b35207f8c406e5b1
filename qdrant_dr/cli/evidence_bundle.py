"""`evidence bundle`: the report, and all that it stands on, in one archive."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from qdrant_dr.cli.report import moment_of, period_of
from qdrant_dr.cli.session import Column, Reply, Session
from qdrant_dr.errors import UsageError
from qdrant_dr.evidence import places
from qdrant_dr.evidence.bundle import write_bundle
from qdrant_dr.evidence.pages import by_hand_pages
from qdrant_dr.jobs.run.new_file import new_file
from qdrant_dr.report.evidence.gather import gather
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.frames.build import build_frames
from qdrant_dr.report.outputs.write import FORMATS, report_files

BUNDLED = (
    Column("repository", "REPOSITORY"),
    Column("files_count", "FILES", str, right=True),
    Column("number", "ENTRIES", lambda n: str(n or "-"), right=True),
    Column("error", "MISSING", lambda error: error or "-"),
)


def make_bundle(session: Session, out: Path, period: str, as_of: str | None) -> Reply:
    """Write the archive; a file that is there is never touched. Raise UsageError."""
    config, length = session.config, period_of(period)
    at = datetime.now(UTC) if as_of is None else moment_of(as_of)
    if at > datetime.now(UTC):
        raise UsageError(f"--as-of {as_of} is in the future", "give a time in the past.")
    session.say("computing the report")
    assessment = Assessment.of(gather(config, at, length))
    frames = build_frames(assessment)
    pages = by_hand_pages()
    pages |= {f"report/{n}": data for n, data in report_files(assessment, frames, FORMATS)}
    if config.signing.allowed_signers is not None:
        pages["allowed_signers"] = _trusted(config.signing.allowed_signers)
    session.say("reading the repositories")
    stall = config.copies.stall_timeout
    sources = [places.configured(cfg, stall) for cfg in config.repositories]
    with new_file(out, 0) as file:
        made = write_bundle(
            file, sources, pages, cluster=config.cluster.name, as_of=at, period=length
        )
    rows = [
        {
            "repository": b.name,
            "files_count": b.files_count,
            "number": b.head and b.head.number,
            "sha256": b.head and b.head.sha256,
            "error": b.error,
            "file": str(out),
        }
        for b in made.repositories
    ]
    away = [b.name for b in made.repositories if b.error is not None]
    remarks = [f"{out}: {len(made.files)} files; `qdrant-dr evidence verify {out}` checks them"]
    if away:
        remarks.insert(0, f"NOT IN IT: {', '.join(away)}; the bundle says so, too")
    if config.signing.allowed_signers is None:
        remarks.append("no `signing.allowed_signers` is configured: the auditor needs the keys")
    return Reply(
        rows=rows,
        columns=BUNDLED,
        verdict="degraded" if away else "ok",
        remarks=remarks,
    )


def _trusted(file: str) -> bytes:
    try:
        return Path(file).expanduser().read_bytes()
    except OSError as e:
        raise UsageError(
            f"signing.allowed_signers: {file} cannot be read: {e.strerror}",
            "correct the configuration, or make the file: `qdrant-dr signing trust KEY --as NAME`.",
        ) from None
