"""A review is a typed name, or signed: by an allowed key, by another, or not of this record."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from qdrant_dr.records import Outcome, RunEnd, Signed
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.reviews import Signature, reviews_of
from qdrant_dr.report.frames.columns import plain_rows
from qdrant_dr.signing import sshsig
from qdrant_dr.signing.allowed_signers import REJECTION, REVIEW, AllowedSigner
from qdrant_dr.signing.ssh_keys import PrivateKey, new_key
from tests.support import records as r
from tests.support.records import NOW, days, hours
from tests.support.worlds import frames, good

BEA = new_key()
ALLOWED = (AllowedSigner("bea@example.com", BEA.public, REVIEW),)


def drill() -> RunEnd:
    return next(e for e in good().run_ends if e.start.job == "drill")


def review(
    of: RunEnd,
    reviewer: str = "Bea",
    *,
    at: datetime = NOW - hours(0.5),
    key: PrivateKey | None = None,
    accepted: bool = True,
    namespace: str | None = None,
    data: bytes | None = None,
) -> RunEnd:
    """The run by which somebody reviewed another one."""
    signature = ""
    if key is not None:
        name = namespace or (REVIEW if accepted else REJECTION)
        signature = sshsig.sign(data or of.to_bytes(), key, name).decode()
    detail = Signed(
        run_id=of.start.run_id,
        end_sha256=of.sha256,
        reviewer=reviewer,
        accepted=accepted,
        signature=signature,
        fingerprint=key.public.fingerprint if key else "",
    )
    outcome = Outcome(
        unit="sign", collection="*", verdict="ok", started_at=at, ended_at=at, detail=detail
    )
    start = r.run_start("sign", at, actor="bea@host")
    return r.run_end(start, ended_at=at, outcomes=(outcome,))


def world(*reviews: RunEnd, ends: tuple[RunEnd, ...] = ()) -> Evidence:
    of = good(ends=[*good().run_ends, *ends, *reviews])
    return replace(of, signers=ALLOWED)


def judged(*reviews: RunEnd) -> Signature:
    return reviews_of(world(*reviews))[drill().start.run_id]


@pytest.mark.parametrize(
    ("fields", "proof", "key", "holds"),
    [
        ({}, "typed", None, True),
        ({"key": BEA}, "signed", "bea@example.com", True),
        ({"key": BEA, "accepted": False}, "signed", "bea@example.com", True),
        ({"key": BEA, "data": b"another record"}, "invalid", None, False),
        ({"key": BEA, "namespace": "git"}, "invalid", None, False),
        ({"key": BEA, "namespace": REJECTION}, "invalid", None, False),
    ],
)
def test_what_stands_behind_a_name(
    fields: dict[str, Any], proof: str, key: str | None, holds: bool
) -> None:
    found = judged(review(drill(), **fields))
    assert (found.proof, found.key, found.holds) == (proof, key, holds)
    assert found.proof_in_words


def test_a_key_that_is_not_allowed_then_is_unknown() -> None:
    other = new_key()
    assert judged(review(drill(), key=other)).key == other.public.fingerprint
    assert judged(review(drill(), key=other)).proof == "unknown"
    ended = (replace(ALLOWED[0], valid_before=NOW - days(1)),)
    late = replace(world(review(drill(), key=BEA)), signers=ended)
    assert reviews_of(late)[drill().start.run_id].proof == "unknown"


def test_a_typed_name_never_replaces_a_signed_review() -> None:
    signed = review(drill(), key=BEA, accepted=False, at=NOW - hours(0.6))
    typed = review(drill(), "Bea", at=NOW - hours(0.4))
    assert judged(signed, typed).accepted is False
    again = review(drill(), key=BEA, at=NOW - hours(0.3))
    assert judged(signed, typed, again).accepted is True


def test_who_signs_under_another_name_is_still_who_ran_it() -> None:
    ran = r.run_end(r.run_start("drill", NOW - hours(0.8), actor="bea@example.com"))
    found = reviews_of(world(review(ran, "Carl", key=BEA), ends=(ran,)))[ran.start.run_id]
    assert found.same_person


def test_the_frames_say_which_reviews_are_signed() -> None:
    for fields, proof in (({}, "typed"), ({"key": BEA}, "signed")):
        of = world(review(drill(), **fields))
        (row,) = plain_rows(frames(of)["drills"])
        assert (row["review_signature"], row["accepted"]) == (proof, True)
        controls = {c["control"]: c for c in plain_rows(frames(of)["controls"])}
        assert controls["CP-4"]["state"] == "met"
        assert controls["CP-4"]["figures"].endswith(f"{int(proof == 'signed')} signed")


def test_an_approval_is_signed_by_its_giver_afterwards_or_stays_a_typed_name() -> None:
    m = r.manifest()
    restore = r.run_end(
        r.run_start("restore", NOW - hours(0.8)), outcomes=(r.restored(m, NOW - hours(0.8)),)
    )

    def row(*reviews: RunEnd) -> dict[str, Any]:
        (found,) = plain_rows(frames(world(*reviews, ends=(restore,)))["restores"])
        return found

    assert (row()["approved_by"], row()["approval_signature"]) == ("ana", "typed")
    assert row(review(restore, "Carl", key=BEA))["approval_signature"] == "typed"
    assert row(review(restore, "ana", key=BEA, accepted=False))["approval_signature"] == "typed"
    given = row(review(restore, "ana", key=BEA))
    assert (given["approval_signature"], given["approval_key"]) == ("signed", "bea@example.com")
