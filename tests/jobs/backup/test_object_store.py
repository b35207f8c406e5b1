"""The main job with copies in an object store: what the store contract promises, all together."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from qdrant_dr import configfile
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.records import Captured
from qdrant_dr.repository import create_repository
from tests.support.driving import do, outcomes
from tests.support.replay import ReplaySource
from tests.support.stores import Place, s3_place
from tests.support.world import World, make_world


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with s3_place() as place:
        yield place


@pytest.fixture
def source() -> Iterator[ReplaySource]:
    with ReplaySource(["basic"]) as source:
        yield source


@pytest.fixture
def world(
    source: ReplaySource, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> World:
    """One copy on disk, one in a bucket whose keys are references."""
    monkeypatch.setenv("BUCKET_KEY", place.options["key"])
    monkeypatch.setenv("BUCKET_SECRET", place.options["secret"])
    world = make_world(tmp_path, source.url, repositories=("disk",))
    options = {"endpoint_url": place.options["endpoint_url"]}
    options |= {"key": "env:BUCKET_KEY", "secret": "env:BUCKET_SECRET"}
    bucket = {"name": "bucket", "url": place.config().url, "domain": "s3", "options": options}
    rewrite(world, repositories=[*body(world)["repositories"], bucket],
            copies={"quorum": 1, "domains": 1, "stall_timeout": "30s"})  # fmt: skip
    made = configfile.load(world.file).repository("bucket")
    assert made is not None
    bucket["id"] = create_repository(made, datetime.now(UTC))
    rewrite(world, repositories=[body(world)["repositories"][0], bucket])
    return world


def body(world: World) -> dict[str, Any]:
    return dict(yaml.safe_load(world.file.read_text()))


def rewrite(world: World, **sections: Any) -> None:
    world.file.write_text(yaml.safe_dump({**body(world), **sections}))


def test_backed_up_damaged_found_healed_and_drilled(world: World) -> None:
    assert do(world, "backup").verdict == "ok"
    bucket = open_all(configfile.load(world.file))[0]["bucket"]
    (manifest,) = world.manifests("disk")
    assert bucket.manifest_bytes(manifest.key) == manifest.to_bytes()
    (part,) = manifest.parts
    data = bytearray(b"".join(bucket.read_part(manifest.key, part)))
    data[len(data) // 2] ^= 1
    path = f"backups/{manifest.key.folder}/{part.file}"
    sink = bucket.store.sink(path, replace=True)
    sink.write(bytes(data))
    sink.commit()
    found = do(world, "verify")
    assert found.verdict == "failed"
    assert [o.repository for o in found.outcomes if o.verdict == "failed"] == ["bucket"]
    assert do(world, "replicate").verdict == "ok"
    assert do(world, "verify").verdict == "ok"
    drilled = do(world, "drill", repository="bucket", engine="edge")
    assert drilled.verdict == "ok", drilled.reasons


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"secret": "env:WRONG"}, "repository-denied"),
        ({"url": "s3://no-such-bucket/x"}, "repository-missing"),
    ],
)
def test_a_bucket_that_denies_or_is_not_there_is_left_behind(
    world: World, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], code: str
) -> None:
    monkeypatch.setenv("WRONG", "not-the-secret")
    disk, bucket = body(world)["repositories"]
    if "url" in change:
        bucket |= change
    else:
        bucket["options"] |= change
    rewrite(world, repositories=[disk, bucket])
    end = do(world, "backup")
    assert end.verdict == "degraded"
    (seen,) = (r for r in end.repositories if r.name == "bucket")
    assert seen.error is not None
    assert seen.error.code == code
    detail = outcomes(end, "capture")[0].detail
    assert isinstance(detail, Captured)
    assert detail.committed == ("disk",)
    assert b"not-the-secret" not in end.to_bytes()
