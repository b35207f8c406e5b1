"""Points come back, and go back, on the sandbox and on a real server; compared by qdrant-client."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from pathlib import Path

import pytest

from qdrant_dr.errors import RecoverFailed, UsageError
from qdrant_dr.jobs.restore_points.options import PointsRequest
from qdrant_dr.jobs.restore_points.unit import Restoration
from qdrant_dr.records import RunEnd
from tests.support.restored_points import (
    NAME,
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
from tests.support.servers import Server
from tests.support.spy import Spy
from tests.support.world import World

POINTS = 400
X = json.dumps({"must": [{"key": "city", "match": {"value": "x"}}]})


def ids_file(folder: Path, *numbers: int) -> str:
    file = folder / "ids.txt"
    file.write_text("".join(f"{id_of(n)}\n" for n in numbers))
    return str(file)


def refused(end: RunEnd) -> str:
    assert end.error is not None, end.outcomes
    assert end.verdict == "failed"
    return f"{end.error.code}: {end.error.message}"


def failed(end: RunEnd) -> str:
    (outcome,) = end.outcomes
    assert outcome.verdict == "failed"
    assert outcome.error is not None
    return f"{outcome.error.code}: {outcome.error.message}"


def test_missing_points_come_back_and_go_again(world: World, server: Server) -> None:
    before = there(server.url)
    delete(server.url, range(10, 60))
    write(server.url, [100, 101], seed=1000)  # somebody's change of meanwhile
    damaged = there(server.url)
    end = bring(world, missing=True)
    outcome, detail = the_outcome(end), the_detail(end)
    assert outcome.verdict == "ok", (outcome.error, outcome.notes)
    assert (detail.created, detail.overwritten, detail.proven) == (50, 0, True)
    assert detail.undo_in == ("one", "two")
    assert detail.undo_until is not None
    assert detail.undo_until > outcome.started_at + timedelta(days=89)
    assert detail.others_equal is True
    assert differing(before, there(server.url)) == {id_of(100), id_of(101)}
    end = take_back(world, end.start.run_id)
    assert the_outcome(end).verdict == "ok", the_outcome(end)
    assert the_detail(end).deleted == 50
    assert differing(damaged, there(server.url)) == set()


def test_named_ids_are_overwritten_bit_by_bit_and_put_back(
    world: World, server: Server, tmp_path: Path
) -> None:
    before = there(server.url)
    write(server.url, range(200, 240), seed=5000)
    delete(server.url, [239])
    damaged = there(server.url)
    end = bring(world, ids=ids_file(tmp_path, *range(195, 240)))
    detail = the_detail(end)
    assert (detail.created, detail.overwritten, detail.equal) == (1, 39, 5)
    assert detail.within_tolerance == 0, "cosine vectors come back bit by bit"
    assert differing(before, there(server.url)) == set()
    end = take_back(world, end.start.run_id)
    assert the_outcome(end).verdict == "ok"
    assert differing(damaged, there(server.url)) == set()


def test_what_a_filter_finds_in_the_backup(world: World, server: Server) -> None:
    before = there(server.url)
    call(server.url, "POST", "/points/delete", filter=json.loads(X))
    delete(server.url, [3])  # of another city
    lost = differing(before, there(server.url))
    end = bring(world, where=X)
    assert the_detail(end).created == len(lost) - 1
    assert differing(before, there(server.url)) == {id_of(3)}


@pytest.mark.parametrize("only", ["payload", "vector:text", "vector:image", "vector:words"])
def test_one_component_alone(world: World, server: Server, tmp_path: Path, only: str) -> None:
    before = there(server.url)
    write(server.url, range(50, 70), seed=7001)
    delete(server.url, [69])
    damaged = there(server.url)
    end = bring(world, ids=ids_file(tmp_path, *range(50, 70)), only=only)
    assert the_outcome(end).verdict == "degraded"  # one is not live: there is nothing to write to
    assert "1 points are not live" in the_outcome(end).notes[0]
    after = there(server.url)
    name = only.removeprefix("vector:")
    for number in range(50, 69):
        payload, vectors = after[id_of(number)]
        was, wanted = damaged[id_of(number)], before[id_of(number)]
        assert payload == (wanted if only == "payload" else was)[0]
        others = {n: v for n, v in vectors.items() if n != name}
        assert others == {n: v for n, v in was[1].items() if n != name}
        if only != "payload":
            assert vectors.get(name) == wanted[1].get(name)
    assert differing(damaged, after) <= {id_of(n) for n in range(50, 69)}
    end = take_back(world, end.start.run_id)
    assert the_outcome(end).verdict == "ok", the_outcome(end)
    assert differing(damaged, there(server.url)) == set()


def test_what_somebody_changed_since_is_not_taken_back(world: World, server: Server) -> None:
    delete(server.url, range(10, 20))
    damaged = there(server.url)
    end = bring(world, missing=True)
    write(server.url, [12], seed=99)
    undone = take_back(world, end.start.run_id)
    assert the_outcome(undone).verdict == "degraded"
    assert the_detail(undone).moved_ids == (id_of(12),)
    assert differing(damaged, there(server.url)) == {id_of(12)}
    # told to, it is taken back; and that again can be taken back
    forced = take_back(world, end.start.run_id, overwrite_changed=True)
    assert the_detail(forced).deleted == 1
    assert differing(damaged, there(server.url)) == set()
    again = take_back(world, forced.start.run_id)
    assert the_detail(again).created == 1
    assert there(server.url)[id_of(12)][0] == payload_of(12 + 99)


def test_a_plan_counts_names_and_changes_nothing(world: World, server: Server) -> None:
    delete(server.url, range(10, 30))
    damaged = there(server.url)
    end = bring(world, missing=True, dry_run=True)
    assert end.verdict == "ok"
    assert "create 20 points" in " ".join(end.remarks)
    assert differing(damaged, there(server.url)) == set()
    assert not [e for e in world.ends("one") if e.start.run_id == end.start.run_id]


def test_nothing_missing_is_no_failure(world: World, server: Server) -> None:
    before = there(server.url)
    end = bring(world, missing=True)
    assert the_outcome(end).verdict == "ok"
    assert (the_detail(end).written, the_detail(end).undo_id) == (0, None)
    assert differing(before, there(server.url)) == set()


def test_bad_selections_are_refused_in_words(world: World, server: Server, tmp_path: Path) -> None:
    before = there(server.url)
    unknown = tmp_path / "unknown.txt"
    unknown.write_text("".join(f"{n}\n" for n in range(90_001, 90_013, 2)) + "5\n")
    said = failed(bring(world, ids=str(unknown)))
    assert "6 of 7 ids are not in" in said
    assert "90001, 90003" in said
    nothing = json.dumps({"must": [{"key": "city", "match": {"value": "nowhere"}}]})
    assert f"finds none of the {POINTS} points" in failed(bring(world, where=nothing))
    everything = json.dumps({"must_not": [{"key": "city", "match": {"value": "nowhere"}}]})
    assert f"finds all {POINTS} points" in failed(bring(world, where=everything))
    assert the_outcome(bring(world, where=everything, every=True)).verdict == "ok"
    assert "usage" in refused(bring(world, where='{"must": [{"key": "city", "no": 1}]}'))
    assert differing(before, there(server.url)) == set()


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "needs to know which"),
        ({"missing": True, "only": "payload"}, "`--missing` selects others"),
        ({"ids": "a", "where": "{}"}, "both select"),
        ({"every": True, "only": "vectors"}, "no component"),
        ({"missing": True, "undo": "x"}, "one of them"),
    ],
)
def test_requests_that_make_no_sense(request_: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        PointsRequest.model_validate({"backup": "a@latest", **request_})


def test_what_changes_between_our_look_and_our_write_stays(
    world: World, server: Server, tmp_path: Path
) -> None:
    """The server itself decides whether a point is there."""
    before = there(server.url)
    delete(server.url, range(10, 20))
    write(server.url, range(20, 30), seed=300)
    ids = ids_file(tmp_path, *range(10, 30))
    with Spy(server.url) as spy:

        def meanwhile(line: str) -> None:
            if line == f"PUT /collections/{NAME}/points" and spy.count(*line.split(" ")) == 1:
                write(server.url, [12], seed=800)  # it was absent
                delete(server.url, [25])  # it was there

        spy.instead = meanwhile
        end = bring(world, ids=ids, to=spy.url)
    outcome, detail = the_outcome(end), the_detail(end)
    assert outcome.verdict == "degraded", (outcome.error, outcome.notes)
    assert not detail.proven
    assert set(detail.moved_ids) == {id_of(12), id_of(25)}
    assert (detail.created, detail.overwritten) == (9, 9)
    assert differing(before, there(server.url)) == {id_of(12), id_of(25)}


def off_by_the_last_bit(_line: str, body: bytes) -> bytes:
    """The answer of a server that normalises `text` otherwise than the one of the backup."""
    told = json.loads(body)
    result = told.get("result")
    points = result.get("points") if isinstance(result, dict) else result
    for point in points if isinstance(points, list) else ():
        if "text" in (point.get("vector") or {}):
            point["vector"]["text"][0] += 1e-7
    return json.dumps(told).encode()


def test_a_run_that_goes_on_settles_what_the_first_one_did_not(
    world: World, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops at the very end; of what it settled somebody changes a point before it goes on."""
    delete(server.url, range(10, 20))
    write(server.url, range(20, 30), seed=300)
    damaged = there(server.url)
    ids = ids_file(tmp_path, *range(10, 30))

    def fails(*_: object) -> None:
        raise RecoverFailed("the power went")

    with Spy(server.url) as spy:
        spy.told = off_by_the_last_bit
        with monkeypatch.context() as patch:
            patch.setattr(Restoration, "_judge", fails)
            assert "the power went" in failed(bring(world, ids=ids, to=spy.url))
        write(server.url, [25], seed=800)
        mine = there(server.url)[id_of(25)]
        end = bring(world, ids=ids, to=spy.url)
        outcome, detail = the_outcome(end), the_detail(end)
        assert outcome.verdict == "degraded", (outcome.error, outcome.notes)
        assert (detail.resumed, detail.proven, detail.within_tolerance) == (True, True, 19)
        assert detail.moved_ids == (id_of(25),)
        undone = the_detail(take_back(world, detail.undo_id or "", to=spy.url))
    assert (undone.deleted, undone.overwritten, undone.moved) == (10, 9, 1)
    found = there(server.url)
    for _, vectors in (*damaged.values(), *found.values()):
        del vectors["text"]  # it was read otherwise than it is
    assert differing(damaged, found) == {id_of(25)}
    assert there(server.url)[id_of(25)] == mine


