"""Room for a backup: certain shortage refuses with numbers, what is only tight is a doubt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qdrant_dr.errors import PlanRefused
from qdrant_dr.jobs.backup.space import (
    Need,
    Room,
    SpaceDoubts,
    judge_space,
    need_of,
    need_of_blocks,
)
from qdrant_dr.jobs.run.archive_size import SMALLEST
from qdrant_dr.stores.local import LocalStore
from tests.support.driving import do, outcomes
from tests.support.replay import ReplaySource
from tests.support.world import World, make_world

NEED = Need(100, 120, 120, "the last backup")
BYTES = {"proven": {"depth": "bytes", "max_age": "8d"}}


def room(where: str, free: int | None) -> Room:
    return Room(where, NEED, free, f"free space in {where}")


def test_the_last_backup_is_the_better_estimate() -> None:
    assert need_of(None, None) == Need(SMALLEST, 0, SMALLEST, "the node's files")
    assert need_of(None, 50_000) == Need(SMALLEST, 0, 50_000, "the node's files")
    assert need_of(100, None) == Need(100, 120, 120, "the last backup")
    assert need_of(100, 40) == Need(40, 120, 120, "the last backup")  # it has shrunk since


def test_where_blocks_are_stored_once_the_last_backup_there_tells_what_is_needed() -> None:
    archive = need_of(10**9, None)
    written = need_of_blocks(archive, 10**6)
    assert (written.least, written.likely, written.most) == (SMALLEST, 1_200_000, 1_200_000)
    first = need_of_blocks(archive, None)
    assert (first.least, first.likely, first.most) == (SMALLEST, 0, archive.most)
    assert need_of_blocks(archive, 0).likely == SMALLEST  # nothing was new
    # a vault with less free than an archive takes: enough, doubtful, and none at all
    for free, doubts in ((10**7, 0), (10**6, 1)):
        there = Room("repository vault", written, free, "free space in vault")
        assert len(judge_space([there], quorum=1).doubts) == doubts
        assert judge_space([there], quorum=1).remarks == ()
    unknown = Room("repository vault", first, 10**7, "free space in vault")
    assert judge_space([unknown], quorum=1).doubts == ()
    assert len(judge_space([unknown], quorum=1).remarks) == 1
    with pytest.raises(PlanRefused):
        judge_space([Room("repository vault", written, 100, "free space in vault")], quorum=1)


@pytest.mark.parametrize("free", [None, 120, 10**12])
def test_enough_space_gives_no_finding(free: int | None) -> None:
    assert (
        judge_space([room("the node", free), room("repository one", free)], quorum=1)
        == SpaceDoubts()
    )


@pytest.mark.parametrize("free", [100, 119])
def test_tight_is_a_doubt_with_numbers_and_the_next_step(free: int) -> None:
    judged = judge_space([room("the node", free), room("repository one", None)], quorum=1)
    (doubt,) = judged.doubts
    assert not judged.remarks
    assert f"{free} B free, about 120 B are needed (by the last backup)" in doubt
    assert doubt.endswith("free space in the node")


@pytest.mark.parametrize("free", [SMALLEST, 49_999])
def test_a_guess_before_the_first_backup_is_a_remark(free: int) -> None:
    first = Room("the node", need_of(None, 50_000), free, "free space there")
    judged = judge_space([first], quorum=1)
    assert not judged.doubts
    (remark,) = judged.remarks
    assert "a guess until there is a first backup" in remark


def test_a_guess_beside_what_was_measured_hides_no_doubt() -> None:
    both = Room("the node", need_of(None, 50_000) + NEED, SMALLEST + 110, "free space there")
    assert judge_space([both], quorum=1).remarks
    measured = Room("the node", need_of(None, 0) + NEED, 119, "free space there")
    with pytest.raises(PlanRefused):
        judge_space([measured], quorum=1)


@pytest.mark.parametrize("free", [0, SMALLEST - 1])
def test_a_place_that_is_really_full_is_refused_before_the_first_backup(free: int) -> None:
    for guess in (None, 0, 10**9):
        first = Room("repository one", need_of(None, guess), free, "free space there")
        with pytest.raises(PlanRefused, match="repository one"):
            judge_space([first], quorum=1)


def test_certain_shortage_refuses_with_every_number() -> None:
    rooms = [room("the node", 99), room("the spool", 0), room("repository one", None)]
    with pytest.raises(PlanRefused) as raised:
        judge_space(rooms, quorum=1)
    assert "the node has 99 B free, about 100 B are needed" in raised.value.message
    assert "the spool has 0 B free" in raised.value.message
    assert raised.value.hint == "by hand: free space in the node; free space in the spool."


def test_a_full_repository_is_one_copy_less_until_the_quorum_is_at_stake() -> None:
    rooms = [room("repository one", 0), room("repository two", None)]
    assert len(judge_space(rooms, quorum=1).doubts) == 1
    with pytest.raises(PlanRefused, match="repository one"):
        judge_space(rooms, quorum=2)


@pytest.fixture
def source() -> Iterator[ReplaySource]:
    with ReplaySource(("basic", "single")) as replayed:
        yield replayed


def world_of(source: ReplaySource, folder: Path, space: str) -> World:
    cluster = {"name": "shop", "nodes": [source.url], "node_space": space}
    return make_world(folder, source.url, cluster=cluster, objectives=BYTES)


def roomy(world: World, space: str) -> None:
    world.file.write_text(
        world.file.read_text().replace("node_space: 1GiB", f"node_space: {space}")
    )


@pytest.mark.parametrize("method", ["collection", "full"])
def test_a_node_without_room_is_refused_before_anything_is_made(
    source: ReplaySource, tmp_path: Path, method: str
) -> None:
    world = world_of(source, tmp_path, "1GiB")
    assert do(world, "backup", method=method).verdict == "ok"
    made = source.made
    # one archive of 1.4 MB fits; a full snapshot needs them all twice
    roomy(world, "1MB" if method == "collection" else "2MB")
    end = do(world, "backup", method=method, collections=("movies",))
    assert end.verdict == "failed"
    (movies,) = outcomes(end, "capture")
    assert movies.error is not None
    assert movies.error.code == "plan-refused"
    assert "cluster.node_space" in movies.error.message
    assert source.made == made


def test_a_tight_node_is_captured_and_marked(source: ReplaySource, tmp_path: Path) -> None:
    world = world_of(source, tmp_path, "1GiB")
    assert do(world, "backup").verdict == "ok"
    roomy(world, "1500kB")
    end = do(world, "backup", collections=("movies",))
    assert end.verdict == "degraded"
    newest = max((m for m in world.manifests("one")), key=lambda m: m.captured_at)
    assert any("cluster.node_space" in doubt for doubt in newest.doubts)


def test_the_node_is_asked_before_a_refusal(source: ReplaySource, tmp_path: Path) -> None:
    world = world_of(source, tmp_path, "1GiB")
    assert do(world, "backup").verdict == "ok"
    roomy(world, "1MB")
    source.collections["movies"].memory = {"total": {"disk_bytes": 1000}}
    end = do(world, "backup", collections=("movies",))
    assert "GET /collections/movies/memory" in source.log
    # with two whole logs its archive may still be that large: the last backup's size stands
    assert end.verdict == "failed"


def test_a_full_disk_below_the_quorum_is_refused(
    source: ReplaySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(source, tmp_path, "1GiB")
    assert do(world, "backup").verdict == "ok"
    free = LocalStore.free_bytes
    monkeypatch.setattr(LocalStore, "free_bytes", lambda s: 1000 if s.name == "two" else free(s))
    end = do(world, "backup", collections=("movies",))
    (movies,) = outcomes(end, "capture")
    assert movies.error is not None
    assert "repository two has 1000 B free" in movies.error.message


@pytest.mark.parametrize("method", ["collection", "full"])
def test_a_chunked_repository_with_less_free_than_an_archive_takes_its_blocks(
    source: ReplaySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    world = make_world(
        tmp_path, source.url, objectives=BYTES, repositories=("one", "two"), chunked=("two",)
    )
    assert do(world, "backup", method=method, collections=("movies",)).verdict == "ok"
    (first,) = world.manifests("one")
    packs = sum(p.stat().st_size for p in world.folders["two"].rglob("*.pack"))
    assert first.size_bytes > 2 * packs
    free = LocalStore.free_bytes
    room = first.size_bytes // 2 + packs
    monkeypatch.setattr(LocalStore, "free_bytes", lambda s: room if s.name == "two" else free(s))
    end = do(world, "backup", method=method, collections=("movies",))
    assert (end.verdict, end.reasons) == ("ok", ())
    assert len(world.manifests("two")) == 2
    room = 1000
    full = do(world, "backup", method=method, collections=("movies",))
    (movies,) = outcomes(full, "capture")
    assert movies.error is not None
    assert "repository two has 1000 B free" in movies.error.message


@pytest.mark.parametrize("method", ["collection", "full"])
def test_a_first_backup_that_went_well_is_ok_whatever_was_guessed(
    source: ReplaySource, tmp_path: Path, method: str
) -> None:
    """Files are sparse: the node's figure is far above what its archive takes."""
    world = world_of(source, tmp_path, "4MiB")
    for collection in source.collections.values():
        collection.memory = {"total": {"disk_bytes": 10**15}}
    end = do(world, "backup", method=method, collections=("movies",))
    assert (end.verdict, end.reasons) == ("ok", ())
    taken = outcomes(end, "capture")
    assert taken
    assert all("a guess until there is a first backup" in " ".join(o.notes) for o in taken)
    assert not any(m.doubts for m in world.manifests("one"))


@pytest.mark.parametrize(
    "answer", [{}, {"total": {"disk_bytes": -1}}, {"total": None}, {"total": {"disk_bytes": "9"}}]
)
def test_an_estimate_that_cannot_be_made_keeps_nobody_from_a_backup(
    source: ReplaySource, tmp_path: Path, answer: dict[str, object]
) -> None:
    world = world_of(source, tmp_path, "1GiB")
    source.collections["movies"].memory = answer
    end = do(world, "backup", collections=("movies",))
    assert (end.verdict, end.reasons) == ("ok", ())


@pytest.mark.parametrize("method", ["collection", "full", "stream"])
def test_a_first_backup_onto_a_full_disk_is_refused_before_anything_is_made(
    source: ReplaySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    world = world_of(source, tmp_path, "1GiB")
    monkeypatch.setattr(LocalStore, "free_bytes", lambda _: 0)
    end = do(world, "backup", method=method, collections=("movies",))
    (movies,) = outcomes(end, "capture")
    assert movies.error is not None
    assert movies.error.code == "plan-refused"
    assert source.made == 0
