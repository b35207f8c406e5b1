"""Bundles of records save requests and nothing else: what fails with them stops no work."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qdrant_dr import configfile
from qdrant_dr.errors import RepositoryDenied
from qdrant_dr.jobs.run import catalogs
from qdrant_dr.jobs.run.catalogs import bundle_all, catalog_of, open_all
from qdrant_dr.jobs.sweep.one_repository import sweep_one
from qdrant_dr.repository import Repository
from qdrant_dr.stores.base import Stat
from qdrant_dr.stores.local import LocalStore
from tests.support.world import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, "http://127.0.0.1:6333")


def test_a_key_that_may_not_list_bundles_sweeps_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configfile.load(world.reference)
    opened, failed = open_all(config)
    catalog = catalog_of(config, opened, failed)
    find = LocalStore.find

    def known_alone(self: LocalStore, folder: str) -> list[Stat]:
        if folder.startswith("bundles"):
            raise RepositoryDenied("no listing of bundles/")
        return find(self, folder)

    monkeypatch.setattr(LocalStore, "find", known_alone)
    done = sweep_one(config, opened["one"], opened, catalog, datetime.now(UTC))
    assert done.remarks == ("bundles and undo records were not looked at: no listing of bundles/",)
    assert done.kept == ()


def test_whatever_a_bundle_raises_the_others_are_written_and_nothing_fails(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened, _ = open_all(configfile.load(world.reference), remember=True)
    real, written = catalogs.write_bundles, []

    def write(repository: Repository, now: datetime) -> None:
        if repository.name == "one":
            raise MemoryError("no room")
        real(repository, now)
        written.append(repository.name)

    monkeypatch.setattr(catalogs, "write_bundles", write)
    with caplog.at_level(logging.WARNING):
        bundle_all(opened)
    assert written == ["two"]
    assert "no bundles of one were written" in caplog.text