def test_a_run_killed_before_the_other_spelling_goes_on(
    world: World, server: Server, tmp_path: Path
) -> None:
    """The server rounded floats, and the run died before it sent them in another spelling: what is
    there nobody else has written."""
    before = there(server.url)
    delete(server.url, range(10, 20))
    ids = ids_file(tmp_path, *range(10, 20))
    broken: list[bool] = []

    def rounding(line: str, body: bytes) -> bytes:
        if not line.startswith("PUT"):
            return body
        broken.append(True)
        asked = json.loads(body)
        for point in asked["points"]:
            if "price" in point["payload"]:
                point["payload"]["price"] = math.nextafter(point["payload"]["price"], 0)
        return json.dumps(asked).encode()

    with Spy(server.url) as spy:
        spy.asked = rounding
        spy.instead = lambda _: (400, b'{"status": {"error": "gone"}}') if broken else None
        assert failed(bring(world, ids=ids, to=spy.url))
        assert differing(before, there(server.url))
        spy.asked, spy.instead = Spy.asked, None
        end = bring(world, ids=ids, to=spy.url)
    outcome, detail = the_outcome(end), the_detail(end)
    assert outcome.verdict == "ok", (outcome.error, outcome.notes)
    assert (detail.resumed, detail.moved) == (True, 0)
    assert differing(before, there(server.url)) == set()


