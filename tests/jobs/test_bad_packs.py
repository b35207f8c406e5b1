"""A bad pack fails every backup that uses it, and one repair heals them all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from qdrant_dr.records import Depth, Healed, Proof, Proved, RunEnd
from qdrant_dr.repository.chunked import ChunkedRepository
from qdrant_dr.vault.box import build_box, make_block, read_table
from tests.support.driving import do, outcomes
from tests.support.expiring import opened
from tests.support.replay import ReplaySource
from tests.support.thorough import few
from tests.support.world import World, make_world


@pytest.fixture(params=few(["chunked", "encrypted"], "chunked"))
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """Two backups of equal bytes: all their blocks lie in the packs of the first."""
    with ReplaySource(["basic"]) as source:
        made = make_world(tmp_path, source.url, **{request.param: ("two",)})
        assert do(made, "backup").verdict == "ok"
        assert do(made, "backup").verdict == "ok"
        yield made


def pack(world: World) -> Path:
    (found,) = world.folders["two"].glob("packs/**/*.pack")
    return found


def rot(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def failed(world: World, depth: Depth = "bytes") -> set[str | None]:
    end = do(world, "verify", which="all", depth=depth)
    return {o.backup_id for o in end.outcomes if o.verdict == "failed"}


@pytest.mark.parametrize("how", ["rotten", "gone"])
def test_one_bad_pack_fails_both_and_is_mended_once(world: World, how: str) -> None:
    both = {m.backup_id for m in world.manifests("two")}
    good = pack(world).read_bytes()
    if how == "rotten":
        rot(pack(world))
    else:
        pack(world).unlink()
    assert failed(world) == both
    end = do(world, "replicate")
    assert end.verdict == "ok", end.reasons
    healed = [o.detail for o in outcomes(end, "heal") if isinstance(o.detail, Healed)]
    assert sorted((h.packs, h.parts) for h in healed) == [(0, 0), (1, 0)]
    assert failed(world) == set()
    assert pack(world).stat().st_size == len(good)


def test_what_nobody_else_has_is_never_green(world: World) -> None:
    for part in world.parts("one"):
        rot(part)
    rot(pack(world))
    assert len(failed(world)) == 2
    end = do(world, "replicate")
    assert end.verdict == "failed"
    assert any("no other good copy" in reason for reason in end.reasons)
    assert len(failed(world)) == 2


def proofs(world: World, end: RunEnd) -> list[Proof]:
    """What a run proved of the copies in the vault."""
    ids = {o.detail.proof_id for o in end.outcomes if isinstance(o.detail, Proved)}
    files = world.folders["two"].glob("proofs/**/*.json")
    found = [Proof.from_bytes(p.read_bytes(), where=str(p)) for p in files]
    return [p for p in found if p.proof_id in ids]


def test_each_pack_is_read_once_in_a_run(world: World) -> None:
    """What the first proofs have put together and compared need not be put together again."""
    end = do(world, "verify", which="all", depth="bytes", repositories=("two",))
    assert end.verdict == "ok", end.reasons
    made = proofs(world, end)
    assert all(p.passed and p.bytes_checked == p.size_bytes for p in made)
    assert sorted(p.bytes_read for p in made) == [0, pack(world).stat().st_size]


def test_a_table_that_is_remembered_hides_no_rot(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size and time are what they were, as with real rot."""
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(  # as for an object store
        ChunkedRepository, "_memory", lambda vault: folder / f"{vault.id}.tables"
    )
    assert do(world, "backup").verdict == "ok"
    assert failed(world) == set()
    assert list(folder.rglob("*.tables/*"))
    data, was = bytearray(pack(world).read_bytes()), pack(world).stat()
    data[-200] ^= 1
    pack(world).write_bytes(data)
    os.utime(pack(world), ns=(was.st_atime_ns, was.st_mtime_ns))
    assert failed(world) == {m.backup_id for m in world.manifests("two")}
    assert failed(world, "content") == {m.backup_id for m in world.manifests("two")}


def test_a_pack_that_was_changed_with_its_table_is_found_out(world: World) -> None:
    """It is a good box; but the copies are not made any more of what was proven."""
    data, keys = pack(world).read_bytes(), opened(world)["two"].keys
    place = str(pack(world).relative_to(world.folders["two"]))
    table = read_table(place, data, len(data), keys)
    others = [make_block(bytes([n % 256]) * entry.size) for n, entry in enumerate(table.entries)]
    pack(world).write_bytes(build_box(place, others, keys))
    assert len(failed(world)) == 2
