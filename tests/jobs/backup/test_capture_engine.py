"""What captures of nodes and full snapshots share, seen from outside."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from qdrant_dr import digests
from qdrant_dr.records import Intent
from tests.support.driving import do
from tests.support.replay import ReplaySource
from tests.support.servers import sandbox_server
from tests.support.world import make_world, seed

ANNOUNCED = {
    "collection": (None, False, False),
    "shard": (0, False, False),
    "stream": (0, True, False),
    "full": (None, False, True),
}
"""Shard, whether it is streamed, whether it is of the whole instance."""
MODULES = {"node": "qdrant_dr.cluster.download", "stores": "qdrant_dr.digests"}


def counting(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many bytes are hashed where, from now on."""
    hashed: Counter[str] = Counter()

    class Counted:
        def __init__(self, where: str) -> None:
            self._where, self._real = where, hashlib.sha256()
            self.hexdigest = self._real.hexdigest

        def update(self, data: bytes) -> None:
            hashed[self._where] += len(data)
            self._real.update(data)

    for where, module in MODULES.items():
        ours = SimpleNamespace(sha256=lambda where=where: Counted(where))
        monkeypatch.setattr(import_module(module), "hashlib", ours)
    return hashed


@contextmanager
def node(folder: Path, method: str) -> Iterator[str]:
    """A server that knows the method."""
    if method in ("collection", "full"):
        with ReplaySource(("basic", "single")) as source:
            yield source.url
    else:
        with sandbox_server(folder) as server:
            seed(server.url, "movies", points=50)
            yield server.url


@pytest.mark.parametrize("method", ["collection", "shard", "stream", "full"])
def test_each_call_is_announced_and_its_bytes_are_hashed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """The intent says what the call is for: a sweep acts by it.

    Of an archive that is kept as it is, one digest is for the manifest and for the checksum of
    the server; below one block it is that of the block as well. What is cut out of a file has a
    digest of its own."""
    with node(tmp_path / "node", method) as url:
        world = make_world(tmp_path / "world", url)
        hashed = counting(monkeypatch)
        end = do(world, "backup", method=method, prove="bytes")
    assert end.verdict in ("ok", "degraded"), end.reasons
    written = sorted(world.folders["one"].glob("backups/**/intent.json"))
    intents = [Intent.from_bytes(path.read_bytes(), where=str(path)) for path in written]
    assert {(i.shard, i.streamed, i.full) for i in intents} == {ANNOUNCED[method]}
    kept = sum(m.size_bytes for m in world.manifests("one"))
    assert 0 < kept < digests.SAMPLE_BLOCK
    assert hashed["stores"] == kept
    if method == "full":
        assert hashed["node"] > kept  # all of the tar that they were cut out of
    else:
        assert hashed["node"] == 0
