"""What was dated in the future when it was written is not true once that time has come."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qdrant_dr.config import Proven, RepositoryConfig
from qdrant_dr.records import Hold, Manifest, Proof
from qdrant_dr.repository import (
    Catalog,
    Policy,
    Repository,
    active_holds,
    add_hold,
    counted_copies,
    new_id,
    newest,
    newest_proven,
    open_failures,
    plan_expire,
    proven_copies,
    read_catalog,
    read_holds,
)
from tests.support import records as made
from tests.support.stores import repository_in

BYTES = b"points" * 100
DAY = timedelta(days=1)
PROVEN = Proven()


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def repository(tmp_path: Path, now: datetime) -> Repository:
    cfg = RepositoryConfig(name="one", url=f"file://{tmp_path / 'one'}", domain="here")
    return repository_in(cfg, now - DAY)


def stored(repository: Repository, at: datetime, **fields: object) -> Manifest:
    of = made.manifest("movies", at, **fields)
    part = of.parts[0].model_copy(
        update={"size_bytes": len(BYTES), "sha256": made.digest(BYTES.decode())}
    )
    of = of.model_copy(update={"parts": (part,)})
    sink = repository.part_sink(of.key, part.file)
    sink.write(BYTES)
    sink.commit()
    repository.commit(of)
    repository.put_seal(made.seal(of))
    return of


def prove(repository: Repository, of: Manifest, at: datetime, **fields: object) -> Proof:
    proof = made.proof(
        of, repository.name, ended_at=at, seal_sha256=made.seal(of).sha256,
        repository_id=repository.id, location=repository.location, **fields,
    )  # fmt: skip
    repository.add_proof(proof)
    return proof


def catalog(repository: Repository) -> Catalog:
    return read_catalog([repository], cluster="prod")


def is_proven(repository: Repository, now: datetime) -> bool:
    (backup,) = catalog(repository).backups
    proven = proven_copies(backup, depth="content", max_age=30 * DAY, now=now)
    return bool(proven) and bool(counted_copies(backup, now=now))


@pytest.mark.parametrize(("ahead", "counts"), [(timedelta(minutes=2), True), (2 * DAY, False)])
def test_a_proof_dated_in_the_future_never_counts(
    repository: Repository, now: datetime, ahead: timedelta, counts: bool
) -> None:
    of = stored(repository, now - timedelta(hours=2))
    prove(repository, of, now + ahead)
    assert is_proven(repository, now + 3 * DAY) is counts
    prove(repository, of, now)
    assert is_proven(repository, now + 3 * DAY)


def test_a_failure_counts_whenever_it_was_and_is_not_closed_by_a_success_of_the_future(
    repository: Repository, now: datetime
) -> None:
    of = stored(repository, now - timedelta(hours=2))
    prove(repository, of, now)
    failure = prove(repository, of, now + 2 * DAY, passed=False)
    prove(repository, of, now + 3 * DAY, clears=(failure.proof_id,))
    (backup,) = catalog(repository).backups
    assert [p.proof_id for p in open_failures(backup.copy("one").proofs)] == [failure.proof_id]
    assert not is_proven(repository, now + 4 * DAY)


def test_a_backup_dated_in_the_future_is_not_the_newest(
    repository: Repository, now: datetime
) -> None:
    """Else, in 30 days, what was captured today would be a recovery point of that day."""
    true = stored(repository, now - timedelta(hours=3))
    of = stored(repository, now + 30 * DAY)
    for m in (true, of):
        prove(repository, m, now)
    for at in (now, now + 31 * DAY, now + 400 * DAY):
        backups = catalog(repository).backups
        assert newest(backups, now=at).key == true.key
        proven = newest_proven(backups, depth="content", max_age=500 * DAY, now=at)
        assert proven is not None
        assert proven.key == true.key


def test_it_stays_until_somebody_names_it(repository: Repository, now: datetime) -> None:
    for hours in (3, 30):
        m = stored(repository, now - timedelta(hours=hours))
        prove(repository, m, now)
    of = stored(repository, now + 30 * DAY)
    policy = Policy(
        last=1, daily=0, weekly=0, monthly=0, floor=0, grace=timedelta(0), share=1.0, timezone=UTC
    )

    def goes(named: tuple[str, ...]) -> list[str]:
        plan = plan_expire(
            catalog(repository), lambda *_: policy, proven=PROVEN, holds=(),
            now=now + 60 * DAY, named=named,
        )  # fmt: skip
        return [e.key.backup_id for e in plan.goes]

    assert of.backup_id not in goes(())
    assert of.backup_id in goes((of.backup_id,))


def test_a_time_before_the_repository_existed_does_not_count(
    repository: Repository, now: datetime, tmp_path: Path
) -> None:
    """Copied files may have any time: a whole repository must not look like one of the future."""
    of = stored(repository, now - timedelta(hours=2))
    prove(repository, of, now - timedelta(hours=1))
    for file in (tmp_path / "one").rglob("*"):
        if file.is_file():
            os.utime(file, (0, 0))
    assert is_proven(repository, now)
    assert newest(catalog(repository).backups, now=now) is not None


def test_a_release_dated_in_the_future_releases_nothing_but_a_hold_holds(
    repository: Repository, now: datetime
) -> None:
    of = stored(repository, now - timedelta(hours=2))

    def hold(hold_id: str, at: datetime, **fields: object) -> None:
        record = Hold(
            hold_id=hold_id, backup_id=of.backup_id, cluster="prod", collection="movies",
            made_at=at, made_by="ada", reason="legal", **fields,
        )  # fmt: skip
        add_hold(repository, record)

    first, ahead, true = (new_id(now) for _ in range(3))
    hold(first, now + 9 * DAY, until=None)
    hold(ahead, now + 10 * DAY, until=None, keeps=False, releases=(first,))
    for at in (now, now + 11 * DAY):
        active = active_holds(read_holds(repository, "prod").records, now=at)
        assert [h.hold_id for h in active] == [first]
    hold(true, now, until=None, keeps=False, releases=(first,))
    assert active_holds(read_holds(repository, "prod").records, now=now) == ()


def test_a_hold_that_somebody_renamed_holds(repository: Repository, now: datetime) -> None:
    of = stored(repository, now - timedelta(hours=2))
    record = Hold(
        hold_id=new_id(now), backup_id=of.backup_id, cluster="prod", collection="movies",
        made_at=now, made_by="ada", reason="legal", until=None,
    )  # fmt: skip
    there = add_hold(repository, record)
    assert there is not None
    data = repository.store.read(there.path)
    repository.store.delete(there.path)
    repository.store.create(there.path.replace(".json", " (restored).json"), data)
    active = active_holds(read_holds(repository, "prod").records, now=now)
    assert [h.hold_id for h in active] == [record.hold_id]
    repository.store.create(there.path.replace(".json", " (cut).json"), data[:40])
    assert read_holds(repository, "prod").unreadable, "what may have been a hold stops deletions"
