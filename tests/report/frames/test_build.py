"""What each frame says of hand-made records, and what an auditor rejects."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pytest

from qdrant_dr.records import Sample, Searched
from tests.support import records as r
from tests.support.records import NOW, days, hours
from tests.support.worlds import evidence, frames, good, row, said


def test_a_protected_collection() -> None:
    got = row(good())
    assert (got["status"], got["proven_depth"], got["source_kind"]) == (
        "protected",
        "content",
        "server",
    )
    assert got["rpo_seconds"] == 2 * 3600
    assert got["rto_seconds"] == pytest.approx(54.7)
    assert got["rto_measured_at"] == pd.Timestamp(NOW - hours(1))
    assert (got["copies_proven_count"], got["domains_proven_count"]) == (2, 2)
    assert got["next_command"] is pd.NA
    assert said(good()) == []


def test_backups_tell_what_was_measured() -> None:
    got = dict(frames(good())["backups"].iloc[0])
    assert (got["capture_seconds"], got["transfer_seconds"]) == (4, 20)
    assert got["throughput_bytes_per_second"] == pytest.approx(1_449_472 / 20)
    assert (got["points_count"], got["consistency"], got["seal_reference"]) == (
        2000,
        "quiesced",
        "source",
    )
    assert len(got["fingerprint"]) == len(got["manifest_sha256"]) == 64


def test_not_measured_is_missing_never_zero() -> None:
    m = r.manifest()
    alone = evidence({"aws": [m], "gcp": [m]}, seals=[])
    backup = frames(alone)["backups"].iloc[0]
    assert backup[["points_count", "consistency", "seal_reference", "fingerprint"]].isna().all()
    copy = frames(alone)["copies"].iloc[0]
    assert copy[["deepest_proof", "proven_at", "bytes_checked_ratio"]].isna().all()
    assert pd.isna(copy["detection_probability"])
    got = row(alone)
    assert got["status"] == "unproven"
    for name in ("rpo_seconds", "rto_seconds", "newest_proven_at", "rto_measured_at"):
        assert pd.isna(got[name])


def test_rpo_counts_from_the_newest_proven_backup() -> None:
    old, new = r.manifest(at=NOW - hours(20)), r.manifest(at=NOW - hours(1))
    both = evidence({"aws": [old, new], "gcp": [old, new]}, proofs=[r.proof(old)])
    assert row(both)["newest_backup_id"] == new.backup_id
    assert row(both)["rpo_seconds"] == 20 * 3600
    assert ("warning", "movies") in [s[:2] for s in said(both)]


def test_a_future_dated_backup_is_never_the_newest() -> None:
    now = r.manifest()
    future = r.manifest(at=NOW + days(400), transferred_at=NOW - hours(1))
    held = [now, future]
    both = evidence({"aws": held, "gcp": held}, proofs=[r.proof(m, ended_at=NOW) for m in held])
    assert row(both)["newest_backup_id"] == now.backup_id
    assert row(both)["rpo_seconds"] == 2 * 3600
    assert any("dated in the future" in what for _, _, what in said(both))


def test_only_future_dated_backups_are_no_backup() -> None:
    future = r.manifest(at=NOW + days(400), transferred_at=NOW - hours(1))
    alone = evidence(
        {"aws": [future], "gcp": [future]}, proofs=[r.proof(future, ended_at=NOW - hours(1))]
    )
    assert row(alone)["status"] == "unprotected"
    assert pd.isna(row(alone)["rpo_seconds"])
    assert any("dated in the future" in what for _, _, what in said(alone))


def test_backups_of_another_incarnation_prove_nothing() -> None:
    past, present = r.manifest(at=NOW - hours(9), incarnation="one"), r.manifest(incarnation="two")
    held = [past, present]
    reborn = evidence({"aws": held, "gcp": held}, proofs=[r.proof(past), r.proof(past, "gcp")])
    assert row(reborn)["status"] == "unproven"
    assert pd.isna(row(reborn)["rpo_seconds"])


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"depth": "bytes"}, "unproven"),
        ({"ended_at": NOW - days(9)}, "unproven"),
        ({"location": r.location("elsewhere")}, "unproven"),
        (
            {"sample": Sample(seed=1, per_mille=50, block_bytes=4096, detection_ppm=50_000)},
            "unproven",
        ),
        ({}, "protected"),
    ],
)
def test_which_copies_make_a_backup_proven(change: dict[str, object], status: str) -> None:
    m = r.manifest(at=NOW - days(10) if "ended_at" in change else NOW - hours(2))
    proofs = [r.proof(m, where, **change) for where in ("aws", "gcp")]
    assert row(evidence({"aws": [m], "gcp": [m]}, proofs=proofs))["status"] == status


def test_an_open_failure_stays_open_until_a_proof_names_it() -> None:
    m = r.manifest()
    bad = r.proof(m, "gcp", passed=False, ended_at=NOW - hours(1))
    again = r.proof(m, "gcp", ended_at=NOW - timedelta(minutes=30))
    proofs = [r.proof(m), r.proof(m, "gcp"), bad]
    held = {"aws": [m], "gcp": [m]}
    # a later pass that does not name the failure clears nothing
    for extra, state in (((), "damaged"), ((again,), "damaged")):
        got = evidence(held, proofs=[*proofs, *extra])
        assert list(frames(got)["copies"]["state"]) == ["present", state]
        assert row(got)["status"] == "degraded"
    clearing = again.model_copy(update={"clears": (bad.proof_id,)})
    healed = evidence(held, proofs=[*proofs, clearing])
    assert list(frames(healed)["copies"]["state"]) == ["present", "present"]
    assert row(healed)["copies_proven_count"] == 2


def test_a_crashed_run_is_a_failed_run() -> None:
    starts = [r.run_start("backup", NOW - hours(7)), r.run_start("verify", NOW - hours(1))]
    runs = frames(evidence(starts=starts))["runs"]
    crashed, running = runs.iloc[0], runs.iloc[1]
    assert (crashed["verdict"], crashed["error_code"]) == ("failed", "no-end")
    assert crashed[["ended_at", "units_count", "units_failed_count"]].isna().all()
    assert running[["verdict", "error_code", "ended_at"]].isna().all()


# what an auditor rejects


def test_failed_and_refused_drills_are_listed_too() -> None:
    m = r.manifest()
    outcomes = (
        r.drilled(m, NOW - hours(4)),
        r.drilled(m, NOW - hours(3), verdict="failed", error=r.error("recover-failed")),
        r.drilled(m, NOW - hours(2)).model_copy(
            update={"verdict": "skipped", "detail": None, "error": r.error("plan-refused")}
        ),
        r.drilled(m, NOW - hours(1), detail={"fingerprint_equal": False}),
    )
    end = r.run_end(r.run_start("drill", NOW - hours(5)), outcomes=outcomes)
    drills = frames(evidence({"aws": [m], "gcp": [m]}, ends=[end]))["drills"]
    assert list(drills["verdict"]) == ["passed", "failed", "not run", "failed"]
    assert drills["rto_seconds"].notna().tolist() == [True, False, False, False]
    assert list(drills["error_code"][1:3]) == ["recover-failed", "plan-refused"]


@pytest.mark.parametrize(
    ("fields", "filled"),
    [
        ({}, {"restore_seconds", "rto_seconds"}),
        ({"target_kind": "sandbox"}, {"restore_seconds"}),
        ({"engine": "edge"}, {"readback_seconds"}),
        ({"verdict": "failed"}, set()),
        ({"detail": {"fingerprint_equal": None}}, set()),
        ({"detail": {"points_restored": 1999}}, set()),
    ],
)
def test_only_a_passed_drill_on_a_real_server_measures_recovery(
    fields: dict[str, object], filled: set[str]
) -> None:
    m = r.manifest()
    end = r.run_end(
        r.run_start("drill", NOW - hours(1)),
        outcomes=(r.drilled(m, **fields),),  # type: ignore[arg-type]
    )
    got = evidence({"aws": [m], "gcp": [m]}, proofs=[r.proof(m)], ends=[end])
    drill = frames(got)["drills"].iloc[0]
    names = ["restore_seconds", "readback_seconds", "rto_seconds"]
    assert {n for n in names if pd.notna(drill[n])} == filled
    assert pd.notna(drill["rto_met"]) == ("rto_seconds" in filled)
    assert pd.notna(row(got)["rto_seconds"]) == ("rto_seconds" in filled)
    if "rto_seconds" in filled:
        assert (drill["rto_seconds"], drill["restore_seconds"]) == (pytest.approx(54.7), 32)


def test_drills_of_one_run_stay_apart_whatever_they_are_called() -> None:
    a, b = r.manifest("a"), r.manifest("b")
    outcomes = tuple(r.drilled(m, detail={"drill_id": "same"}) for m in (a, b))
    end = r.run_end(r.run_start("drill", NOW - hours(1)), outcomes=outcomes)
    got = frames(evidence({"aws": [a, b], "gcp": [a, b]}, ends=[end]))
    assert got["drills"]["drill_id"].is_unique
    assert len(got["drill_phases"]) == 14


def test_exclusions_have_reasons() -> None:
    config = r.config(
        collections={
            "include": ["m*", "tmp_*"],
            "exclude": [{"match": "tmp_*", "reason": "rebuilt nightly"}],
        }
    )
    end = r.run_end(seen=(r.seen("tmp_a", "excluded"), r.seen("other"), r.seen("movies")))
    frame = frames(evidence(config=config, ends=[end]))["collections"].set_index("collection")
    assert list(frame["status"]) == ["unprotected", "excluded", "excluded"]
    assert frame.loc["tmp_a", "exclusion_reason"] == "rebuilt nightly (rule tmp_*)"
    assert "include" in frame.loc["other", "exclusion_reason"]


def test_an_unreachable_repository_counts_for_nothing() -> None:
    m = r.manifest()
    got = evidence(
        {"aws": [m], "gcp": [m]}, proofs=[r.proof(m), r.proof(m, "gcp")], unreachable=["gcp"]
    )
    copies = frames(got)["copies"]
    assert list(copies["state"]) == ["present", "unreachable"]
    assert copies.iloc[1][["stored_bytes", "deepest_proof", "proven_at"]].isna().all()
    assert (row(got)["status"], row(got)["copies_proven_count"]) == ("degraded", 1)
    scopes = {scope for severity, scope, _ in said(got) if severity == "critical"}
    assert {"gcp", "movies"} <= scopes


def test_one_place_declared_as_two_domains_is_told() -> None:
    here = r.location("aws")
    states = [r.state("aws"), r.state("gcp", location=here)]
    assert [s for s, scope, _ in said(evidence(states=states)) if scope == "aws, gcp"] == [
        "warning"
    ]
    respelled = here.model_copy(update={"endpoint": "s3.eu-central-1.amazonaws.com"})
    states = [r.state("aws"), r.state("gcp", location=respelled)]
    assert [s for s, scope, _ in said(evidence(states=states)) if scope == "aws, gcp"] == [
        "warning"
    ]
    local = here.model_copy(update={"protocol": "file", "bucket": ""})
    states = [r.state("aws", location=local), r.state("gcp", location=local)]
    assert [s for s, scope, _ in said(evidence(states=states)) if scope == "aws, gcp"] == ["notice"]


def test_a_sample_is_shown_as_a_sample() -> None:
    m = r.manifest()
    sample = Sample(seed=1, per_mille=50, block_bytes=4096, detection_ppm=48_000)
    proof = r.proof(m, depth="bytes", sample=sample, bytes_checked=m.size_bytes // 20)
    got = evidence({"aws": [m], "gcp": [m]}, proofs=[proof])
    copy = frames(got)["copies"].iloc[0]
    assert copy["bytes_checked_ratio"] == pytest.approx(0.05, rel=1e-3)
    assert copy["detection_probability"] == pytest.approx(0.048)
    assert row(got)["copies_proven_count"] == 0


def test_later_records_change_nothing() -> None:
    m, later = r.manifest(), r.manifest(at=NOW + hours(1))
    before = frames(good())
    end = r.run_end(r.run_start("backup", NOW + hours(1)), outcomes=(r.captured(later),))
    proofs = [
        *(r.proof(m, where) for where in ("aws", "gcp")),
        r.proof(m, "gcp", passed=False, ended_at=NOW + hours(2)),
        r.proof(later),
    ]
    base = good()
    after = frames(
        evidence({"aws": [m, later], "gcp": [m, later]}, proofs=proofs, ends=[*base.run_ends, end])
    )
    for name, frame in before.items():
        pd.testing.assert_frame_equal(frame, after[name])


def test_an_earlier_as_of_shows_what_stood_then() -> None:
    m = r.manifest()
    bad = r.proof(m, "gcp", passed=False, ended_at=NOW - hours(1))
    cleared = r.proof(m, "gcp", ended_at=NOW - timedelta(minutes=10), clears=(bad.proof_id,))
    proofs = [r.proof(m), r.proof(m, "gcp"), bad, cleared]

    def states(at: object) -> list[str]:
        return list(
            frames(evidence({"aws": [m], "gcp": [m]}, proofs=proofs, as_of=at))["copies"]["state"]
        )

    assert states(NOW) == ["present", "present"]
    assert states(NOW - timedelta(minutes=30)) == ["present", "damaged"]
    assert states(NOW - timedelta(minutes=90)) == ["present", "present"]


def test_the_period_bounds_runs_and_drills() -> None:
    week = good(period=timedelta(minutes=90))
    assert list(frames(week)["runs"]["kind"]) == ["drill"]
    assert len(frames(week)["backups"]) == 1
    assert row(week)["status"] == "protected"


def test_evidence_refuses_what_a_report_cannot_state() -> None:
    with pytest.raises(ValueError, match="period"):
        evidence(period=timedelta(seconds=-1))
    with pytest.raises(ValueError, match="UTC"):
        evidence(as_of=NOW.astimezone(None).replace(tzinfo=None))
    with pytest.raises(ValueError, match="a state or an error"):
        evidence(config=r.config("aws", "gcp", "minio"))


def test_searches_are_columns_of_the_copy_and_deepen_what_is_proven() -> None:
    m = r.manifest()
    searched = Searched(
        queries=20, recall_ppm=987_500, lowest_recall_ppm=900_000, latency_p50_us=800,
        latency_p95_us=2_500, filters=4,
    )  # fmt: skip
    deep = r.proof(m, depth="restore", searched=searched, ended_at=NOW - hours(1.5))
    later = r.proof(m, ended_at=NOW - hours(1))
    got = good(proofs=[deep, later, r.proof(m, "gcp")])
    table = frames(got)["copies"].set_index("repository")
    aws = table.loc["aws"]
    assert (aws["deepest_proof"], aws["searched_at"]) == ("restore", NOW - hours(1.5))
    assert (aws["recall"], aws["recall_lowest"]) == (0.9875, 0.9)
    assert (aws["search_p95_seconds"], aws["filters_count"]) == (0.0025, 4)
    assert table.loc["gcp", ["searched_at", "recall", "filters_count"]].isna().all()
    about = row(got)
    assert about["proven_depth"] == "restore"
    assert about["newest_proven_at"] == NOW - hours(1)


def test_a_search_that_failed_is_told_and_proves_nothing() -> None:
    m = r.manifest()
    poor = Searched(
        queries=20, recall_ppm=400_000, lowest_recall_ppm=0, latency_p50_us=800,
        latency_p95_us=2_500, filters=0,
    )  # fmt: skip
    failed = r.proof(m, depth="search", passed=False, searched=poor, ended_at=NOW - hours(1))
    got = good(proofs=[r.proof(m), failed, r.proof(m, "gcp")])
    aws = frames(got)["copies"].set_index("repository").loc["aws"]
    assert (aws["recall"], aws["state"], aws["deepest_proof"]) == (0.4, "damaged", "content")
    assert row(got)["proven_depth"] == "content"
