"""A real Prefect server and a sandbox as the source, both once per session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.prefect import PrefectServer, copy_database, drain, prefect_server
from tests.support.servers import sandbox_server
from tests.support.world import World, make_world, seed


@pytest.fixture(scope="session")
def prefect_api(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[PrefectServer]:
    """The server; processes talk to it with its `env`. Its database is kept as it was at first:
    the next session needs no migrations."""
    home = tmp_path_factory.mktemp("prefect")
    cache = getattr(pytestconfig, "cache", None)  # pytest may run without its cache
    kept = (cache.mkdir("prefect") if cache else home) / f"{version('prefect')}.db"
    with prefect_server(home, like=kept) as server:
        if not kept.exists():
            copy_database(server.database, kept)
        yield server


@pytest.fixture
def in_process(prefect_api: PrefectServer) -> Iterator[PrefectServer]:
    """Flows called by the test itself report to the server."""
    from prefect import settings as s

    changed = {
        s.PREFECT_API_URL: prefect_api.api,
        s.PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # joining its thread costs a second a run
    }
    with s.temporary_settings(changed):
        yield prefect_api
        drain()


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A sandbox with two small collections."""
    with sandbox_server(tmp_path_factory.mktemp("source")) as server:
        seed(server.url, "movies", points=300)
        seed(server.url, "users", points=50)
        yield server.url


@pytest.fixture
def world(source: str, tmp_path: Path) -> Callable[..., World]:
    """Fresh repositories and a configuration for the source; keyword arguments are sections."""

    def build(**sections: object) -> World:
        return make_world(tmp_path, source, **sections)

    return build
