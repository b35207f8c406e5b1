"""On the command line: a lost manifest, and a backup that somebody put into one of two buckets."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from qdrant_dr.layout import run_end, run_start
from qdrant_dr.records import Manifest, Proof, RunEnd, RunStart, Seal
from tests.support.servers import Server, sandbox_server
from tests.support.world import World, make_world, seed


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


@pytest.mark.parametrize("lost", ["the manifest", "the whole folder"])
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


def plant(world: World, where: str, like: Manifest) -> Manifest:
    """What somebody with a key of one bucket can do: a younger backup with a seal, a proof and a
    run, every digest right, made from one that is there."""
    place = world.folders[where]

    def records(kind: Any, below: str) -> Any:
        found = [kind.from_bytes(p.read_bytes(), where=str(p)) for p in sorted(place.glob(below))]
        assert found
        return found

    key = like.key.model_copy(update={"backup_id": like.backup_id[:-6] + "0badf0"})
    newer = {"captured_at": like.captured_at + timedelta(microseconds=1), "note": "not ours"}
    of = like.model_copy(update={"backup_id": key.backup_id, **newer})
    (seal,) = records(Seal, f"backups/{like.key.folder}/seal.json")
    seal = seal.model_copy(update={"backup_id": key.backup_id, "manifest_sha256": of.sha256})
    proof = records(Proof, f"proofs/{like.key.folder}/*.json")[0]
    proof = proof.model_copy(
        update={
            "backup_id": key.backup_id, "manifest_sha256": of.sha256,
            "seal_sha256": seal.sha256 if proof.seal_sha256 else None,
        }
    )  # fmt: skip
    home, theirs = place / "backups" / key.folder, place / "backups" / like.key.folder
    shutil.copytree(theirs, home)
    (home / "manifest.json").write_bytes(of.to_bytes())
    (home / "seal.json").write_bytes(seal.to_bytes())
    proofs = place / "proofs" / key.folder
    proofs.mkdir(parents=True)
    (proofs / f"{proof.proof_id}.json").write_bytes(proof.to_bytes())
    end = next(
        e for e in records(RunEnd, "runs/**/*.end.json")
        if any(o.backup_id == like.backup_id and o.unit == "capture" for o in e.outcomes)
    )  # fmt: skip
    start: RunStart = end.start.model_copy(update={"run_id": end.start.run_id[:-6] + "0badf0"})
    outcomes = tuple(
        o.model_copy(
            update={
                "backup_id": key.backup_id,
                "detail": o.detail.model_copy(update={"manifest_sha256": of.sha256}),
            }
        )
        for o in end.outcomes
        if o.backup_id == like.backup_id and o.unit == "capture"
    )
    end = end.model_copy(update={"start": start, "outcomes": outcomes})
    (place / run_start(start.run_id, start.started_at)).write_bytes(start.to_bytes())
    (place / run_end(start.run_id, start.started_at)).write_bytes(end.to_bytes())
    return of


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
    assert any(bad.backup_id in p["message"] and "tells of it" in p["message"] for p in problems)