def test_a_key_that_may_not_write_changes_nothing(world: World, server: Server) -> None:
    delete(server.url, range(10, 20))
    damaged = there(server.url)
    forbidden = b'{"status": {"error": "Global access is required"}}'
    with Spy(server.url) as spy:
        spy.instead = lambda line: (403, forbidden) if line.startswith("PUT") else None
        assert "access-denied" in failed(bring(world, missing=True, to=spy.url))
        spy.instead = None
        assert differing(damaged, there(server.url)) == set()
        end = bring(world, where=X, missing=True, to=spy.url)  # nothing waits to be continued
    assert the_detail(end).created == 4


def test_points_that_a_server_refuses_are_named_and_the_others_written(
    world: World, server: Server
) -> None:
    before = there(server.url)
    delete(server.url, range(10, 20))
    bad = str(id_of(13)).encode()
    with Spy(server.url) as spy:
        tainted: list[bool] = []

        def note(line: str, body: bytes) -> bytes:
            points = json.loads(body)["points"] if line.startswith("PUT") else []
            if any(str(p["id"]).encode() == bad for p in points):
                tainted.append(True)
                return b'{"points": "refused"}'
            return body

        spy.asked = note
        said = failed(bring(world, missing=True, to=spy.url))
    assert tainted
    assert "refused 1 points" in said
    assert differing(before, there(server.url)) == {id_of(13)}


