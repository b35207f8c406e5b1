"""A repository on a disk: who may read it, and that nothing planted there is waited for."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qdrant_dr.errors import ObjectMissing, RecordDamaged, RecordError
from qdrant_dr.records.base import LARGEST
from qdrant_dr.repository import Repository, read_catalog
from tests.support import records as made
from tests.support.stores import repository_on_disk


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder: Path) -> tuple[set[int], set[int]]:
    """Of all files and of all folders below."""
    below = list(folder.rglob("*"))
    return (
        {stat.S_IMODE(p.stat().st_mode) for p in below if p.is_file()},
        {stat.S_IMODE(p.stat().st_mode) for p in below if p.is_dir()},
    )


def keep_something(repository: Repository) -> None:
    """A record, a part, and a part that takes the place of another."""
    repository.write_run_start(made.run_start())
    for replace in (False, True):
        sink = repository.store.sink("backups/a/b/c/part.snapshot", replace=replace)
        sink.write(b"archive")
        sink.commit()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_a_new_repository_is_its_owners_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        keep_something(repository_on_disk(tmp_path / "new"))
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert modes(tmp_path / "new") == ({0o600}, {0o700})


@pytest.mark.parametrize(
    ("folder", "files", "folders"),
    [
        (0o750, 0o640, 0o750),
        (0o2770, 0o640, 0o2770),
        (0o755, 0o644, 0o755),
        (0o777, 0o644, 0o775),
    ],
)
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_who_may_read_is_what_its_folder_says(
    tmp_path: Path, folder: int, files: int, folders: int, mask: int
) -> None:
    """So a group shares one: a folder with its bits, made or changed before."""
    root = tmp_path / "shared"
    root.mkdir()
    root.chmod(folder)
    with umask(mask):
        keep_something(repository_on_disk(root))
    assert stat.S_IMODE(root.stat().st_mode) == folder
    assert modes(root) == ({files}, {folders})


def test_what_is_there_keeps_its_mode(tmp_path: Path) -> None:
    repository = repository_on_disk(tmp_path / "old")
    (tmp_path / "old" / "backups").mkdir()
    (tmp_path / "old" / "backups").chmod(0o751)
    (tmp_path / "old" / "repository.json").chmod(0o604)
    keep_something(repository)
    assert modes(tmp_path / "old") == ({0o600, 0o604}, {0o700, 0o751})


# what somebody planted


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return repository_on_disk(tmp_path / "disk")


def planted(repository: Repository, tmp_path: Path, name: str) -> Path:
    """Where a proof would lie."""
    of = made.manifest()
    repository.add_proof(made.proof(of, repository_id=repository.id))
    (proof,) = (tmp_path / "disk").glob("proofs/**/*.json")
    return proof.with_name(f"{name}.json")


@pytest.mark.parametrize("what", ["fifo", "folder link", "device", "sparse", "endless link"])
def test_what_is_no_record_is_told_at_once_and_takes_no_memory(
    repository: Repository, tmp_path: Path, what: str
) -> None:
    """Three terabytes, a pipe that nobody fills: `status` must say so, not hang or swell."""
    at = planted(repository, tmp_path, "20261122T101530Z-0a1b2c")
    match what:
        case "fifo":
            os.mkfifo(at)
        case "folder link":
            at.symlink_to(tmp_path)
        case "device":
            at.symlink_to("/dev/zero")
        case "sparse":
            with at.open("wb") as out:
                out.truncate(3 * 2**40)
        case "endless link":
            at.symlink_to(at.name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read = repository.read_proofs(made.CLUSTER)
    assert len(read.records) == 1
    (unreadable,) = read.unreadable
    assert unreadable.path.endswith(at.name)
    assert isinstance(unreadable.error, RecordDamaged)
    assert "replicate" in unreadable.error.hint
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 2**10
    catalog = read_catalog([repository], cluster=made.CLUSTER)
    assert [u.path for u in catalog.unreadable] == [unreadable.path]


def test_a_folder_that_was_moved_and_linked_is_told(repository: Repository, tmp_path: Path) -> None:
    """It is not entered; without a word, its backups would look as if they had never been."""
    of = made.manifest()
    repository.put_manifest_bytes(of.key, of.to_bytes())
    (file,) = (tmp_path / "disk").glob("backups/**/manifest.json")
    collection = file.parent.parent
    collection.rename(tmp_path / "larger disk")
    collection.symlink_to(tmp_path / "larger disk")
    catalog = read_catalog([repository], cluster=made.CLUSTER)
    (unreadable,) = catalog.unreadable
    assert unreadable.path == collection.relative_to(tmp_path / "disk").as_posix()


def test_a_manifest_that_is_a_pipe_is_repaired_from_another_copy(
    repository: Repository, tmp_path: Path
) -> None:
    of = made.manifest()
    repository.put_manifest_bytes(of.key, of.to_bytes())
    (file,) = (tmp_path / "disk").glob("backups/**/manifest.json")
    for plant in (lambda: os.mkfifo(file), lambda: file.symlink_to("/dev/zero")):
        file.unlink()
        plant()
        with pytest.raises(RecordDamaged):
            repository.read_manifest(of.key)
        repository.repair_manifest(of.key, of.to_bytes())
        assert repository.read_manifest(of.key) == of
        assert file.is_file()
        assert not file.is_symlink()


def test_a_part_that_is_a_pipe_is_not_there(repository: Repository, tmp_path: Path) -> None:
    keep_something(repository)
    (file,) = (tmp_path / "disk").glob("backups/**/part.snapshot")
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ObjectMissing, match="is a FIFO"):
        list(repository.store.read_range("backups/a/b/c/part.snapshot"))


def test_a_record_that_nobody_would_read_back_is_not_written() -> None:
    end = made.run_end(reasons=("x" * (LARGEST + 1),))
    with pytest.raises(RecordError, match="is too large"):
        end.to_bytes()


def test_the_largest_that_we_know_of_fit_many_times() -> None:
    """2000 collections in three repositories, each captured and proven in one run."""
    outcomes = [
        outcome
        for n in range(2000)
        for of in [made.manifest(f"collection-{n:05d}")]
        for outcome in [
            made.captured(of, "aws", "gcp", "azure"),
            *(made.proved(made.proof(of, at)) for at in ("aws", "gcp", "azure")),
        ]
    ]
    assert len(made.run_end(outcomes=tuple(outcomes)).to_bytes()) < LARGEST / 10
