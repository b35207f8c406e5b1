"""Sign a run of drills or a restore: a person has read what it came to, and a record says so."""

from __future__ import annotations

import unicodedata
from datetime import timedelta

from pydantic import Field

from qdrant_dr.config import Config
from qdrant_dr.errors import Conflict, DRError, NothingSelected, UsageError
from qdrant_dr.jobs.run.run import Run, utc_now
from qdrant_dr.jobs.run.units import Perform
from qdrant_dr.records import Outcome, RunEnd, RunStart, Signed
from qdrant_dr.records.base import Frozen
from qdrant_dr.repository import time_of
from qdrant_dr.signing import sshsig
from qdrant_dr.signing.allowed_signers import REJECTION, REVIEW
from qdrant_dr.signing.person_key import person_key

MOMENT = timedelta(seconds=2)
"""A run id tells the second in which its run began."""


class SignRequest(Frozen):
    """Which run, and who signs; no reviewer = whoever runs this command. Without a `key` the record
    has a typed name and no signature."""

    run_id: str
    reviewer: str = ""
    reject: bool = False
    note: str = ""
    key: str = Field("", exclude=True, description="a path that no record needs")


def sign(config: Config, request: SignRequest, run: Run, perform: Perform) -> RunEnd:  # noqa: ARG001
    """Write that somebody reviewed a run of drills or a restore. Its end record, as it lies there,
    is what is signed; a rejected one is as much on record as an accepted one.

    Raise nothing: a run that is not found, or is none of the two, or a key that does not sign, ends
    this one in an error.
    """
    try:
        end = ended_run(run, request.run_id)
        by_key = _signed(end, request)
    except DRError as e:
        return run.finish(config, outcomes=(), error=e)
    run.source_kind = end.source_kind
    reviewer = request.reviewer.strip() or run.start.actor
    same = [f"signed by {reviewer}, who ran it"] if same_person(end.start, reviewer) else []
    outcome = Outcome(
        unit="sign",
        collection="*",
        verdict="ok",
        started_at=run.start.started_at,
        ended_at=utc_now(),
        notes=(*filter(None, [request.note]), *same),
        detail=Signed(
            run_id=end.start.run_id,
            end_sha256=end.sha256,
            reviewer=reviewer,
            accepted=not request.reject,
            **by_key,
        ),
    )
    return run.finish(config, outcomes=[outcome])


def _signed(end: RunEnd, request: SignRequest) -> dict[str, str]:
    """Sign the bytes of the end record, in a namespace of their own if they are rejected, so that
    the signature of a rejection is never taken for one that accepts. Raise SigningKeyUnusable."""
    if not request.key:
        return {}
    signer = person_key(request.key)
    armored = sshsig.sign(end.to_bytes(), signer, REJECTION if request.reject else REVIEW)
    return {"signature": armored.decode(), "fingerprint": signer.public.fingerprint}


def ended_run(run: Run, run_id: str) -> RunEnd:
    """Return the end of a run of drills or a restore, if every readable repository has the same.

    Raise UsageError, NothingSelected, or Conflict if two repositories have different ones.
    """
    try:
        began = time_of(run_id)
    except ValueError:
        raise UsageError(
            f"{run_id!r} is no run id", "`drill` prints it, and the report shows it."
        ) from None
    found: dict[str, tuple[str, RunEnd]] = {}
    for name, repository in run.repositories.items():
        try:
            _, ends = repository.read_runs(began - MOMENT, began + MOMENT)
        except DRError as e:
            run.unreachable[name] = e  # the others have the record, too; it degrades this run
            continue
        run.unreadable += tuple(u for u in ends.unreadable if run_id in u.path)
        found |= {e.sha256: (name, e) for e in ends.records if e.start.run_id == run_id}
    if not found:
        raise NothingSelected(
            f"no run {run_id} has ended, as far as {', '.join(run.repositories) or 'nobody'} knows",
            "wait for its end; `qdrant-dr report` lists the runs.",
        )
    if len(found) > 1:
        where = ", ".join(name for name, _ in found.values())
        raise Conflict(
            f"the end of run {run_id} is not the same everywhere: {where}",
            "compare both records before anybody signs one.",
        )
    ((_, end),) = found.values()
    if end.start.cluster != run.start.cluster:
        raise UsageError(
            f"run {run_id} is of cluster {end.start.cluster!r}, not of {run.start.cluster!r}",
            "sign it with the configuration of that cluster.",
        )
    if end.start.job not in ("drill", "restore"):
        raise UsageError(
            f"run {run_id} is a {end.start.job}, neither a drill nor a restore",
            "give that of a drill or a restore.",
        )
    return end


def who_ran(start: RunStart) -> str:
    """Return the name given for who runs it, else the account that the system saw."""
    return str(start.parameters.get("ran_by") or "").strip() or start.actor


def same_person(start: RunStart, reviewer: str) -> bool:
    """Say whether the reviewer ran the drills, by the given name or by the account: a name given
    for who ran it does not turn its account into another one. Names are compared by their letters
    and digits alone, an account (`prefect:ana`, `ana@host`) also by its user."""
    return bool((_names(who_ran(start)) | _names(start.actor)) & _names(reviewer))


def _names(who: str) -> set[str]:
    plain = who.casefold().strip().removeprefix("prefect:")
    return {found for part in (plain, plain.partition("@")[0]) if (found := _letters(part))}


def _letters(text: str) -> str:
    """Without space, signs, accents and width, which one writes so and the other so."""
    return "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if c.isalnum())
