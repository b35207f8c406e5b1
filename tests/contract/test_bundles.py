"""Bundles on every store: the next look believes what one leaves, where the store tells MD5s."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qdrant_dr.repository import Repository, remembering, write_bundles
from qdrant_dr.repository.record_bundles import BATCH
from qdrant_dr.repository.record_cache import RememberingStore
from qdrant_dr.stores.base import fill
from tests.support import records as made
from tests.support.stores import Place, repository_in

PROOFS = "proofs/prod"


@pytest.fixture
def repository(place: Place) -> Repository:
    return repository_in(place.config("here"))


def look(repository: Repository) -> tuple[Repository, dict[str, bytes], list[str]]:
    """What somebody reads, and what was fetched for it: records and bundles."""
    fetched: list[str] = []
    inner = repository.store

    class Told(type(inner)):  # type: ignore[misc]
        def read(self, path: str) -> bytes:
            fetched.append(path)
            data: bytes = super().read(path)
            return data

    told = object.__new__(Told)
    told.__dict__.update(inner.__dict__)
    looking = remembering(replace(repository, store=told))
    found = {s.path: looking.store.read(s.path) for s in looking.store.find(PROOFS)}
    return looking, found, fetched


def test_what_one_machine_leaves_another_takes(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = made.manifest()
    for number in range(BATCH):
        made_id = f"20261122T101530Z-{number:06x}"
        repository.add_proof(made.proof(of).model_copy(update={"proof_id": made_id}))
    truth = {s.path: repository.store.read(s.path) for s in repository.find(PROOFS)}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    looking, found, fetched = look(repository)
    assert (found, len(fetched)) == (truth, BATCH)
    write_bundles(looking, datetime.now(UTC))
    left = [s.path for s in repository.store.find("bundles")]
    assert len(left) == isinstance(looking.store, RememberingStore)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    assert look(repository)[1:] == (truth, left or fetched)
    replaced = next(iter(truth))
    body = truth[replaced].replace(b"edge", b"EDGE")
    fill(repository.store.sink(replaced, replace=True), [body])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "three"))
    _, found, fetched = look(repository)
    assert found == {**truth, replaced: body} != truth
    assert replaced in fetched
