"""What is acknowledged is shown and quiet; it hides nothing new, and makes nothing good."""

from __future__ import annotations

from typing import Any

import pytest

from qdrant_dr.records import Acknowledgement
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.finding import Problem
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.outputs.metrics import prometheus
from qdrant_dr.report.page.html import headline, render
from qdrant_dr.report.watch.changes import changes, found
from tests.support import records as r
from tests.support.records import NOW, days, hours
from tests.support.worlds import evidence, frames, good


def failed(run_id: str = "first") -> Any:
    start = r.run_start("verify", NOW - hours(1), run_id=run_id)
    return r.run_end(start, verdict="failed", reasons=("why",))


def with_run(*acknowledged: Acknowledgement, run_id: str = "first") -> Evidence:
    return good(ends=[*good().run_ends, failed(run_id)], acknowledged=acknowledged)


KNOWN = r.acknowledgement("run-bad", "last verify run", "first", until=NOW + days(7))


def one(of: Evidence, code: str) -> Problem:
    (problem,) = [p for p in Assessment.of(of).problems if p.code == code]
    return problem


def test_it_is_shown_with_who_and_why_and_is_quiet() -> None:
    loud = Assessment.of(with_run())
    assert loud.verdict == "failed"
    quiet = Assessment.of(with_run(KNOWN))
    assert quiet.verdict == "ok"
    told = one(with_run(KNOWN), "run-bad")
    assert (told.severity, told.worth) == ("notice", "critical")
    assert told.acknowledged is not None
    assert (told.acknowledged.by, told.acknowledged.until) == ("ana", NOW + days(7))
    frame = frames(with_run(KNOWN))["findings"]
    row = frame[frame["code"] == "run-bad"].iloc[0]
    assert (row["acknowledged_by"], row["severity_unacknowledged"]) == ("ana", "critical")
    assert row["acknowledged_reason"] == "it was meant"
    assert frames(with_run())["findings"]["acknowledged_by"].isna().all()
    page = render(quiet, frames(with_run(KNOWN))).decode()
    assert "acknowledged by ana until 2026-11-29" in page
    assert "1 critical finding" in headline(quiet), "the headline does not forget it"
    assert 'severity="critical"} 0' in prometheus(quiet)


def test_a_new_one_of_the_same_kind_is_as_loud_as_ever() -> None:
    assert one(with_run(KNOWN, run_id="second"), "run-bad").severity == "critical"


SMALL = {"copies": {"quorum": 2, "domains": 2}}


def lost_copy(*acknowledged: Acknowledgement) -> Evidence:
    m = r.manifest()
    return evidence(
        {"aws": [m], "gcp": []}, proofs=[r.proof(m)], ends=good().run_ends,
        acknowledged=acknowledged,
    )  # fmt: skip


def test_a_promise_stays_broken_whoever_knows_of_it() -> None:
    problem = one(lost_copy(), "below-quorum")
    known = [r.acknowledgement(p.code, p.scope, p.pin) for p in Assessment.of(lost_copy()).problems]
    assert problem.severity == "critical"
    assessed = Assessment.of(lost_copy(*known))
    assert assessed.verdict == "ok", "it raises no alarm"
    (standing,) = assessed.standings
    assert standing.status == "degraded", "and the collection is not protected"
    assert "1 needs action" in headline(assessed)
    assert standing.safe_copies == Assessment.of(lost_copy()).standings[0].safe_copies
    newer = r.manifest(at=NOW - hours(1))
    held = {"aws": [r.manifest(), newer], "gcp": []}
    proofs = [r.proof(m) for m in held["aws"]]
    tomorrow = evidence(held, proofs=proofs, ends=good().run_ends, acknowledged=known)
    assert one(tomorrow, "below-quorum").severity == "critical", "the next backup is new"


