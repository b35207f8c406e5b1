"""`replicate` between chunked repositories reads of the source what the target lacks, and proves
the whole of the target."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from qdrant_dr.records import Healed, RunEnd
from qdrant_dr.stores.local import LocalStore
from qdrant_dr.vault.box import BLOCK, open_bytes, seal_bytes
from tests.support.driving import do, outcomes
from tests.support.replay import ReplaySource
from tests.support.world import World, lent, make_world


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two equal backups of one collection in two chunked repositories: of the second one, `other`
    has lost everything but blocks."""
    with ReplaySource(["basic"]) as source:
        world = make_world(
            tmp_path_factory.mktemp("by-blocks"), source.url,
            repositories=("vault", "other"), chunked=("vault", "other"),
        )  # fmt: skip
        for _ in range(2):
            end = do(world, "backup")
            assert end.verdict == "ok", end.reasons
    lost = world.manifests("other")[-1]
    shutil.rmtree(world.folders["other"] / "backups" / lost.key.folder)
    return world


@pytest.fixture
def world(proven: World) -> Iterator[World]:
    with lent(proven) as mine:
        yield mine


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Bytes of packs that are read, by repository."""
    counts: dict[str, int] = {}
    real = LocalStore.read_range

    def counting(store: LocalStore, path: str, *where: Any) -> Iterator[bytes]:
        for data in real(store, path, *where):
            if path.endswith(".pack"):
                counts[store.name] = counts.get(store.name, 0) + len(data)
            yield data

    monkeypatch.setattr(LocalStore, "read_range", counting)
    return counts


def healed(end: RunEnd) -> list[Healed]:
    return [o.detail for o in outcomes(end, "heal") if isinstance(o.detail, Healed)]


def test_what_the_target_has_is_not_read_in_the_source(world: World, read: dict[str, int]) -> None:
    end = do(world, "replicate")
    assert end.verdict == "ok", end.reasons
    (heal,) = healed(end)
    assert heal.bytes_read is not None
    assert 0 < heal.bytes_read <= BLOCK < heal.size_bytes
    assert read["vault"] < 3 * BLOCK  # that block, and the end of its pack
    size = world.manifests("other")[-1].size_bytes
    proofs = outcomes(end, "verify")
    assert [(p.repository, p.verdict, p.detail.bytes_checked) for p in proofs if p.detail] == [
        ("other", "ok", size)
    ]
    assert do(world, "verify", depth="content", which="all").verdict == "ok"


def test_what_no_proof_tells_of_is_read_as_a_whole(world: World) -> None:
    for proof in world.folders["vault"].glob("proofs/**/*.json"):
        proof.unlink()
    for proof in world.folders["other"].glob("proofs/**/*.json"):
        proof.unlink()
    for run in (
        *world.folders["vault"].glob("runs/**/*"),
        *world.folders["other"].glob("runs/**/*"),
    ):
        if run.is_file():
            run.unlink()
    end = do(world, "replicate", vouch=True)
    (heal,) = healed(end)
    assert heal.bytes_read == world.manifests("other")[-1].size_bytes


def test_a_recipe_of_other_blocks_is_believed_by_nobody(world: World) -> None:
    """It is a good box, adds up and says that it makes the part."""
    manifest = world.manifests("vault")[-1]
    (file,) = world.folders["vault"].glob(f"backups/{manifest.key.folder}/*.recipe")
    path = str(file.relative_to(world.folders["vault"]))
    lines = open_bytes(path, file.read_bytes(), None).split(b"\n")
    at = next(i for i, line in enumerate(lines) if line.startswith(b"bytes "))
    lines[at] = lines[at][:-5] + (b"A" if lines[at][-5:-4] != b"A" else b"B") + lines[at][-4:]
    file.write_bytes(seal_bytes(path, b"\n".join(lines), None))
    end = do(world, "replicate")
    assert end.verdict == "failed"
    assert not healed(end)
    assert len(world.manifests("other")) == 1
