"""What the records say: states of copies, and which backup is the newest."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from qdrant_dr.errors import ManifestConflict, RepositoryUnreachable, SealConflict
from qdrant_dr.records import Location
from qdrant_dr.repository import (
    Repository,
    RepositoryState,
    counted_copies,
    is_proven,
    newest,
    newest_proven,
    proven_copies,
    read_catalog,
)
from qdrant_dr.repository.catalog import Backup
from tests.support import records as made
from tests.support.catalogs import DATA, back_up, manifest_of, only, prove

WEEK = timedelta(days=8)


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