def test_a_damaged_copy_stays_damaged() -> None:
    m = r.manifest()
    held = {"aws": [m], "gcp": [m]}
    proofs = [r.proof(m), r.proof(m, "gcp", passed=False)]
    first = evidence(held, proofs=proofs, ends=good().run_ends)
    damaged = one(first, "copy-damaged")
    known = r.acknowledgement(damaged.code, damaged.scope, damaged.pin)
    quiet = evidence(held, proofs=proofs, ends=good().run_ends, acknowledged=[known])
    assert one(quiet, "copy-damaged").severity == "notice"
    assert quiet.catalog.backups[0].copy("gcp").state == "damaged"
    (standing,) = Assessment.of(quiet).standings
    assert [c.repository for c in standing.safe_copies] == ["aws"]
    assert standing.status == "degraded"
    again = [*proofs, r.proof(m, "gcp", passed=False, ended_at=NOW - hours(1))]
    worse = evidence(held, proofs=again, ends=good().run_ends, acknowledged=[known])
    assert one(worse, "copy-damaged").severity == "critical", "another failure is another finding"


def suspicious(*acknowledged: Acknowledgement) -> Evidence:
    m = r.manifest()
    held = {"aws": [m], "gcp": [m]}
    sealed = r.seal(m, suspect=("half is gone",))
    proofs = [r.proof(m, where, seal_sha256=sealed.sha256) for where in held]
    drill = r.run_end(r.run_start("drill", NOW - hours(1)), outcomes=(r.drilled(m),))
    return evidence(
        held, seals=[sealed], proofs=proofs, ends=[*good().run_ends, drill],
        acknowledged=acknowledged,
    )  # fmt: skip


def test_an_accepted_backup_makes_its_collection_protected_again() -> None:
    assert Assessment.of(suspicious()).standings[0].status == "degraded"
    m = r.manifest()
    known = r.acceptance(m, r.seal(m, suspect=("half is gone",)))
    assert Assessment.of(suspicious(known)).standings[0].status == "protected"
    assert one(suspicious(known), "suspect").acknowledged is not None
    other = r.acceptance(m, r.seal(m, suspect=("less",)))
    assert Assessment.of(suspicious(other)).standings[0].status == "degraded"


# told once: pure, over looks


def looked(of: Evidence, before: Any = None) -> Any:
    now = [found(p, before, NOW) for p in Assessment.of(of).problems]
    return changes(before, now, at=NOW)


def test_a_watch_reports_once_that_a_finding_is_acknowledged_and_that_it_is_back() -> None:
    base = looked(good())
    came = looked(with_run(), base.standing)
    assert [f.code for f in came.appeared] == ["run-bad"]
    known = looked(with_run(KNOWN), came.standing)
    assert (known.appeared, [f.code for f in known.cleared]) == ((), ["run-bad"])
    assert known.cleared[0].acknowledged is not None, "acknowledged, not over"
    still = looked(with_run(KNOWN), known.standing)
    assert (still.appeared, still.cleared) == ((), ())
    back = looked(with_run(), still.standing)
    assert [f.code for f in back.appeared] == ["run-bad"]
    new = looked(with_run(KNOWN, run_id="second"), still.standing)
    assert [f.facts for f in new.appeared] == ["second"]


def test_what_cannot_be_looked_at_stays_known_no_longer_than_it_was_said() -> None:
    standing = looked(with_run(KNOWN), looked(with_run()).standing).standing
    blind = changes(standing, [], at=NOW + days(1), unseen={"records"})
    assert (blind.appeared, blind.cleared) == ((), ())
    over = changes(standing, [], at=NOW + days(8), unseen={"records"})
    assert [(f.code, f.severity) for f in over.appeared] == [("run-bad", "critical")]


@pytest.mark.parametrize("gone", [False, True])
def test_an_alarm_that_is_over_is_told_over(gone: bool) -> None:
    came = looked(with_run(KNOWN) if gone else with_run(), looked(good()).standing)
    over = looked(good(), came.standing)
    assert [f.code for f in over.cleared] == ([] if gone else ["run-bad"])
