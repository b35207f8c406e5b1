"""What the pure plans decide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from qdrant_dr.errors import ManifestConflict, NothingSelected
from qdrant_dr.hints import split_hint
from qdrant_dr.jobs.backup.job import (
    BackupPlan,
    BackupRequest,
    _proven_at,
    plan_backup,
    plan_first_proofs,
)
from qdrant_dr.jobs.replicate.job import plan_heals, plan_reproofs
from qdrant_dr.jobs.verify.job import VerifyRequest, plan_verify
from qdrant_dr.records import Finding
from qdrant_dr.repository import Backup
from tests.support.records import (
    NOW,
    captured,
    catalog,
    config,
    days,
    hours,
    manifest,
    proof,
)

NODE = "http://127.0.0.1:6333"
MOVIES = manifest()


def planned(request: BackupRequest | None = None, *names: str, proven=None, **collections):
    cfg = config(collections=collections)
    return plan_backup(
        cfg,
        request or BackupRequest(),
        on_cluster=names or ("movies", "users"),
        nodes=(NODE,),
        proven_at=proven or {},
        now=NOW,
    )


def statuses(plan: BackupPlan) -> dict[str, str]:
    return {s.collection: s.status for s in plan.seen}


class TestBackup:
    def test_new_collections_are_protected_by_default(self) -> None:
        plan = planned()
        assert [u.collection for u in plan.captures] == ["movies", "users"]
        assert plan.captures[0].repositories == ("aws", "gcp")
        assert plan.captures[0].method == "collection"

    def test_every_collection_is_seen_with_its_rule_and_reason(self) -> None:
        plan = planned(
            None, "movies", "tmp_a", expect=["gone"],
            exclude=[{"match": "tmp_*", "reason": "rebuilt nightly"}],
        )  # fmt: skip
        assert statuses(plan) == {"movies": "included", "tmp_a": "excluded", "gone": "missing"}
        excluded = next(s for s in plan.seen if s.collection == "tmp_a")
        assert (excluded.rule, excluded.reason) == ("tmp_*", "rebuilt nightly")

    def test_what_no_pattern_includes_is_excluded_with_a_reason(self) -> None:
        plan = planned(include=["mov*"])
        assert statuses(plan) == {"movies": "included", "users": "excluded"}

    @pytest.mark.parametrize("asked", [(), ("moveis",)])
    def test_selecting_nothing_is_an_error(self, asked: tuple[str, ...]) -> None:
        with pytest.raises(NothingSelected):
            planned(BackupRequest(collections=asked))

    def test_asking_for_an_excluded_one_is_an_error(self) -> None:
        with pytest.raises(NothingSelected, match="excluded"):
            planned(
                BackupRequest(collections=("users",)), exclude=[{"match": "us*", "reason": "why"}]
            )

    def test_a_recent_proven_backup_is_left_alone_if_asked(self) -> None:
        plan = planned(BackupRequest(min_age_minutes=60), proven={"movies": NOW - hours(0.5)})
        assert [u.collection for u in plan.captures] == ["users"]
        assert "under 60 min" in str(plan.seen[0].reason)

    def test_one_copy_is_proven_deep_and_first(self) -> None:
        outcomes = [captured(MOVIES, "gcp", "aws"), captured(manifest("users"), "gcp")]
        units = plan_first_proofs(config(), outcomes, "content")
        assert [(u.collection, u.repository, u.depth) for u in units] == [
            ("movies", "aws", "content"),
            ("users", "gcp", "content"),
            ("movies", "gcp", "bytes"),
        ]


class TestReplicate:
    def test_missing_copies_are_healed_from_the_deepest_proven(self) -> None:
        held = {"aws": [MOVIES], "gcp": [MOVIES], "minio": []}
        proofs = [proof(MOVIES, "gcp"), proof(MOVIES, "aws", depth="bytes", reached="bytes")]
        plan = plan_heals(catalog(held, proofs=proofs).backups, ["aws", "gcp", "minio"], now=NOW)
        assert [(u.repository, u.sources) for u in plan.heals] == [("minio", ("gcp", "aws"))]
        assert plan.looked_at == 3

    def test_a_damaged_copy_is_no_source(self) -> None:
        bad = proof(
            MOVIES, "gcp", passed=False, reached="presence",
            findings=(Finding(code="bytes-differ", message="x"),),
        )  # fmt: skip
        found = catalog({"aws": [MOVIES], "gcp": [MOVIES]}, proofs=[bad])
        plan = plan_heals(found.backups, ["aws", "gcp"], now=NOW)
        (heal,) = plan.heals
        assert (heal.repository, heal.sources) == ("gcp", ("aws",))
        assert "bytes-differ" in heal.why

    def test_no_good_copy_left_is_an_objection_not_silence(self) -> None:
        bad = proof(
            MOVIES, "aws", passed=False, reached=None,
            findings=(Finding(code="bytes-differ", message="x"),),
        )  # fmt: skip
        found = catalog({"aws": [MOVIES], "gcp": []}, proofs=[bad])
        plan = plan_heals(found.backups, ["aws", "gcp"], now=NOW)
        assert plan.heals == ()
        assert len(plan.objections) == 2

    def test_a_conflict_is_never_healed(self) -> None:
        found = catalog({"aws": [MOVIES], "gcp": []})
        backup = replace(found.backups[0], conflict=ManifestConflict("two truths"))
        plan = plan_heals([backup], ["aws", "gcp"], now=NOW)
        assert plan.heals == ()
        (objection,) = plan.objections
        what, step = split_hint(objection)
        assert what == "two truths"
        assert step is not None
        assert step.startswith("decide: ")

    def test_what_was_healed_is_proven_as_deep_as_it_failed(self) -> None:
        bad = proof(
            MOVIES, "gcp", passed=False, depth="structure", reached="presence",
            findings=(Finding(code="archive-invalid", message="x"),),
        )  # fmt: skip
        found = catalog({"aws": [MOVIES], "gcp": [MOVIES]}, proofs=[bad])
        plan = plan_heals(found.backups, ["gcp"], now=NOW)
        good = captured(MOVIES, "gcp").model_copy(update={"unit": "heal"})
        (unit,) = plan_reproofs(found, [good], plan.heals)
        assert (unit.depth, unit.repository) == ("structure", "gcp")


class TestVerify:
    def test_the_latest_of_each_collection_longest_unproven_first(self) -> None:
        old = manifest(at=NOW - days(2))
        found = catalog({"aws": [old, MOVIES], "gcp": [old, MOVIES]}, proofs=[proof(MOVIES, "aws")])
        units, objections, _ = plan_verify(config(), VerifyRequest(), found.backups, now=NOW)
        assert [(u.key.backup_id, u.repository) for u in units] == [
            (MOVIES.backup_id, "gcp"),
            (MOVIES.backup_id, "aws"),
        ]
        assert objections == ()
        assert {u.depth for u in units} == {"content"}

    def test_a_missing_copy_is_an_objection(self) -> None:
        found = catalog({"aws": [MOVIES], "gcp": []})
        units, objections, _ = plan_verify(config(), VerifyRequest(), found.backups, now=NOW)
        assert [u.repository for u in units] == ["aws"]
        (objection,) = objections
        assert split_hint(objection) == (
            f"{MOVIES.key} in gcp is missing",
            f"run `qdrant-dr replicate {MOVIES.key} -r gcp`.",
        )

    def test_fresh_proofs_are_left_out_only_when_asked(self) -> None:
        found = catalog({"aws": [MOVIES], "gcp": [MOVIES]}, proofs=[proof(MOVIES, "aws")])
        request = VerifyRequest(not_proven_since_hours=24)
        units, _, fresh = plan_verify(config(), request, found.backups, now=NOW)
        assert ([u.repository for u in units], fresh) == (["gcp"], 1)

    def test_a_sample_reads_bytes_and_no_deeper(self) -> None:
        found = catalog({"aws": [MOVIES], "gcp": [MOVIES]})
        request = VerifyRequest(sample_per_mille=50, seed=7)
        units, _, _ = plan_verify(config(), request, found.backups, now=NOW)
        assert {(u.depth, u.sample_per_mille, u.seed) for u in units} == {("bytes", 50, 7)}


class Read(tuple[Backup, ...]):
    """Backups that count how often all of them are gone through."""

    __slots__ = ()
    times = 0

    def __iter__(self) -> Iterator[Backup]:
        Read.times += 1
        return super().__iter__()


@pytest.mark.parametrize("collections", [3, 30])
def test_plans_go_through_all_backups_a_few_times_however_many_collections(
    collections: int,
) -> None:
    made = [manifest(f"c{n}", NOW - hours(h)) for n in range(collections) for h in (2, 26)]
    proofs = [proof(m, where) for m in made for where in ("aws", "gcp")]
    of = catalog({"aws": made, "gcp": made}, proofs=proofs)
    backups = Read(of.backups)
    Read.times = 0
    units, _, _ = plan_verify(config(), VerifyRequest(), backups, now=NOW)
    assert len(units) == 2 * collections
    assert _proven_at(config(), replace(of, backups=backups), NOW) == {
        m.collection: m.captured_at for m in made[::2]
    }
    assert all(len(replace(of, backups=backups).of(f"c{n}")) == 2 for n in range(3))
    assert Read.times <= 6
