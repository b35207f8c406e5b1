"""A life of vaults, in clear and encrypted: two nights, proven, restored, rotated, healed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.servers import qdrant_server, sandbox_server
from tests.support.world import make_world, seed

NO_BINARY = pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="QDRANT_BIN is not set")
KINDS = ["sandbox", pytest.param("server", marks=[pytest.mark.qdrant, NO_BINARY])]
CITY = "Xanadu-on-Thames"


@pytest.fixture(scope="module", params=KINDS)
def source(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[str]:
    start = sandbox_server if request.param == "sandbox" else qdrant_server
    with start(tmp_path_factory.mktemp("source")) as server:
        seed(server.url, "movies", points=60)
        yield server.url


def packs(folder: Path) -> set[Path]:
    return set(folder.rglob("*.pack"))


def test_two_nights_are_proven_restored_rotated_and_healed(
    qdr: Any, source: str, tmp_path: Path
) -> None:
    world = make_world(tmp_path / "w", source, repositories=("plain",), copies={"quorum": 1})
    body = yaml.safe_load(world.file.read_text())
    clear, locked = (tmp_path / "w" / name for name in ("clear", "locked"))
    body["repositories"] += [
        {"name": "clear", "url": clear.as_uri(), "domain": "c"},
        {"name": "locked", "url": locked.as_uri(), "domain": "l", "key": f"file:{tmp_path / 'k'}"},
    ]
    world.file.write_text(yaml.safe_dump(body))
    (tmp_path / "qdrant-dr.yaml").symlink_to(world.file)

    def run(*words: str) -> Any:
        said = qdr(*words)
        assert said.code == 0, (words, said.out, said.err)
        return said

    run("repository", "create", "clear", "--layout", "chunked", "--save")
    run("repository", "create", "locked", "--layout", "chunked", "--encrypt", "--save")
    run("backup", "-q")
    first = packs(clear), packs(locked)
    run("key", "rotate", "locked", "--save")
    change = {"payload": {"city": CITY}, "points": [7]}
    httpx.post(f"{source}/collections/movies/points/payload?wait=true", json=change)
    run("backup", "-q")
    for before, folder in zip(first, (clear, locked), strict=True):
        assert packs(folder) > before  # the second night added packs, and took no other away
    for name in ("plain", "clear", "locked"):
        run("verify", "--all", "-r", name, "--depth", "content")
    # a rotten pack of each vault is mended from elsewhere
    for folder in (clear, locked):
        pack = max(packs(folder), key=lambda p: p.stat().st_size)
        pack.chmod(0o600)
        data = bytearray(pack.read_bytes())
        data[40] ^= 1  # of its first block
        pack.write_bytes(data)
        said = qdr("verify", "--all", "-r", folder.name, "--depth", "bytes", "-q")
        assert said.code != 0
    run("replicate")
    for name in ("clear", "locked"):
        run("verify", "--all", "-r", name, "--depth", "content")
        to = f"back-{name}"
        run("restore", "movies@latest", "-r", name, "--to", source, "--as", to, "--execute")
        counted = httpx.get(f"{source}/collections/{to}").json()["result"]["points_count"]
        assert counted == 60
        point = httpx.get(f"{source}/collections/{to}/points/7").json()["result"]
        assert point["payload"]["city"] == CITY
        httpx.delete(f"{source}/collections/{to}")
