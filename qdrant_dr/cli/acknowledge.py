"""`acknowledge`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from qdrant_dr.cli.session import Column, Given, Reply
from qdrant_dr.cli.words import moment_ahead
from qdrant_dr.errors import DRError, UsageError
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.run_identity import user_name
from qdrant_dr.records import Acknowledgement
from qdrant_dr.report.watch.acknowledge import acknowledge_named, acknowledged_now

ACKNOWLEDGED = (
    Column("code", "FINDING"),
    Column("scope", "SCOPE"),
    Column("made_by", "BY"),
    Column("made_at", "SINCE"),
    Column("until", "UNTIL"),
    Column("reason", "REASON"),
)


def acknowledge(
    name: str | None = None,
    /,
    *,
    reason: str | None = None,
    until: str | None = None,
    release: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> Reply:
    """Acknowledge a finding, or accept a suspect backup. Without a name: list acknowledgements.

    The finding is still shown, with your name and reason, but raises no alarm; another one of the
    same kind does. Later backups are compared with an accepted backup. Neither makes a copy proven.

    Parameters
    ----------
    name
        A backup (NAME@latest, or NAME@ and the beginning of its id), or a finding: CODE:SCOPE as
        `watch` shows them, or CODE alone if only one finding has it.
    reason
        Why. Required; stored in the record.
    until
        A date such as 2027-01-31, or a time from now such as 7d. Default: until the finding
        changes. Without --until a backup is accepted for good; with it, only its alarm is silenced
        until then.
    release
        Take the acknowledgement back.
    """
    config, now = session.config, utc_now()
    if name is None:
        if reason or until or release:
            raise UsageError(
                "no finding or backup is named",
                "write `qdrant-dr acknowledge NAME@latest --reason R`.",
            )
        records, errors = acknowledged_now(config, now)
        return _reply(records, errors, blind=len(errors) == len(config.repositories))
    if not reason:
        raise UsageError("an acknowledgement needs a reason", "add --reason 'new embedding model'.")
    if release and until:
        raise UsageError("--until cannot be used with --release", "leave out --until.")
    at = moment_ahead(until, now, "it would silence nothing")
    record, lost = acknowledge_named(
        config, name, reason=reason, until=at, by=user_name(), now=now, release=release
    )
    return _reply([record], list(lost.values()))


def _reply(
    records: Sequence[Acknowledgement], errors: Sequence[DRError], *, blind: bool = False
) -> Reply:
    return Reply(
        rows=[_row(a) for a in records],
        columns=ACKNOWLEDGED,
        verdict="failed" if blind else "degraded" if errors else "ok",
        exit_code=errors[0].exit_code if blind else None,
        errors=errors,
        remarks=[] if records or errors else ["nothing is acknowledged"],
    )


def _row(record: Acknowledgement) -> dict[str, Any]:
    until = f"{record.until:%Y-%m-%d %H:%M:%S}" if record.until else "released"
    return {
        "code": record.code,
        "scope": record.scope,
        "made_by": record.made_by,
        "made_at": f"{record.made_at:%Y-%m-%d %H:%M:%S}",
        "until": until if record.acknowledges else "now",
        "reason": record.reason,
        "acknowledgement": record,
    }
