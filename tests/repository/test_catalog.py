"""What the records say: states of copies, proofs that count, failures that stay open."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.errors import ManifestConflict, RepositoryUnreachable, SealConflict
from qdrant_dr.records import DEPTHS, Location, Manifest, Proof, Sample
from qdrant_dr.repository import (
    Repository,
    RepositoryState,
    counted_copies,
    is_proven,
    newest,
    newest_proven,
    open_failures,
    proof_of,
    proven_copies,
    read_catalog,
)
from qdrant_dr.repository.catalog import Backup, Copy
from tests.support import records as made
from tests.support.stores import repository_on_disk

WEEK = timedelta(days=8)
DATA = b"archive" * 1000
SAMPLE = Sample(seed=7, per_mille=50, block_bytes=65536, detection_ppm=50_000)


def manifest_of(collection: str = "movies", at: datetime = made.NOW, **fields: object) -> Manifest:
    plain = made.manifest(collection, at, **fields)
    part = plain.parts[0].model_copy(
        update={"size_bytes": len(DATA), "sha256": hashlib.sha256(DATA).hexdigest()}
    )
    return plain.model_copy(update={"parts": (part,)})


def back_up(of: Manifest, *repositories: Repository) -> None:
    for repository in repositories:
        sink = repository.part_sink(of.key, of.parts[0].file)
        sink.write(DATA)
        sink.commit()
        repository.commit(of)


def prove(of: Manifest, repository: Repository, **fields: object) -> Proof:
    about = {"repository_id": repository.id, "location": repository.location}
    proof = made.proof(of, **{"ended_at": made.NOW, **about, **fields})
    repository.add_proof(proof)
    return proof


@pytest.fixture
def one(tmp_path: Path) -> Repository:
    return repository_on_disk(tmp_path / "one", "one")


@pytest.fixture
def two(tmp_path: Path) -> Repository:
    return repository_on_disk(tmp_path / "two", "two")


def only(*repositories: Repository) -> Backup:
    (backup,) = read_catalog(repositories, cluster="prod").backups
    return backup


# states of copies


def test_every_configured_repository_has_a_copy_row(one: Repository, two: Repository) -> None:
    of = manifest_of()
    back_up(of, one)
    lost = RepositoryState("three", None, "d", None, RepositoryUnreachable("no answer"))
    catalog = read_catalog([one, two], cluster="prod", unreachable=[lost])
    (backup,) = catalog.backups
    assert [(c.repository, c.state) for c in backup.copies] == [
        ("one", "present"), ("two", "missing"), ("three", "unreachable")]  # fmt: skip
    assert not catalog.complete
    assert [r.name for r in catalog.unreachable] == ["three"]
    assert catalog.find(of.key) == backup
    with pytest.raises(KeyError):
        backup.copy("four")


def test_a_copy_without_its_manifest_is_behind(one: Repository, two: Repository) -> None:
    of = manifest_of()
    back_up(of, one)
    sink = two.part_sink(of.key, of.parts[0].file)
    sink.write(DATA)
    sink.commit()
    copy = only(one, two).copy("two")
    assert (copy.state, copy.lacks, copy.committed) == ("behind", ("manifest",), False)


def test_a_copy_without_the_seal_is_behind_and_still_a_copy(
    one: Repository, two: Repository
) -> None:
    of = manifest_of()
    back_up(of, one, two)
    one.put_seal(made.seal(of))
    prove(of, two, depth="bytes")
    backup = only(one, two)
    copy = backup.copy("two")
    assert (copy.state, copy.lacks, copy.committed) == ("behind", ("seal",), True)
    assert [c.repository for c in counted_copies(backup, now=made.NOW)] == ["two"]


def test_a_copy_whose_part_is_gone_or_short_is_damaged(one: Repository, tmp_path: Path) -> None:
    of = manifest_of()
    back_up(of, one)
    (part,) = (tmp_path / "one").glob("backups/**/*.snapshot")
    prove(of, one)
    for damage in (lambda: part.write_bytes(DATA[:-1]), part.unlink):
        damage()
        backup = only(one)
        copy = backup.copy("one")
        assert (copy.state, copy.lacks) == ("damaged", ("collection.snapshot",))
        assert not is_proven(backup, copy, depth="content", max_age=WEEK, now=made.NOW)
        assert counted_copies(backup, now=made.NOW) == ()


def test_a_copy_whose_seal_cannot_be_read_is_damaged(
    one: Repository, two: Repository, tmp_path: Path
) -> None:
    of = manifest_of()
    back_up(of, one, two)
    for repository in (one, two):
        repository.put_seal(made.seal(of))
    (seal,) = (tmp_path / "two").glob("backups/**/seal.json")
    seal.write_bytes(seal.read_bytes()[:-1])
    assert [c.state for c in only(one, two).copies] == ["present", "damaged"]


def test_a_repository_that_fails_while_it_is_read_is_unreachable(
    one: Repository, two: Repository, tmp_path: Path
) -> None:
    of = manifest_of()
    back_up(of, one, two)
    (tmp_path / "two").rename(tmp_path / "elsewhere")
    catalog = read_catalog([one, two], cluster="prod")
    assert [c.state for c in catalog.backups[0].copies] == ["present", "unreachable"]
    assert not catalog.complete


def test_a_foreign_file_among_backups_is_reported_but_is_no_damage(
    one: Repository, tmp_path: Path
) -> None:
    back_up(manifest_of(), one)
    (tmp_path / "one/backups/prod/notes.txt").write_text("who am I?")
    catalog = read_catalog([one], cluster="prod")
    assert len(catalog.backups) == 1
    assert catalog.complete
    assert [s.path for s in catalog.strangers] == ["backups/prod/notes.txt"]


def test_an_empty_catalog_is_not_complete() -> None:
    assert not read_catalog([], cluster="prod").complete


def test_only_the_collection_that_is_asked_for_is_read(one: Repository) -> None:
    for collection in ("movies", "users"):
        back_up(manifest_of(collection), one)
    both = read_catalog([one], cluster="prod")
    assert both.collections == ("movies", "users")
    assert read_catalog([one], cluster="prod", collection="users").collections == ("users",)
    assert read_catalog([one], cluster="other").backups == ()


# conflicts


def test_two_manifests_under_one_id_are_a_conflict_that_proves_nothing(
    one: Repository, two: Repository
) -> None:
    of = manifest_of()
    other = of.model_copy(update={"note": "another"})
    back_up(of, one)
    back_up(other, two)
    prove(of, one)
    prove(other, two)
    backup = only(one, two)
    assert isinstance(backup.conflict, ManifestConflict)
    for name, digest in (("one", of.sha256), ("two", other.sha256)):
        assert f"{name} {digest[:12]}" in backup.conflict.message
    assert proven_copies(backup, depth="content", max_age=WEEK, now=made.NOW) == ()
    assert counted_copies(backup, now=made.NOW) == ()
    assert newest_proven([backup], depth="content", max_age=WEEK, now=made.NOW) is None


def test_a_proof_counts_however_its_place_is_spelled(one: Repository) -> None:
    of = manifest_of()
    back_up(of, one)
    one.put_seal(made.seal(of))
    box = Location(protocol="az", endpoint="acme", bucket="box", prefix="q")
    now = replace(one, location=box)
    named = (("acme.blob.core.windows.net", 1), ("other", 1), ("acme", 2))
    for n, (endpoint, counts) in enumerate(named):
        spelled = box.model_copy(update={"endpoint": endpoint})
        prove(of, one, ended_at=made.NOW + timedelta(seconds=n), location=spelled)
        assert len(only(now).copy("one").proofs) == counts, endpoint


@pytest.mark.parametrize(("passed", "state"), [(True, "present"), (False, "damaged")])
def test_damage_counts_under_whatever_endpoint_it_was_found(
    one: Repository, passed: bool, state: str
) -> None:
    """An earlier version wrote down no endpoint of the environment: damage that it found is still
    there, while what it proved is to be proven again."""
    of = manifest_of()
    back_up(of, one)
    one.put_seal(made.seal(of))
    now = Location(protocol="s3", endpoint="minio:9000", bucket="box", prefix="q")
    prove(of, one, passed=passed, location=now.model_copy(update={"endpoint": ""}))
    copy = only(replace(one, location=now)).copy("one")
    assert (copy.state, len(copy.proofs)) == (state, int(not passed))
    elsewhere = now.model_copy(update={"bucket": "another"})
    assert only(replace(one, location=elsewhere)).copy("one").state == "present"


def test_two_seals_are_a_conflict(one: Repository, two: Repository) -> None:
    of = manifest_of()
    back_up(of, one, two)
    one.put_seal(made.seal(of))
    two.put_seal(made.seal(of, live_sample=7))
    assert isinstance(only(one, two).conflict, SealConflict)


# proofs


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


# newest


def bare(at: datetime, **fields: object) -> Backup:
    return Backup(manifest_of(at=at, **fields), None, ())


def test_newest_goes_by_captured_at_and_never_by_the_future() -> None:
    past = [bare(made.NOW - timedelta(days=n)) for n in (3, 1, 2)]
    future = bare(made.NOW + timedelta(days=400))
    for order in itertools.permutations([*past, future]):
        assert newest(order, now=made.NOW) == past[1]
    assert newest([future], now=made.NOW) is None
    assert newest([], now=made.NOW) is None
    late_id = bare(made.NOW - timedelta(days=5), backup_id="20991231T235959Z-ffffff")
    assert newest([late_id, past[0]], now=made.NOW) == past[0]


def test_the_newest_proven_is_older_than_the_newest() -> None:
    old, new = (manifest_of(at=made.NOW - timedelta(days=n)) for n in (2, 1))
    good = Copy("aws", "d", "present", proofs=(made.proof(old, ended_at=made.NOW),))
    unproven = Copy("aws", "d", "present")
    backups = [Backup(old, made.seal(old), (good,)), Backup(new, None, (unproven,))]
    found = newest_proven(backups, depth="content", max_age=WEEK, now=made.NOW)
    assert found is not None
    assert found.manifest == old
