"""Somebody deletes the wrong points while the writer goes on: all of it comes back, and nothing of
what the writer writes is lost. Each step is compared by qdrant-client, not by our own proof."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qdrant_dr.records import RunEnd
from tests.support.driving import do
from tests.support.either_server import KINDS, either_server
from tests.support.restored_points import (
    Points,
    bring,
    call,
    delete,
    differing,
    id_of,
    make_collection,
    payload_of,
    take_back,
    the_detail,
    the_outcome,
    there,
    write,
)
from tests.support.thorough import THOROUGH
from tests.support.waiting import eventually
from tests.support.world import World, make_world

SIZES = {"sandbox": (1500, 250, 50), "server": (60_000, 5_000, 500) if THOROUGH else
         (6_000, 500, 50)}  # fmt: skip
"""Points, of which so many are deleted and so many overwritten."""


class Writer(threading.Thread):
    """Writes without a pause: points of its own, and now and then one of those given to it."""

    def __init__(self, url: str, own: range, among: list[int]) -> None:
        super().__init__(name="writer")
        self.url, self.own, self.among = url, own, among
        self.last: dict[int, int] = {}
        self.stop = threading.Event()
        self._chance = random.Random(7)

    def run(self) -> None:
        seed = 1_000_000
        while not self.stop.wait(0.01):
            number = self._chance.choice([*self.own, *self.among])
            seed += 17
            write(self.url, [number], seed=seed)
            self.last[number] = seed


@contextmanager
def writing(url: str, own: range, among: list[int]) -> Iterator[Writer]:
    writer = Writer(url, own, among)
    writer.start()
    try:
        yield writer
    finally:
        writer.stop.set()
        writer.join()


def assert_written(writer: Writer, found: Points) -> set[int | str]:
    """Nothing of what the writer wrote is lost. Return the ids that it wrote."""
    for number, seed in writer.last.items():
        payload = found[id_of(number)][0]
        assert payload.get("n") == payload_of(number + seed).get("n"), number
    return {id_of(n) for n in writer.last}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_points_come_back_beside_a_writer(kind: str, tmp_path: Path) -> None:
    points, gone, changed = SIZES[kind]
    with either_server(kind, tmp_path / "server") as server:
        url = server.url
        make_collection(url, points, settings={"optimizers_config": {"indexing_threshold": 100}})
        world = make_world(tmp_path / "world", url)
        assert do(world, "backup").verdict == "ok"
        before = there(url)
        assert len(before) == points

        deleted = range(100, 100 + gone)
        overwritten = range(100 + gone, 100 + gone + changed)
        own = range(points - 40, points + 40)  # some of them new
        some_deleted = random.Random(3).sample(list(deleted), 8)
        with writing(url, own, some_deleted) as writer:
            delete(url, deleted)
            write(url, overwritten, seed=500_000)
            damaged = there(url)
            missing = bring(world, missing=True)
            ids = tmp_path / "ids"
            ids.write_text("".join(f"{id_of(n)}\n" for n in overwritten))
            named = bring(world, ids=str(ids))
        assert writer.last
        after = there(url)
        mine = assert_written(writer, after)
        assert differing(before, after) <= mine
        check_words(world, missing, named, gone=gone, changed=changed)

        with writing(url, own, []) as writer:
            back_named = take_back(world, named.start.run_id)
            back_missing = take_back(world, missing.start.run_id)
        undone = there(url)
        mine |= assert_written(writer, undone)
        assert all(undone[id_of(n)] == damaged[id_of(n)] for n in overwritten)
        still = {id_of(n) for n in deleted} & undone.keys()
        assert still <= mine, "only what the writer had written stays"
        others = before.keys() - {id_of(n) for n in (*deleted, *overwritten)} - mine
        assert all(undone[i] == before[i] for i in others)
        assert the_outcome(back_named).error is None
        assert the_outcome(back_missing).error is None


def check_words(world: World, missing: RunEnd, named: RunEnd, *, gone: int, changed: int) -> None:
    """What the records say is what was found."""
    by_missing, by_ids = (the_detail(end) for end in (missing, named))
    # the writer may write a missing point between our write and our look: then that is said
    said = " ".join(the_outcome(missing).notes)
    assert by_missing.proven or "somebody wrote them in the same moment" in said
    assert by_ids.proven
    assert gone - 8 <= by_missing.created + by_missing.moved <= gone
    assert (by_ids.overwritten, by_ids.within_tolerance) == (changed, 0)
    for end in world.ends("one")[-2:]:
        assert all(o.error is None for o in end.outcomes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_vector_that_a_point_gained_is_gone_again(kind: str, tmp_path: Path) -> None:
    """Out of an indexed segment, which moves a point with all vectors that it has."""
    with either_server(kind, tmp_path / "server") as server:
        make_collection(server.url, 400, settings={"optimizers_config": {"indexing_threshold": 1}})
        world = make_world(tmp_path / "world", server.url)
        assert do(world, "backup").verdict == "ok"
        before = there(server.url)
        lacking = [i for i, (_, vectors) in before.items() if "words" not in vectors]
        words = {"words": {"indices": [1, 7], "values": [1.5, 0.25]}}
        points = [{"id": i, "vector": words} for i in lacking]
        assert len(points) > 20
        call(server.url, "PUT", "/points/vectors", points=points)
        eventually(lambda: call(server.url, "GET", "")["status"] == "green")
        gained = there(server.url)
        assert differing(before, gained) == set(lacking)

        ids = tmp_path / "ids"
        ids.write_text("".join(f"{i}\n" for i in lacking))
        end = bring(world, ids=str(ids))
        assert (end.verdict, the_detail(end).moved) == ("ok", 0), the_outcome(end).notes
        assert the_detail(end).proven
        assert there(server.url) == before
        assert take_back(world, end.start.run_id).verdict == "ok"
        assert there(server.url) == gained
