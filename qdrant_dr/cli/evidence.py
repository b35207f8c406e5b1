"""`evidence verify`: who wrote what and when, as a stranger checks it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from qdrant_dr.cli.exit_codes import Verdict
from qdrant_dr.cli.session import Column, Given, Reply, Session
from qdrant_dr.errors import DRError, NothingSelected, RepositoryUnreachable, UsageError
from qdrant_dr.evidence import places
from qdrant_dr.evidence.anchors import Anchor
from qdrant_dr.evidence.bundle import in_bundle
from qdrant_dr.evidence.check import State, worst
from qdrant_dr.evidence.trust import Trust, read_trust
from qdrant_dr.evidence.verify import Examined, Source, cross_check, examine
from qdrant_dr.hints import marked

CHECKS = (
    Column("repository", "REPOSITORY"),
    Column("check", "CHECK"),
    Column("state", "STATE", lambda state: {"failed": "FAILED"}.get(state, state)),
    Column("found", "FOUND"),
    Column("next_command", "NEXT", lambda hint: hint or "-", spare=1),
)
VERDICTS: dict[State, Verdict] = {
    "ok": "ok",
    "not checked": "ok",
    "doubt": "degraded",
    "failed": "failed",
}


def verify(
    *repositories: str,
    against: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    head: str | None = None,
    allowed_signers: Path | None = None,
    session: Given,
) -> Reply:
    """Verify who wrote what and when: chain, signatures, times, and every record.

    Each repository is the name of a configured one, a folder with a copy of a bucket, a URL, or a
    file that `evidence bundle` wrote; none: all that are configured. Nothing is written, and only
    names need a configuration. It is never ok without a trusted key.

    Parameters
    ----------
    repositories
        What to verify.
    against
        Other repositories that may have noted heads of these: only their ledgers are read.
    head
        NUMBER:SHA256 of an entry that you noted before.
    allowed_signers
        Whose keys are trusted, as `ssh-keygen -Y verify` reads it: your own file, not one from the
        bucket. Default: `signing.allowed_signers`, where names are configured.
    """
    noted = [] if head is None else [_noted(head, repositories)]
    with ExitStack() as opened:
        chosen = [one for name in repositories for one in _sources(session, name, opened)]
        chosen = chosen or _all_configured(session)
        others = [one for name in against for one in _sources(session, name, opened)]
        trust = _trust(session, allowed_signers, chosen)
        seen, silent = _examined(session, chosen, trust)
        witnesses, unheard = _examined(session, others, trust, records=False)
        return _reply(cross_check(seen, witnesses, noted), silent, unheard, trust)


def bundle(
    *,
    out: Path,
    period: str = "90d",
    as_of: str | None = None,
    session: Given,
) -> Reply:
    """Write one archive that an auditor verifies on a laptop, without a network.

    It has the report and its frames, every record, ledger and signature of every repository that
    can be reached, the trusted keys, and how to check them by hand. Archives of backups are not in
    it. It leaves no record; the same records and --as-of give the same bytes.

    Parameters
    ----------
    out
        The file, such as evidence.tar.gz; it must not exist.
    period
        The report covers runs and drills that began within this time before --as-of. Records and
        ledgers are whole.
    as_of
        The moment to report on, such as 2026-11-22T10:00:00Z. Default: now.
    """
    # imported here: whoever verifies on a laptop does not wait for what reports are made with
    from qdrant_dr.cli.evidence_bundle import make_bundle

    return make_bundle(session, out, period, as_of)


@dataclass(frozen=True)
class Silent:
    """A repository that could not be read."""

    source: Source
    error: DRError


def _examined(
    session: Session, sources: Sequence[Source], trust: Trust | None, *, records: bool = True
) -> tuple[list[Examined], list[Silent]]:
    found, silent = [], []
    for source in sources:
        session.say(f"reading {source.name}")
        try:
            found.append(examine(source, trust, records=records))
        except DRError as e:
            silent.append(Silent(source, e))
    return found, silent


def _reply(
    found: Sequence[Examined],
    silent: Sequence[Silent],
    unheard: Sequence[Silent],
    trust: Trust | None,
) -> Reply:
    rows = [row for one in found for row in _rows(one)]
    for one in (*silent, *unheard):
        state: State = "failed" if one in silent else "doubt"
        rows.append(_row(one.source.name, "repository", state, one.error.message, one.error.hint))
    states = [one.state for one in found] + ["failed" for _ in silent] + ["doubt" for _ in unheard]
    state = max(states, key=list(VERDICTS).index, default="failed")
    only_away = (
        bool(silent)
        and all(one.state != "failed" for one in found)
        and all(isinstance(one.error, RepositoryUnreachable) for one in silent)
    )
    return Reply(
        rows=rows,
        columns=CHECKS,
        verdict=VERDICTS[state],
        exit_code=RepositoryUnreachable.exit_code if only_away else None,
        errors=[one.error for one in (*silent, *unheard)],
        remarks=list(_remarks(found, trust)),
    )


def _rows(one: Examined) -> Iterator[dict[str, Any]]:
    for check in one.checks:
        yield _row(one.source.name, check.name, check.state, check.found, check.next_command) | {
            "repository_id": one.repository_id,
            "head": one.chain.head and {"number": one.chain.head[0], "sha256": one.chain.head[1]},
        }


def _row(name: str, check: str, state: State, found: str, hint: str | None) -> dict[str, Any]:
    return {
        "repository": name,
        "check": check,
        "state": state,
        "found": found,
        "next_command": hint and marked(hint),
        "repository_id": None,
        "head": None,
    }


def _remarks(found: Sequence[Examined], trust: Trust | None) -> Iterator[str]:
    for one in found:
        if one.chain.head is not None and one.state != "failed":
            number, sha256 = one.chain.head
            yield (
                f"{one.source.name}: note this head outside of the bucket: --head {number}:{sha256}"
            )
    if trust is None and found and worst(c for one in found for c in one.checks) != "failed":
        yield "chain whole, nobody trusted: name a file of trusted keys with --allowed-signers"


def _noted(head: str, repositories: Sequence[str]) -> Anchor:
    match = re.fullmatch(r"([1-9]\d{0,9}):([0-9a-f]{64})", head)
    if match is None:
        raise UsageError(
            f"--head {head} is no head", "write NUMBER:SHA256, as `evidence verify` prints it."
        )
    if len(repositories) != 1:
        raise UsageError(
            "--head is of one repository, and "
            + (f"{len(repositories)} are named" if repositories else "none is named"),
            "name the one whose head you noted.",
        )
    return Anchor(int(match[1]), match[2], "the head that you noted", None)


def _all_configured(session: Session) -> list[Source]:
    config = session.config
    return [places.configured(cfg, config.copies.stall_timeout) for cfg in config.repositories]


def _sources(session: Session, name: str, opened: ExitStack) -> list[Source]:
    """What one word names: a URL, a path that is there, else a configured repository."""
    path = Path(name)
    if "://" in name:
        return [places.at_url(name)]
    if path.is_dir():
        return [places.in_folder(path, name)]
    if path.is_file():
        return opened.enter_context(in_bundle(path))
    if "/" in name:
        raise UsageError(f"{name} is not there", "name a folder, a bundle, a URL or a repository.")
    config = session.config
    if (cfg := config.repository(name)) is None:
        names = ", ".join(r.name for r in config.repositories)
        raise NothingSelected(
            f"no repository is called {name}, and no folder or file either",
            f"choose from {names}, or name a folder, a bundle or a URL.",
        )
    return [places.configured(cfg, config.copies.stall_timeout)]


def _trust(session: Session, given: Path | None, chosen: Sequence[Source]) -> Trust | None:
    if given is not None:
        return read_trust(given)
    if not any(source.id for source in chosen):
        return None
    configured = session.config.signing.allowed_signers
    return None if configured is None else read_trust(Path(configured).expanduser())