def test_small_upserts_where_strict_mode_wants_them(world: World, server: Server) -> None:
    before = there(server.url)
    delete(server.url, range(10, 40))
    call(server.url, "PATCH", "", strict_mode_config={"enabled": True, "upsert_max_batchsize": 7})
    try:
        end = bring(world, missing=True)
    finally:
        call(server.url, "PATCH", "", strict_mode_config={"enabled": False})
    assert the_detail(end).created == 30
    assert differing(before, there(server.url)) == set()


def test_another_collection_with_the_same_points_is_not_undone(
    world: World, server: Server
) -> None:
    """It was deleted and created anew: every point is as that run left it, and it wrote none."""
    delete(server.url, range(10, 20))
    done = bring(world, missing=True)
    assert the_detail(done).created == 10
    again = there(server.url)
    call(server.url, "DELETE", "")
    make_collection(server.url, POINTS)
    assert differing(again, there(server.url)) == set()
    for dry_run in (True, False):
        said = refused(take_back(world, done.start.run_id, dry_run=dry_run))
        assert "is another collection of that name" in said
        assert "--another-incarnation" in said
    assert differing(again, there(server.url)) == set()
    end = take_back(world, done.start.run_id, another_incarnation=True)
    assert the_detail(end).deleted == 10


def test_other_collections_under_the_name_are_refused(world: World, server: Server) -> None:
    call(server.url, "DELETE", "")
    try:
        assert "there is no collection" in refused(bring(world, missing=True))
        call(server.url, "PUT", "", vectors={"text": {"size": 5, "distance": "Cosine"}})
        assert "has other vectors" in refused(bring(world, missing=True))
        call(server.url, "DELETE", "")
        vectors = {"text": {"size": 16, "distance": "Cosine"},
                   "image": {"size": 8, "distance": "Dot"}}  # fmt: skip
        call(server.url, "PUT", "", vectors=vectors, sparse_vectors={"words": {}})
        said = refused(bring(world, missing=True))
        assert "is another collection of that name" in said
        assert "--another-incarnation" in said
        end = bring(world, missing=True, another_incarnation=True)
        assert the_detail(end).created == POINTS
    finally:
        call(server.url, "DELETE", "")
        call(server.url, "PUT", "", vectors={"text": {"size": 16, "distance": "Cosine"},
             "image": {"size": 8, "distance": "Dot"}}, sparse_vectors={"words": {}})  # fmt: skip
