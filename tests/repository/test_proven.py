"""Which proofs prove a copy, and what clears a failure."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.records import DEPTHS, Manifest, Proof, Sample
from qdrant_dr.repository import (
    Repository,
    counted_copies,
    is_proven,
    newest_proven,
    open_failures,
    proof_of,
    read_catalog,
)
from qdrant_dr.repository.catalog import Backup, Copy
from tests.support import records as made
from tests.support.catalogs import back_up, manifest_of, only, prove

WEEK = timedelta(days=8)
SAMPLE = Sample(seed=7, per_mille=50, block_bytes=65536, detection_ppm=50_000)


def test_only_a_proof_of_this_copy_at_this_location_counts(one: Repository) -> None:
    of = manifest_of()
    back_up(of, one)
    one.put_seal(made.seal(of))
    elsewhere = one.location.model_copy(update={"prefix": "mnt/copy"})
    for n, fields in enumerate(
        ({"location": elsewhere}, {"repository_id": "00000000"}, {"manifest_sha256": "0" * 64})
    ):
        prove(of, one, ended_at=made.NOW + timedelta(seconds=n), **fields)
    backup = only(one)
    copy = backup.copy("one")
    assert (len(copy.proofs), len(copy.inherited)) == (0, 3)
    assert not is_proven(backup, copy, depth="content", max_age=WEEK, now=made.NOW)
    prove(of, one, ended_at=made.NOW - timedelta(hours=1))
    backup = only(one)
    assert is_proven(backup, backup.copy("one"), depth="content", max_age=WEEK, now=made.NOW)


@pytest.mark.parametrize(
    ("fields", "proven"),
    [
        ({}, True),
        ({"depth": "bytes"}, False),
        ({"depth": "load"}, False),
        ({"depth": "restore"}, True),
        ({"passed": False}, False),
        ({"depth": "content", "sample": SAMPLE}, False),
        ({"ended_at": made.NOW - WEEK}, True),
        ({"ended_at": made.NOW - WEEK - timedelta(seconds=1)}, False),
        ({"ended_at": made.NOW + timedelta(seconds=30)}, True),
        ({"ended_at": made.NOW + timedelta(hours=1)}, False),
    ],
)
def test_what_proves_a_copy(fields: dict[str, object], *, proven: bool) -> None:
    of = manifest_of()
    proof = made.proof(of, **{"ended_at": made.NOW, **fields})
    copy = Copy("aws", "d", "present", proofs=(proof,))
    backup = Backup(of, made.seal(of), (copy,))
    assert is_proven(backup, copy, depth="content", max_age=WEEK, now=made.NOW) is proven


def test_content_is_proven_only_against_the_seal_that_the_backup_has() -> None:
    of = manifest_of()
    copy = Copy("aws", "d", "present", proofs=(made.proof(of, ended_at=made.NOW),))
    for seal in (None, made.seal(of, live_sample=1)):
        backup = Backup(of, seal, (copy,))
        assert not is_proven(backup, copy, depth="content", max_age=WEEK, now=made.NOW)
        assert is_proven(backup, copy, depth="bytes", max_age=WEEK, now=made.NOW)


def test_a_proof_that_cannot_be_read_hides_a_failure_until_content_is_proven_again(
    one: Repository, tmp_path: Path
) -> None:
    of = manifest_of()
    back_up(of, one)
    one.put_seal(made.seal(of))
    prove(of, one)
    lost = prove(of, one, depth="bytes", passed=False, ended_at=made.NOW - timedelta(hours=1))
    (path,) = (tmp_path / "one").rglob(f"{lost.proof_id}.json")
    path.write_bytes(path.read_bytes()[:-5])
    catalog = read_catalog([one], cluster="prod")
    copy = catalog.backups[0].copy("one")
    assert copy.unread == (lost.proof_id,)
    assert not is_proven(catalog.backups[0], copy, depth="content", max_age=WEEK, now=made.NOW)
    assert len(catalog.unreadable) == 1
    prove(of, one, ended_at=made.NOW + timedelta(seconds=1), clears=(lost.proof_id,))
    catalog = read_catalog([one], cluster="prod")
    copy = catalog.backups[0].copy("one")
    assert is_proven(catalog.backups[0], copy, depth="content", max_age=WEEK, now=made.NOW)
    assert catalog.unreadable == ()


@pytest.mark.parametrize("state", ["damaged", "missing", "unreachable"])
def test_a_copy_that_is_not_there_is_not_proven(state: str) -> None:
    of = manifest_of()
    copy = Copy("aws", "d", state, proofs=(made.proof(of, ended_at=made.NOW),))  # type: ignore[arg-type]
    assert not is_proven(
        Backup(of, None, (copy,)), copy, depth="content", max_age=WEEK, now=made.NOW
    )


def failure(of: Manifest, depth: str = "bytes", **fields: object) -> Proof:
    return made.proof(of, depth=depth, passed=False, ended_at=made.NOW, **fields)


@pytest.mark.parametrize(
    ("depth", "fields", "closed"),
    [
        ("bytes", {}, True),
        ("content", {}, True),
        ("presence", {}, False),
        ("bytes", {"sample": SAMPLE}, False),
        ("bytes", {"clears": ()}, False),
        ("bytes", {"clears": ("another",)}, False),
        ("bytes", {"passed": False}, False),
        ("bytes", {"ended_at": made.NOW - timedelta(days=1)}, True),
    ],
    ids=["equal", "deeper", "shallower", "sampled", "unnamed", "misnamed", "failed", "clock"],
)
def test_a_failure_stays_open_until_an_equal_proof_names_it(
    depth: str, fields: dict[str, object], *, closed: bool
) -> None:
    of = manifest_of()
    failed = failure(of)
    after = made.NOW + timedelta(seconds=1)
    passed = made.proof(
        of, depth=depth, **{"ended_at": after, "clears": (failed.proof_id,), **fields}
    )
    assert (failed not in open_failures((failed, passed))) is closed


def test_a_sampled_failure_is_closed_by_the_same_sample_or_everything() -> None:
    of = manifest_of()
    failed = failure(of, sample=SAMPLE)
    named = {"clears": (failed.proof_id,), "ended_at": made.NOW}
    assert not open_failures((failed, made.proof(of, depth="bytes", **named)))
    assert not open_failures((failed, made.proof(of, depth="bytes", sample=SAMPLE, **named)))
    other = SAMPLE.model_copy(update={"seed": 8})
    assert open_failures((failed, made.proof(of, depth="bytes", sample=other, **named)))


@given(
    st.lists(
        st.tuples(st.sampled_from(DEPTHS[:5]), st.booleans(), st.integers(-20, 20)), max_size=6
    )
)
def test_without_clears_no_order_of_clocks_closes_a_failure(
    made_of: list[tuple[str, bool, int]],
) -> None:
    of = manifest_of()
    proofs = [
        made.proof(
            of,
            depth=depth,
            passed=passed,
            ended_at=made.NOW + timedelta(hours=at),
            proof_id=f"p{n}",
        )
        for n, (depth, passed, at) in enumerate(made_of)
    ]
    assert len(open_failures(proofs)) == sum(not p.passed for p in proofs)
    copy = Copy("aws", "d", "present", proofs=tuple(proofs))
    backup = Backup(of, None, (copy,))
    if not all(p.passed for p in proofs):
        assert counted_copies(backup, now=made.NOW) == ()


def test_the_newest_proof_of_a_depth_is_found() -> None:
    of = manifest_of()
    proofs = tuple(
        made.proof(of, depth=d, ended_at=made.NOW - timedelta(hours=n))
        for n, d in enumerate(("bytes", "content", "bytes", "content"))
    )
    copy = Copy("aws", "d", "present", proofs=proofs)
    assert proof_of(copy, depth="content", now=made.NOW) == proofs[1]
    assert proof_of(copy, depth="bytes", now=made.NOW) == proofs[0]
    assert proof_of(copy, depth="restore", now=made.NOW) is None


def test_the_newest_proven_is_older_than_the_newest() -> None:
    old, new = (manifest_of(at=made.NOW - timedelta(days=n)) for n in (2, 1))
    good = Copy("aws", "d", "present", proofs=(made.proof(old, ended_at=made.NOW),))
    unproven = Copy("aws", "d", "present")
    backups = [Backup(old, made.seal(old), (good,)), Backup(new, None, (unproven,))]
    found = newest_proven(backups, depth="content", max_age=WEEK, now=made.NOW)
    assert found is not None
    assert found.manifest == old
