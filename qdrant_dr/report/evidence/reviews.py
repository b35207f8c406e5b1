"""Reviews of drills and restores: who gave them, and whether a key of theirs signed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from qdrant_dr.errors import SignatureInvalid
from qdrant_dr.jobs.drill.sign import same_person
from qdrant_dr.records import RunEnd, Signed
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.signing import sshsig
from qdrant_dr.signing.allowed_signers import REJECTION, REVIEW, AllowedSigner, find

Proof = Literal["typed", "invalid", "unknown", "signed"]
"""A name and no signature; one that is not of this record; one of a key that is not allowed; one of
an allowed key."""


@dataclass(frozen=True)
class Signature:
    """A review of a run. `account` gave it; `holds`: it is over the same record that this report
    was made from. `key` is who the key is of by the allowed signers, else its fingerprint."""

    reviewer: str
    account: str
    at: datetime
    accepted: bool
    same_person: bool
    holds: bool
    proof: Proof
    key: str | None
    run: RunEnd

    @property
    def proof_in_words(self) -> str:
        """Say what stands behind the name."""
        match self.proof:
            case "typed":
                return "a typed name"
            case "invalid":
                return "its signature is not of this record"
            case "unknown":
                return f"signed by {self.key}, which is not an allowed signer"
            case "signed":
                return f"signed by {self.key}"


def reviews_of(evidence: Evidence) -> dict[str, Signature]:
    """Return the last review of each run, by its id, except that the person who ran it cannot
    replace the review of another one, nor a typed name one that is signed by an allowed key."""
    ends = {e.start.run_id: e for e in evidence.run_ends}
    found: dict[str, Signature] = {}
    for end in sorted(evidence.run_ends, key=lambda e: (e.ended_at, e.start.run_id)):
        for detail in (o.detail for o in end.outcomes):
            if isinstance(detail, Signed) and (of := ends.get(detail.run_id)) is not None:
                review = _review(end, detail, of, evidence.signers)
                if _stands(review, found.get(detail.run_id)):
                    found[detail.run_id] = review
    return found


def _stands(review: Signature, before: Signature | None) -> bool:
    if before is None:
        return True
    weaker = before.proof == "signed" and review.proof != "signed"
    return not weaker and (before.same_person or not review.same_person)


def _review(end: RunEnd, signed: Signed, of: RunEnd, signers: Sequence[AllowedSigner]) -> Signature:
    proof, key = _proof(end, signed, of, signers)
    named = [signed.reviewer, *([key] if proof == "signed" and key else [])]
    return Signature(
        reviewer=signed.reviewer,
        account=end.start.actor,
        at=end.ended_at,
        accepted=signed.accepted,
        same_person=any(same_person(of.start, name) for name in named),
        holds=signed.end_sha256 == of.sha256 and proof != "invalid",
        proof=proof,
        key=key,
        run=end,
    )


def _proof(
    end: RunEnd, signed: Signed, of: RunEnd, signers: Sequence[AllowedSigner]
) -> tuple[Proof, str | None]:
    if not signed.signature:
        return "typed", None
    namespace = REVIEW if signed.accepted else REJECTION
    try:
        key = sshsig.verify(of.to_bytes(), signed.signature.encode(), namespace)
    except SignatureInvalid:
        return "invalid", None
    try:
        return "signed", find(signers, key, REVIEW, end.ended_at).principals
    except SignatureInvalid:
        return "unknown", key.fingerprint
