"""A recover call that was sent and not answered: nothing is cleaned, and nothing runs twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from qdrant_dr.jobs.restore.next_copy import Meter
from qdrant_dr.records import Restored
from qdrant_dr.stores.bandwidth import BandwidthLimit
from tests.support.driving import do
from tests.support.either_server import KINDS
from tests.support.reframed import by_shard
from tests.support.replay import ReplaySource
from tests.support.servers import Server, qdrant_server, sandbox_server
from tests.support.spy import Spy
from tests.support.thorough import thorough
from tests.support.unanswered import bring_back, names
from tests.support.world import World, lent, make_world

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Backups of one archive and of one by shard; the target is given three seconds."""
    with ReplaySource(["basic", "sharded"]) as source:
        made = make_world(tmp_path_factory.mktemp("unanswered") / "world", source.url)
        end = do(made, "backup")
        assert end.verdict == "ok", end.reasons
    by_shard(made, "sharded")
    body = yaml.safe_load(made.file.read_text())
    body["cluster"]["timeouts"] = {"snapshot": "3s"}
    made.file.write_text(yaml.safe_dump(body))
    return made


@pytest.fixture
def world(prepared: World) -> Iterator[World]:
    with lent(prepared) as mine:
        yield mine


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    make = sandbox_server if request.param == "sandbox" else qdrant_server
    with make(tmp_path / "target") as server:
        yield server


@pytest.mark.parametrize(
    ("collection", "path", "sent"),
    [
        ("movies", "/collections/movies/snapshots/upload$", 2),
        pytest.param("sharded", "/shards/1/snapshots/upload$", 2, marks=thorough),
    ],
)
def test_it_is_kept_and_the_same_command_goes_on(
    world: World, target: Server, collection: str, path: str, sent: int
) -> None:
    with Spy(target.url) as spy:
        spy.hold("POST", path, forward=True)
        end = bring_back(world, spy.url, collection)
        (outcome,) = end.outcomes
        assert outcome.error is not None
        assert outcome.error.code == "recover-unanswered"
        assert "run the same command again" in outcome.error.hint
        assert isinstance(outcome.detail, Restored)
        assert outcome.detail.removed == ()
        assert any("the same command continues it" in note for note in outcome.notes)
        assert spy.count("DELETE", "/collections") == 0
        assert names(target.url) == [collection]
        spy.release()
        again = bring_back(world, spy.url, collection)
        assert again.verdict == "ok", again.reasons
        assert spy.count("POST", path) == sent
        asked = spy.log.index("GET /telemetry")
        pattern = f"POST /collections/{collection}"
        assert asked < max(n for n, line in enumerate(spy.log) if line.startswith(pattern))
    (outcome,) = again.outcomes
    assert isinstance(outcome.detail, Restored)
    assert (outcome.detail.fingerprint_equal, outcome.detail.resumed) == (True, True)


def test_an_unanswered_call_outweighs_a_refused_one(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One shard is refused at once, the other is not answered: what is kept may be at work."""
    from qdrant_dr.errors import RecoverFailed
    from qdrant_dr.jobs.restore import transfer_parts as restore_recover

    real = restore_recover.recover_shard_by_upload

    def refuse_the_first(node: Any, name: str, shard: int, blocks: Any, **named: Any) -> None:
        if shard == 0:
            raise RecoverFailed("not this one")
        real(node, name, shard, blocks, **named)

    monkeypatch.setattr(restore_recover, "recover_shard_by_upload", refuse_the_first)
    with sandbox_server(tmp_path / "target") as target, Spy(target.url) as spy:
        spy.hold("POST", "/shards/1/snapshots/upload$", forward=True)
        (outcome,) = bring_back(world, spy.url, "sharded", parallel=3).outcomes
        assert outcome.error is not None
        assert outcome.error.code == "recover-unanswered"
        assert names(target.url) == ["sharded"]


def test_one_trusted_repository_of_two_that_disagree(tmp_path: Path) -> None:
    """As docs/troubleshooting.md says: a copy of the configuration with that repository alone."""
    with ReplaySource(["basic"]) as source:
        world = make_world(tmp_path / "world", source.url)
        end = do(world, "backup")
        assert end.verdict == "ok", end.reasons
    (path,) = world.folders["two"].glob("backups/**/movies*/**/manifest.json")
    record = json.loads(path.read_bytes())
    record["note"] = "another story"
    path.write_text(json.dumps(record))
    body = yaml.safe_load(world.file.read_text())
    body["repositories"] = body["repositories"][:1]
    body["copies"] |= {"quorum": 1, "domains": 1}
    alone = World(tmp_path / "trusted-only.yaml", {"one": world.folders["one"]})
    alone.file.write_text(yaml.safe_dump(body))
    with sandbox_server(tmp_path / "target") as target:
        end = bring_back(alone, target.url, "movies")
        assert end.verdict == "ok", end.reasons
        assert names(target.url) == ["movies"]


def test_what_is_cut_is_sent_no_faster_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same throttle a second time, counted once."""
    slept: list[float] = []
    monkeypatch.setattr("qdrant_dr.jobs.restore.next_copy.time.sleep", slept.append)
    meter = Meter(2**20, None, BandwidthLimit(2**20))
    assert list(meter.paced(iter([bytes(2**20)] * 3))) == [bytes(2**20)] * 3
    assert sum(slept) > 3
    assert meter.sent == 0
