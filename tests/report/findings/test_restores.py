"""Restores for real: what they brought back, who approved them, what they say of recovery time."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from qdrant_dr.records import Manifest, RunEnd
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.frames.build import Assessment
from tests.support import records as r
from tests.support.pages import page
from tests.support.records import NOW, days, hours
from tests.support.worlds import evidence, frames, good, row, said


def run(*outcomes: Any, at: Any = NOW - hours(1), actor: str = "ben", **fields: Any) -> RunEnd:
    return r.run_end(r.run_start("restore", at, actor=actor), outcomes=outcomes, **fields)


def world(*ends: RunEnd, of: Manifest | None = None) -> Evidence:
    """A well-kept collection that was never drilled, and these restores."""
    m = of or r.manifest()
    backup = r.run_end(outcomes=(r.captured(m),), seen=(r.seen(m.collection),))
    proofs = [r.proof(m, where) for where in ("aws", "gcp")]
    return evidence({"aws": [m], "gcp": [m]}, proofs=proofs, ends=[backup, *ends])


def restore(of: Evidence) -> dict[str, Any]:
    (only,) = frames(of)["restores"].to_dict("records")
    return dict(only)


def test_a_proven_restore_has_a_row_and_is_evidence_of_recovery_time() -> None:
    got = world(run(r.restored(r.manifest(aliases=("live",)))))
    found = restore(got)
    assert (found["verdict"], found["points_lost_count"], found["rto_seconds"]) == ("passed", 0, 90)
    assert (found["requester"], found["approved_by"], found["same_person"]) == ("ben", "ana", False)
    assert (found["aliases_set"], found["repositories"]) == ("live", "aws")
    about = row(got)
    assert (about["rto_seconds"], about["rto_from"]) == (90, "restore")
    assert about["rto_measured_at"] == NOW - hours(1)
    assert about["status"] == "protected"
    assert said(got) == []


@pytest.mark.parametrize(
    "detail",
    [
        {"target_kind": "sandbox"},
        {"target_kind": None},
        {"route": "salvage"},
        {"resumed": True},
        {"fingerprint_equal": None},
        {"fingerprint_equal": False},
        {"points_restored": 1999},
        {"points_expected": None},
    ],
    ids=lambda d: "-".join(map(str, next(iter(d.items())))),
)
def test_what_is_no_recovery_time(detail: dict[str, Any]) -> None:
    got = world(run(r.restored(r.manifest(), detail=detail)))
    assert pd.isna(restore(got)["rto_seconds"])
    assert pd.isna(row(got)["rto_seconds"])
    assert any("no recovery time was ever measured" in what for _, _, what in said(got))


def test_the_newest_measurement_counts_drill_or_restore() -> None:
    m = r.manifest()
    drill = r.run_end(
        r.run_start("drill", NOW - hours(3)), outcomes=(r.drilled(m, NOW - hours(3)),)
    )
    earlier = run(r.restored(m, NOW - hours(4)), at=NOW - hours(4))
    later = run(r.restored(m, NOW - hours(1)))
    assert row(world(drill, earlier))["rto_from"] == "drill"
    assert row(world(drill, later))["rto_from"] == "restore"


def test_a_slow_restore_misses_the_objective() -> None:
    slow = run(r.restored(r.manifest(), detail={"total_us": 7200 * 10**6}))
    severity, _, what = next(f for f in said(world(slow)) if "time objective missed" in f[2])
    assert (severity, what) == (
        "critical",
        "recovery time objective missed: 2 h measured, promised 1 h",
    )


def test_a_failed_restore_degrades_until_one_passes() -> None:
    m = r.manifest()
    failed = run(
        r.restored(m, NOW - hours(2), verdict="failed", error=r.error("recover-failed", "500"),
                   detail={"points_restored": None, "fingerprint_equal": None, "phases": ()}),
        at=NOW - hours(2), verdict="failed",
    )  # fmt: skip
    broken = world(failed)
    problem = next(p for p in Assessment.of(broken).problems if "failed" in p.what)
    assert problem.severity == "critical"
    assert problem.what == (
        "the last restore of movies on https://new.internal:6333 failed: recover-failed: 500"
    )
    assert problem.next_command == (
        f"decide: is the restore still wanted? `qdrant-dr restore {m.key} "
        "--to https://new.internal:6333 --as movies` prints the plan."
    )
    assert row(broken)["status"] == "degraded"
    assert restore(broken)["error_code"] == "recover-failed"
    assert not any("failed" in what for _, _, what in said(world(failed, run(r.restored(m)))))


def test_one_that_failed_before_there_was_a_detail_is_a_row_too() -> None:
    outcome = r.restored(r.manifest(), verdict="failed", error=r.error()).model_copy(
        update={"detail": None}
    )
    got = world(run(outcome, verdict="failed"))
    found = restore(got)
    assert (found["verdict"], found["error_code"]) == ("failed", "repository-unreachable")
    assert pd.isna(found["target"])
    assert pd.isna(found["same_person"])


def test_a_refused_run_without_units_has_a_command_that_exists() -> None:
    refused = run(verdict="failed", error=r.error("plan-refused", "no space"))
    problem = next(p for p in Assessment.of(world(refused)).problems if "no space" in p.what)
    assert problem.next_command == ("decide: is it still wanted? See `qdrant-dr restore --help`.")


def test_points_that_a_salvage_lost() -> None:
    lost = {
        "route": "salvage", "points_restored": 1997, "fingerprint_equal": False,
        "lost_ids": (4, 5, "6f1c0b5e-0000-4000-8000-000000000000"),
    }  # fmt: skip
    got = world(run(r.restored(r.manifest(), detail=lost)))
    assert (restore(got)["verdict"], restore(got)["points_lost_count"]) == ("partial", 3)
    problem = next(p for p in Assessment.of(got).problems if "salvaged" in p.what)
    assert (problem.severity, problem.blast_radius) == ("warning", "3 of 2000 points")
    assert problem.what.endswith("3 points lost")


def test_a_restore_that_nobody_compared_is_not_passed() -> None:
    got = world(run(r.restored(r.manifest(), detail={"fingerprint_equal": None})))
    assert restore(got)["verdict"] == "partial"
    assert any(s == "critical" and "was not proven equal" in what for s, _, what in said(got))


def test_approving_ones_own_restore_is_told_on_a_real_server_only() -> None:
    m = r.manifest()
    own = world(run(r.restored(m), actor="ana"))
    assert restore(own)["same_person"] is True
    assert any("approved by ana, who requested it" in what for _, _, what in said(own))
    for actor in ("prefect:Ana", "ana@bastion", "Ana (as typed)"):
        assert restore(world(run(r.restored(m), actor=actor)))["same_person"] is True
    sandbox = world(run(r.restored(m, detail={"target_kind": "sandbox"}), actor="ana"))
    assert not any("who requested it" in what for _, _, what in said(sandbox))
    nobody = world(run(r.restored(m, detail={"approved_by": ""}), actor="ana"))
    assert pd.isna(restore(nobody)["same_person"])
    assert pd.isna(restore(nobody)["approved_by"])


def test_one_that_was_resumed_by_the_same_run_is_two_rows() -> None:
    m = r.manifest()
    both = run(
        r.restored(m, NOW - hours(2), verdict="failed", error=r.error()),
        r.restored(m, NOW - hours(2), detail={"resumed": True}),
        at=NOW - hours(2),
    )
    table = frames(world(both))["restores"]
    assert len(table) == table["restore_id"].nunique() == 2


def test_only_those_of_the_period_are_listed() -> None:
    old = run(r.restored(r.manifest(), NOW - days(40)), at=NOW - days(40))
    assert frames(world(old))["restores"].empty


def test_the_section_is_there_only_if_there_is_one() -> None:
    assert "Restores" not in page(good()).headings
    got = page(
        world(
            run(r.restored(r.manifest(), detail={"aliases_left": ("<b>live</b>",)}), actor="<i>eve")
        )
    )
    assert "Restores" in got.headings
    assert "not moved: <b>live</b>" in got.words
    assert "<i>eve" in got.words
    assert "restore for real, all of it" in got.words
    assert "movies, restore of 2026-11-22; promised 1 h" in got.words
