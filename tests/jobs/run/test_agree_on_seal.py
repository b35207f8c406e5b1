"""One seal per backup, however many proofs run at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from qdrant_dr import configfile
from qdrant_dr.jobs.run.units import VerifyUnit
from qdrant_dr.jobs.verify.job import verify_copy
from tests.support.driving import do
from tests.support.replay import ReplaySource
from tests.support.world import make_world


def test_proofs_that_race_to_seal_agree(tmp_path: Path) -> None:
    with ReplaySource(["single"]) as source:
        world = make_world(tmp_path, source.url, repositories=("one", "two", "three"))
        assert do(world, "backup", prove="bytes").verdict == "degraded"  # content is promised
        assert not list(tmp_path.rglob("seal.json"))
        config = configfile.load(world.reference)
        (manifest,) = world.manifests("one")
        units = [
            VerifyUnit(key=manifest.key, repository=name, depth="content")
            for name in ("three", "two", "one", "three", "two", "one")
        ]
        with ThreadPoolExecutor(len(units)) as pool:
            outcomes = list(pool.map(lambda u: verify_copy(config, u, "run"), units))
    assert [o.error for o in outcomes] == [None] * len(units)
    seals = {p.read_bytes() for p in tmp_path.rglob("seal.json")}
    assert len(seals) == 1
    assert len(list(tmp_path.rglob("seal.json"))) == 3
    assert any(o.detail.sealed for o in outcomes)
