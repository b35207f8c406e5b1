"""`export` into a bucket, with whose credentials, and killed by the kernel in the middle."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qdrant_dr import configfile
from qdrant_dr.records.export import ExportManifest
from qdrant_dr.repository.open_store import open_store
from qdrant_dr.stores.base import Store
from tests.cli.conftest import Command
from tests.support.driving import do
from tests.support.replay import ReplaySource
from tests.support.stores import s3_place
from tests.support.world import World, in_store, make_world


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with s3_place() as place, ReplaySource(["basic"]) as source:
        world = in_store(tmp_path_factory.mktemp("bucket"), source.url, place)
        end = do(world, "backup", prove="content")
        assert end.verdict == "ok", end.reasons
        yield world


def beside(world: World) -> tuple[str, Store]:
    """The folder in which the repository lies, and its store."""
    config = configfile.load(world.reference)
    url = config.repositories[0].url.rstrip("/").rpartition("/")[0]
    placed = config.repositories[0].model_copy(update={"url": url})
    return url, open_store(placed, stall_timeout=config.copies.stall_timeout)


def test_a_bucket_takes_an_export_with_a_repositorys_credentials(
    bucket: World, qdr: Command
) -> None:
    url, store = beside(bucket)
    command = ("-c", bucket.file, "export", "movies@latest", "--out", f"{url}/points")
    said = qdr(*command, "--credentials-of", "one", "--json")
    assert said.code == 0, said
    manifest = ExportManifest.from_bytes(store.read("points/manifest.json"), where="points")
    assert manifest.equal
    assert [s.path for s in store.find("points")] == [
        "points/export.json", "points/manifest.json", "points/shard-0.parquet",
    ]  # fmt: skip
    assert qdr(*command, "--credentials-of", "one").code == 4


def test_bad_credentials_are_refused_before_anything_is_read(
    bucket: World, qdr: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, store = beside(bucket)
    made = configfile.load(bucket.reference).repositories[0]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.options["endpoint_url"])
    said = qdr("-c", bucket.file, "export", "movies@latest", "--out", f"{url}/other")
    assert said.code not in (0, 3), said
    assert "HINT" in said.err
    assert not store.find("other")
    said = qdr(
        "-c", bucket.file, "export", "movies@latest", "--out", f"{url}/x", "--credentials-of", "two"
    )
    assert (said.code, "there is no repository 'two'" in said.err) == (2, True), said


def test_a_process_killed_in_the_middle_is_gone_on_with(qdr: Command, tmp_path: Path) -> None:
    with ReplaySource(["sharded"]) as source:
        world = make_world(tmp_path / "world", source.url, repositories=("one",))
        assert do(world, "backup", prove="content").verdict == "ok"
    out = tmp_path / "out"
    words = ["-c", world.reference, "export", "sharded@latest", "--out", str(out)]
    command = [sys.executable, "-m", "qdrant_dr.cli", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        while not (out / "shard-0.parquet").exists():
            assert child.poll() is None
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
    if (out / "manifest.json").exists():
        pytest.fail("it was killed too late")
    said = qdr(*words)
    assert said.code == 0, said
    assert "continued an export that was interrupted" in said.out
    spool = Path(configfile.load(world.reference).capture.spool.path)
    assert not list(spool.glob("qdr-export-*"))  # what the killed one left, too
    assert {p.name for p in out.iterdir()} == {
        "export.json", "manifest.json", *(f"shard-{n}.parquet" for n in range(3)),
    }  # fmt: skip
