"""One collection with one backup, shared: every test begins with what was backed up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.driving import do
from tests.support.either_server import KINDS, either_server
from tests.support.restored_points import call, id_of, make_collection, there, write
from tests.support.servers import Server
from tests.support.world import World, make_world

POINTS = 400


@pytest.fixture(scope="module", params=KINDS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with either_server(request.param, tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture(scope="module")
def backed_up(server: Server, tmp_path_factory: pytest.TempPathFactory) -> World:
    make_collection(server.url, POINTS)
    made = make_world(tmp_path_factory.mktemp("points"), server.url)
    end = do(made, "backup")
    assert end.verdict == "ok", end.reasons
    return made


@pytest.fixture
def world(backed_up: World, server: Server) -> World:
    numbers = range(1, POINTS + 1)
    write(server.url, numbers)
    known = {id_of(n) for n in numbers}
    if extra := [i for i in there(server.url) if i not in known]:
        call(server.url, "POST", "/points/delete", points=extra)
    return backed_up
