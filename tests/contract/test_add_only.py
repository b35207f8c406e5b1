"""A key that may not delete, on every object store: nothing piles up, and only deletion fails."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import RepositoryDenied
from qdrant_dr.jobs.check.rows import Checked, CheckRow
from qdrant_dr.jobs.check.store import check_repository
from qdrant_dr.repository import (
    Repository,
    ask_to_delete,
    delete_copy,
    open_repository,
    plan_sweep,
    read_catalog,
    read_expired,
    record_expiry,
    same_place,
    sweep,
    withdraw,
)
from tests.support import records as made
from tests.support.backed_up import backed_up
from tests.support.denying import add_only
from tests.support.intents import intent_of
from tests.support.stores import Place, repository_in
from tests.support.thorough import only_thorough

AGES = timedelta(days=3)


@pytest.fixture
def adding(place: Place) -> Iterator[Place]:
    with add_only(place) as denying:
        yield denying


@pytest.fixture
def repository(adding: Place) -> Repository:
    return repository_in(adding.config("here"))


def everything(repository: Repository) -> list[str]:
    return [s.path for top in ("backups", "expired", "probes") for s in repository.store.find(top)]


def config_of(repository: Repository, place: Place, **config: object) -> RepositoryConfig:
    """The same place, by the key of `place`."""
    url = place.base.rpartition("/")[0] + "/" + repository.location.prefix
    return place.config("here").model_copy(update={"url": url, "id": repository.id, **config})


def reopened(repository: Repository, place: Place) -> Repository:
    cfg = config_of(repository, place)
    return open_repository(cfg, stall_timeout=timedelta(seconds=60))


def checked(repository: Repository, place: Place, **config: object) -> dict[str, CheckRow]:
    cfg = config_of(repository, place, **config)
    rows = tuple(
        check_repository(
            cfg, stall_timeout=timedelta(seconds=60), skew_limit=timedelta(seconds=30),
            read_only=False,
        )
    )  # fmt: skip
    assert Checked(rows).exit_code == 0, rows
    return {row.what: row for row in rows}


def test_checks_use_the_probes_again_that_they_may_not_remove(
    place: Place, request: pytest.FixtureRequest
) -> None:
    only_thorough(place.kind in ("gcs", "azure"))
    adding: Place = request.getfixturevalue("adding")
    repository: Repository = request.getfixturevalue("repository")
    first = checked(repository, adding)
    there = everything(repository)
    assert first["delete"].state == "skipped"
    assert "append_only: true" in first["delete"].found
    assert f"{len(there)} probes stay" in first["delete"].found
    again = checked(repository, adding, append_only=True)
    assert everything(repository) == there
    assert again["delete"].state == again["clock"].state == again["write"].state == "ok"
    assert "refused to a later writer" in again["create-only"].found


def test_where_deletion_is_allowed_again_the_probes_go(place: Place) -> None:
    only_thorough(place.kind in ("gcs", "azure"))
    with add_only(place) as adding:
        repository = repository_in(adding.config("here"))
        checked(repository, adding)
        assert everything(repository)
    rows = checked(repository, place)
    assert rows["delete"].state == "ok"
    assert everything(reopened(repository, place)) == []


def test_a_sweep_that_is_refused_is_a_remark(repository: Repository) -> None:
    of = made.manifest()
    repository.write_intent(of.key, intent_of(of))
    sink = repository.part_sink(of.key, "shard-0.snapshot")
    sink.write(b"half")
    sink.commit()
    before = everything(repository)
    catalog = read_catalog([repository], cluster="prod")
    plan = plan_sweep(catalog, repository.name, store_now=datetime.now(UTC) + AGES)
    assert plan.folders
    done = sweep(repository, plan)
    assert (done.removed, done.kept) == ((), ())
    assert of.key.folder in done.refused[0]
    assert everything(repository) == before


def test_expiring_asks_first_and_says_what_is_missing(repository: Repository) -> None:
    before = everything(repository)
    with pytest.raises(RepositoryDenied) as refused:
        ask_to_delete(repository, "prod")
    assert "append_only: true" in refused.value.hint
    assert any(word in refused.value.hint for word in ("s3:Delete", "objects.delete", "blobs/del"))
    assert everything(repository) == before


def test_what_cannot_be_taken_back_is_taken_back_by_another_record(repository: Repository) -> None:
    """Else a loss of the copy, one day, would be explained by a deletion that never was."""
    of = backed_up(repository)
    record = made.expired(of)
    record_expiry(repository, record)
    with pytest.raises(RepositoryDenied):
        delete_copy(repository, of.key.folder)
    for _ in range(3):
        withdraw(repository, of.key.folder)
        assert len(repository.find("expired")) == 2
    assert read_expired(repository, of.key.folder).records == ()
    (backup,) = read_catalog([repository], cluster="prod").backups
    assert backup.copies[0].state == "present"


def test_two_names_of_one_place_are_seen_without_deleting(
    repository: Repository, adding: Place
) -> None:
    assert same_place(repository, repository)
    other = repository_in(adding.config("other"))
    assert not same_place(repository, other)


def test_the_same_is_deleted_by_a_key_that_may(place: Place) -> None:
    with add_only(place) as adding:
        repository = repository_in(adding.config("here"))
        of = backed_up(repository)
    may = reopened(repository, place)
    ask_to_delete(may, "prod")
    record_expiry(may, made.expired(of))
    delete_copy(may, of.key.folder)
    assert may.find_backups("prod") == []
