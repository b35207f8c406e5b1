"""On the command line: a lost manifest, and a backup that somebody put into one of two buckets."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.planting import plant
from tests.support.servers import Server, sandbox_server
from tests.support.thorough import few
from tests.support.world import make_world, seed


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with sandbox_server(tmp_path_factory.mktemp("source")) as server:
        seed(server.url, "movies", points=40)
        yield server


def age(folder: Path) -> None:
    """As if nothing had been written there for three days."""
    old = time.time() - 3 * 86400
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (old, old))


@pytest.mark.parametrize("lost", few(["the manifest", "the whole folder"], "the whole folder"))
def test_a_backup_that_is_gone_is_missed_and_what_is_left_of_it_stays(
    source: Server, tmp_path: Path, qdr: Any, lost: str
) -> None:
    """As a lifecycle rule or a roll-back leaves it: seal, proofs and runs still name it."""
    world = make_world(tmp_path, source.url)

    def run(*words: str) -> Any:
        return qdr(*words, "-c", world.reference)

    assert run("backup", "-q").code == 0
    (of,) = world.manifests("one")
    time.sleep(1)
    assert run("backup", "-q").code == 0
    newest = next(m for m in world.manifests("one") if m != of)
    for folder in world.folders.values():
        home = folder / "backups" / newest.key.folder
        if lost == "the manifest":
            (home / "manifest.json").unlink()
            age(home)
        else:
            shutil.rmtree(home)
    told = run("status")
    assert told.code == 1
    assert "protected" not in told.out
    assert run("verify", "--depth", "bytes", "-q").code == 1
    assert run("list").code == 3
    shown = run("show", str(newest.key))
    assert newest.sha256 in shown.out
    assert f"qdrant-dr expire {newest.key} --execute" in shown.out
    assert run("backup", "-q").code == 3  # it is said, and the new backup is good
    assert len(world.manifests("one")) == 2
    if lost == "the manifest":
        for folder in world.folders.values():
            assert (folder / "backups" / newest.key.folder / "collection.snapshot").exists()
    assert run("expire", str(newest.key), "--execute", "-q").code == 0
    assert run("verify", "--depth", "bytes", "-q").code == 0
    assert run("backup", "-q").code == 0
    assert run("status").code == 0


def test_a_backup_planted_in_one_bucket_displaces_no_true_one(
    source: Server, tmp_path: Path, qdr: Any
) -> None:
    little = {"last": 1, "daily": 0, "weekly": 0, "monthly": 0, "floor": 1, "grace": "0s"}
    world = make_world(tmp_path, source.url, retention={**little, "share": 1.0})

    def run(*words: str) -> Any:
        return qdr(*words, "-c", world.reference)

    assert run("backup", "-q").code == 0
    (true,) = world.manifests("one")
    bad = plant(world, "one", true)
    assert run("replicate", "-q").code == 3
    assert bad.backup_id not in {m.backup_id for m in world.manifests("two")}
    run("verify", f"movies@{bad.backup_id}", "-r", "one", "-q")  # it may well be proven there
    assert run("status").code != 0
    assert run("expire", "--execute", "-q").code == 3
    for name in world.folders:
        assert true.backup_id in {m.backup_id for m in world.manifests(name)}
    problems = yaml.safe_load(run("status", "--json").out)["errors"]
    assert any(bad.backup_id in p["message"] and "knows of it" in p["message"] for p in problems)
