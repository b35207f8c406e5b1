"""A night in which nothing of the repositories can be read is still a night with a backup."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdrant_dr.errors import RepositoryUnreachable
from qdrant_dr.repository import Repository
from tests.support.driving import do
from tests.support.servers import sandbox_server
from tests.support.world import make_world, seed


def test_what_can_be_written_to_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> list[object]:
        raise RepositoryUnreachable("no answer while listing uploads")

    with sandbox_server(tmp_path / "source") as server:
        seed(server.url, "movies", points=50)
        world = make_world(
            tmp_path, server.url, repositories=("one",), copies={"quorum": 1, "domains": 1}
        )
        monkeypatch.setattr(Repository, "open_uploads", away)
        end = do(world, "backup")
        assert end.verdict != "ok", "nothing could be read: that is told"
        assert [m.collection for m in world.manifests("one")] == ["movies"]
