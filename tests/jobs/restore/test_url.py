"""The target fetches the archive itself by a signed URL: no byte through us, and no secret said."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from qdrant_dr import configfile
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.records import Restored, RunEnd
from qdrant_dr.repository import create_repository
from tests.support.driving import do, outcomes
from tests.support.reframed import by_shard
from tests.support.replay import ReplaySource
from tests.support.servers import Server, qdrant_server, sandbox_server
from tests.support.stores import Place, s3_place
from tests.support.world import World, make_world

SECRETS = ("X-Amz-Signature", "Signature=", "AWSAccessKeyId", "X-Amz-Credential")


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with s3_place(enforce=False) as place:
        yield place


@pytest.fixture(scope="module")
def world(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Proven in a bucket and on a disk, in this order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BUCKET_KEY", place.options["key"])
        patch.setenv("BUCKET_SECRET", place.options["secret"])
        yield backed_up(place, tmp_path_factory.mktemp("url"))


def backed_up(place: Place, folder: Path) -> World:
    with ReplaySource(["basic", "sharded"]) as source:
        world = make_world(folder / "world", source.url, repositories=("one",))
        body = yaml.safe_load(world.file.read_text())
        options = {"endpoint_url": place.options["endpoint_url"]}
        options |= {"key": "env:BUCKET_KEY", "secret": "env:BUCKET_SECRET"}
        bucket = {"name": "bucket", "url": place.config().url, "domain": "s3", "options": options}
        body["repositories"].insert(0, bucket)
        world.file.write_text(yaml.safe_dump(body))
        made = configfile.load(world.file).repository("bucket")
        assert made is not None
        bucket["id"] = create_repository(made, datetime.now(UTC))
        world.file.write_text(yaml.safe_dump(body))
        end = do(world, "backup")
        assert end.verdict == "ok", end.reasons
    return world


@pytest.fixture(
    params=[
        "sandbox",
        pytest.param(
            "server",
            marks=pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN"),
        ),
    ]
)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    make = sandbox_server if request.param == "sandbox" else qdrant_server
    with make(tmp_path / "target") as server:
        yield server


def bring_back(world: World, url: str, backup: str, **request: Any) -> tuple[RunEnd, Restored]:
    end = do(world, "restore", backups=[backup], to=url, dry_run=False, way="url", **request)
    (outcome,) = outcomes(end, "restore")
    assert isinstance(outcome.detail, Restored)
    return end, outcome.detail


def test_the_target_fetches_it_and_nobody_hears_the_secret(
    world: World, target: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "qdrant_dr")
    caplog.set_level(logging.INFO, "httpx")
    end, detail = bring_back(world, target.url, "movies@latest-proven")
    assert end.verdict == "ok", end.reasons
    assert (detail.way, detail.sources, detail.sent_bytes) == ("url", ("bucket",), 0)
    assert detail.fingerprint_equal
    every = caplog.text + end.model_dump_json()
    assert not [s for s in SECRETS if s in every]


def test_shards_are_fetched_one_by_one(world: World, target: Server) -> None:
    cut = by_shard(world, "sharded")
    end, detail = bring_back(world, target.url, f"sharded@{cut.backup_id}")
    assert end.verdict == "ok", end.reasons
    assert (detail.route, detail.sent_bytes, detail.fingerprint_equal) == ("shards", 0, True)


def put(store: Any, path: str, data: bytes) -> None:
    sink = store.sink(path, replace=True)
    sink.write(data)
    sink.commit()


def test_damaged_bytes_are_refused_by_the_target_and_the_secret_stays_ours(
    world: World, target: Server
) -> None:
    """The disk cannot sign, so nothing is left to try: it fails, and nothing stays there."""
    (manifest,) = (m for m in world.manifests("one") if m.collection == "movies")
    opened, _ = open_all(configfile.load(world.reference))
    store = opened["bucket"].store
    path = f"backups/{manifest.key.folder}/{manifest.parts[0].file}"
    whole = store.read(path)
    data = bytearray(whole)
    data[len(data) // 2] ^= 1
    put(store, path, bytes(data))
    end, detail = bring_back(world, target.url, "movies@latest-proven")
    put(store, path, whole)
    assert end.verdict == "failed"
    assert "checksum" in end.reasons[0].lower()
    assert not [s for s in SECRETS if s in end.model_dump_json()]
    assert not detail.fingerprint_equal
    assert httpx.get(f"{target.url}/collections", timeout=30).json()["result"]["collections"] == []
