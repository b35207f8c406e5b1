"""One repository on a disk: what is half, cut, edited, misplaced or gone is never believed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import (
    BytesDiffer,
    Conflict,
    ManifestConflict,
    ObjectMissing,
    RecordDamaged,
    RecordUnknown,
    RepositoryMismatch,
    RepositoryMissing,
    SealConflict,
)
from qdrant_dr.records import Intent, ListedSnapshot, Manifest, SnapshotAnswer
from qdrant_dr.records.base import canonical_json
from qdrant_dr.repository import (
    Repository,
    create_repository,
    open_repository,
    read_catalog,
    read_repository,
)
from tests.support import records as made
from tests.support.stores import repository_on_disk

PATIENCE = timedelta(seconds=5)
DATA = b"archive " * 300_000
MIB = 2**20


def manifest_of(data: bytes = DATA, **fields: object) -> Manifest:
    plain = made.manifest(**fields)
    part = plain.parts[0].model_copy(
        update={"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    )
    return plain.model_copy(update={"parts": (part,)})


def blocks(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), MIB):
        yield data[at : at + MIB]


def put_part(repository: Repository, of: Manifest, data: bytes = DATA) -> None:
    sink = repository.part_sink(of.key, of.parts[0].file, len(data))
    for block in blocks(data):
        sink.write(block)
    sink.commit()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "repository"


@pytest.fixture
def repository(folder: Path) -> Repository:
    return repository_on_disk(folder)


@pytest.fixture
def backup(repository: Repository) -> Manifest:
    found = manifest_of()
    put_part(repository, found)
    repository.commit(found)
    return found


# opening


def cfg(folder: Path, identifier: str | None = None) -> RepositoryConfig:
    return RepositoryConfig(name="disk", url=f"file://{folder}", domain="d", id=identifier)


def test_what_was_created_can_be_opened_and_not_created_again(folder: Path) -> None:
    made_id = create_repository(cfg(folder), made.NOW)
    opened = open_repository(cfg(folder, made_id), stall_timeout=PATIENCE)
    assert (opened.id, opened.name, opened.domain) == (made_id, "disk", "d")
    assert opened.record.created_at == made.NOW
    before = (folder / "repository.json").read_bytes()
    with pytest.raises(Conflict, match="is a repository already"):
        create_repository(cfg(folder), made.NOW)
    assert (folder / "repository.json").read_bytes() == before


def test_another_id_than_configured_is_an_error(folder: Path) -> None:
    made_id = create_repository(cfg(folder), made.NOW)
    for other in ("00000000", None):
        with pytest.raises(RepositoryMismatch, match=made_id):
            open_repository(cfg(folder, other), stall_timeout=PATIENCE)
    assert read_repository(cfg(folder), stall_timeout=PATIENCE).id == made_id


def test_an_unmounted_disk_is_not_an_empty_repository(folder: Path) -> None:
    made_id = create_repository(cfg(folder), made.NOW)
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(RepositoryMissing, match="does not exist"):
        open_repository(cfg(folder, made_id), stall_timeout=PATIENCE)
    folder.mkdir()
    with pytest.raises(RepositoryMissing, match=r"no repository\.json"):
        open_repository(cfg(folder, made_id), stall_timeout=PATIENCE)
    assert list(folder.iterdir()) == []


def test_a_disk_that_vanishes_while_open_gets_no_byte(
    repository: Repository, backup: Manifest, folder: Path
) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.mkdir()
    other = manifest_of(at=made.NOW)
    with pytest.raises(RepositoryMissing, match="a different disk"):
        put_part(repository, other)
    with pytest.raises(RepositoryMissing):
        repository.add_proof(made.proof(backup))
    with pytest.raises(RepositoryMissing):
        repository.find_backups("prod")
    with pytest.raises(RepositoryMissing):
        repository.read_manifest(backup.key)
    assert list(folder.iterdir()) == []


def test_a_listing_that_finds_nothing_asks_whether_there_is_a_repository(
    repository: Repository, folder: Path
) -> None:
    assert repository.find_backups("prod") == []
    (folder / "repository.json").unlink()
    with pytest.raises(RepositoryMissing, match="is gone"):
        repository.find_backups("prod")


# commit


def test_a_backup_exists_from_its_manifest_on(repository: Repository) -> None:
    of = manifest_of()
    listed = ListedSnapshot(name="a.snapshot", size_bytes=3, checksum=None)
    intent = Intent(
        run_id=of.run_id,
        backup_id=of.backup_id,
        cluster=of.cluster,
        collection=of.collection,
        node="http://127.0.0.1:6333",
        started_at=made.NOW,
        listed_before=(listed,),
        tool_version="0.1.0",
    )
    answer = SnapshotAnswer(
        backup_id=of.backup_id, node=intent.node, answered_at=made.NOW, snapshot=listed
    )
    second = intent.model_copy(update={"node": "http://127.0.0.1:6334", "shard": 3})
    repository.write_intent(of.key, intent)
    repository.write_answer(of.key, answer)
    repository.write_intent(of.key, second, 2)
    put_part(repository, of)
    seen = read_catalog([repository], cluster="prod")
    assert seen.backups == ()
    assert [u.folder for u in seen.unfinished] == [of.key.folder]
    repository.commit(of)
    seen = read_catalog([repository], cluster="prod")
    assert [b.manifest for b in seen.backups] == [of]
    assert seen.backups[0].copies[0].state == "present"
    assert seen.unfinished == ()
    assert repository.read_manifest(of.key) == of
    assert repository.manifest_bytes(of.key) == of.to_bytes()
    files = repository.find_backups("prod", of.collection, of.backup_id)
    assert repository.read_calls(files) == (((1, intent, answer), (2, second, None)), ())
    assert b"".join(repository.read_part(of.key, of.parts[0])) == DATA
    assert b"".join(repository.read_part(of.key, of.parts[0], 5, 20)) == DATA[5:20]


def test_no_manifest_without_its_parts(repository: Repository) -> None:
    of = manifest_of()
    with pytest.raises(ObjectMissing, match="gone before its manifest"):
        repository.commit(of)
    put_part(repository, of, DATA[:-1])
    with pytest.raises(BytesDiffer, match=f"has {len(DATA) - 1} bytes, {len(DATA)} were written"):
        repository.commit(of)
    assert read_catalog([repository], cluster="prod").backups == ()


def test_a_second_manifest_under_one_id_is_a_conflict(
    repository: Repository, backup: Manifest
) -> None:
    repository.commit(backup)
    with pytest.raises(ManifestConflict):
        repository.commit(backup.model_copy(update={"note": "another"}))
    assert repository.read_manifest(backup.key) == backup


def test_a_second_different_seal_is_a_conflict(repository: Repository, backup: Manifest) -> None:
    assert repository.read_seal(backup.key) is None
    seal = made.seal(backup)
    repository.put_seal(seal)
    repository.put_seal(seal)
    assert repository.read_seal(backup.key) == seal
    with pytest.raises(SealConflict):
        repository.put_seal(made.seal(backup, live_sample=7))
    assert repository.read_seal(backup.key) == seal


# records that cannot be believed


def manifest_file(folder: Path) -> Path:
    (found,) = folder.glob("backups/**/manifest.json")
    return found


def test_a_manifest_cut_at_any_byte_is_damaged(
    repository: Repository, backup: Manifest, folder: Path
) -> None:
    whole = backup.to_bytes()
    for length in (*range(0, len(whole), 97), len(whole) - 1):
        manifest_file(folder).write_bytes(whole[:length])
        with pytest.raises(RecordDamaged, match=r"disk/backups/prod/movies-.*manifest\.json"):
            repository.read_manifest(backup.key)


def test_an_edited_manifest_is_damaged_and_in_the_catalog(
    repository: Repository, backup: Manifest, folder: Path
) -> None:
    manifest_file(folder).write_bytes(backup.to_bytes().replace(b'"movies"', b'"mov1es"'))
    seen = read_catalog([repository], cluster="prod")
    assert seen.backups == ()
    assert [type(u.error) for u in seen.unreadable] == [RecordDamaged]
    assert not seen.complete
    assert seen.unfinished == ()


def test_a_manifest_of_a_newer_version_is_unknown(
    repository: Repository, backup: Manifest, folder: Path
) -> None:
    body = json.loads(backup.to_bytes())
    del body["sha256"]
    body["format"] = 2
    body["sha256"] = hashlib.sha256(canonical_json(body)).hexdigest()
    manifest_file(folder).write_bytes(canonical_json(body))
    with pytest.raises(RecordUnknown, match="format 2"):
        repository.read_manifest(backup.key)
    assert [type(u.error) for u in read_catalog([repository], cluster="prod").unreadable] == [
        RecordUnknown
    ]


def test_a_manifest_in_another_folder_is_misplaced(
    repository: Repository, backup: Manifest, folder: Path
) -> None:
    there = manifest_file(folder).parent
    twin = there.with_name("20260101T000000Z-abcdef")
    shutil.copytree(there, twin)
    seen = read_catalog([repository], cluster="prod")
    assert [b.key for b in seen.backups] == [backup.key]
    assert ["misplaced" in u.error.message for u in seen.unreadable] == [True]
    with pytest.raises(RecordDamaged, match="misplaced"):
        repository.put_manifest_bytes(
            backup.key.model_copy(update={"backup_id": "20260101T000000Z-abcdef"}),
            backup.to_bytes(),
        )


# repair


def test_a_damaged_part_is_replaced_by_the_bytes_of_the_manifest(
    repository: Repository, backup: Manifest, folder: Path
) -> None:
    (file,) = folder.glob("backups/**/*.snapshot")
    file.write_bytes(b"rot" + DATA[3:])
    repository.replace_part(backup.key, backup.parts[0], blocks(DATA))
    assert file.read_bytes() == DATA
    file.unlink()
    repository.replace_part(backup.key, backup.parts[0], blocks(DATA))
    assert file.read_bytes() == DATA


@pytest.mark.parametrize(
    "bad",
    [DATA[:-1], DATA + b"x", DATA[:-1] + b"X", b"", b"x" + DATA[1:]],
    ids=["short", "long", "last", "empty", "first"],
)
def test_a_bad_source_leaves_the_old_part_untouched(
    repository: Repository, backup: Manifest, folder: Path, bad: bytes
) -> None:
    (file,) = folder.glob("backups/**/*.snapshot")
    file.write_bytes(b"what was there")
    with pytest.raises(BytesDiffer, match="nothing was replaced in disk"):
        repository.replace_part(backup.key, backup.parts[0], blocks(bad))
    assert file.read_bytes() == b"what was there"
    assert repository.open_uploads("prod") == []


def test_a_source_that_fails_leaves_the_old_part_untouched(
    repository: Repository, backup: Manifest, folder: Path
) -> None:
    def broken() -> Iterator[bytes]:
        yield DATA[:MIB]
        raise ObjectMissing("gone")

    with pytest.raises(ObjectMissing):
        repository.replace_part(backup.key, backup.parts[0], broken())
    assert b"".join(repository.read_part(backup.key, backup.parts[0])) == DATA
    assert repository.open_uploads("prod") == []


def test_a_cut_manifest_is_repaired_and_a_different_one_never(
    repository: Repository, backup: Manifest, folder: Path
) -> None:
    manifest_file(folder).write_bytes(backup.to_bytes()[:-5])
    repository.repair_manifest(backup.key, backup.to_bytes())
    assert repository.read_manifest(backup.key) == backup
    other = backup.model_copy(update={"note": "another"})
    with pytest.raises(ManifestConflict):
        repository.repair_manifest(backup.key, other.to_bytes())
    assert repository.read_manifest(backup.key) == backup


# proofs and runs


def test_proofs_are_kept_and_read_back_and_the_unreadable_told(
    repository: Repository, backup: Manifest, folder: Path
) -> None:
    first = made.proof(backup, ended_at=made.NOW - timedelta(hours=1))
    second = made.proof(backup, ended_at=made.NOW)
    repository.add_proof(second)
    repository.add_proof(first)
    assert repository.read_proofs("prod").records == (first, second)
    assert repository.read_proofs("prod", "movies", backup.backup_id).records == (first, second)
    assert repository.read_proofs("prod", "other").records == ()
    (file, _) = sorted(folder.glob("proofs/**/*.json"))
    file.write_bytes(file.read_bytes().replace(b"true", b"trux"))
    read = repository.read_proofs("prod")
    assert len(read.records) == 1
    assert [u.path for u in read.unreadable] == [file.relative_to(folder).as_posix()]


def test_a_start_without_an_end_stays_a_start(repository: Repository) -> None:
    month = timedelta(days=31)
    starts = [made.run_start(at=made.NOW - n * month) for n in range(4)]
    for start in starts:
        repository.write_run_start(start)
    end = made.run_end(starts[1])
    repository.write_run_end(end)
    found, ends = repository.read_runs(made.NOW - 2 * month, made.NOW)
    assert sorted(s.run_id for s in found.records) == sorted(s.run_id for s in starts[:3])
    assert ends.records == (end,)
    assert repository.read_runs(made.NOW - 9 * month, made.NOW - 8 * month)[0].records == ()


def test_the_clock_of_a_store_is_read_off_the_record_of_a_run(repository: Repository) -> None:
    start = made.run_start()
    assert repository.began(start) is None
    repository.write_run_start(start)
    there = repository.began(start)
    assert there is not None
    assert abs(there.modified_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_bandwidth_is_kept(tmp_path: Path) -> None:
    import time

    slow = repository_on_disk(tmp_path / "slow", bandwidth="4MiB/s")
    of = manifest_of(bytes(4 * MIB))
    began = time.monotonic()
    put_part(slow, of, bytes(4 * MIB))
    assert 0.6 < time.monotonic() - began < 20
