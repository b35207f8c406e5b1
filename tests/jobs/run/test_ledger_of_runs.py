"""Every run leaves one signed entry in each repository that names all it wrote there."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from qdrant_dr import configfile, layout
from qdrant_dr.cli import main
from qdrant_dr.errors import SignatureInvalid
from qdrant_dr.jobs.run.ledger import change_in_ledger
from qdrant_dr.jobs.run.run import begin
from qdrant_dr.records import Outcome
from qdrant_dr.records.ledger import FIRST, Change, LedgerEntry
from qdrant_dr.repository.ledger import read_head
from qdrant_dr.repository.unnamed_records import find_unnamed
from qdrant_dr.signing import allowed_signers, sshsig
from qdrant_dr.signing.allowed_signers import LEDGER
from qdrant_dr.signing.ssh_keys import PrivateKey, new_key, read_private_key
from tests.support.driving import do
from tests.support.replay import ReplaySource
from tests.support.thorough import THOROUGH
from tests.support.world import World, make_world


@pytest.fixture
def source() -> Iterator[ReplaySource]:
    with ReplaySource(["basic"]) as source:
        yield source


@pytest.fixture
def key() -> PrivateKey:
    return new_key()


@pytest.fixture
def world(source: ReplaySource, tmp_path: Path, key: PrivateKey) -> World:
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(key.to_text())
    return make_world(tmp_path, source.url, signing={"key": f"file:{file}"})


def ledger(world: World, repository: str) -> list[LedgerEntry]:
    """All entries of a repository, checked: dense, chained, and each record as it is named."""
    folder, previous, found = world.folders[repository], FIRST, []
    for number, path in enumerate(sorted(folder.glob("evidence/*/*.json")), 1):
        entry = LedgerEntry.from_bytes(path.read_bytes(), where=str(path))
        assert layout.ledger_entry(number) == str(path.relative_to(folder))
        assert (entry.number, entry.previous) == (number, previous)
        previous = hashlib.sha256(path.read_bytes()).hexdigest()
        found.append(entry)
    return found


def named(entries: list[LedgerEntry]) -> dict[str, str]:
    return {w.path: w.sha256 for e in entries for w in (*e.found, *e.records)}


def records(world: World, repository: str) -> dict[str, str]:
    folder = world.folders[repository]
    every = {str(p.relative_to(folder)): p for p in folder.rglob("*.json")}
    return {
        path: hashlib.sha256(p.read_bytes()).hexdigest()
        for path, p in every.items()
        if layout.in_ledger(path)
    }


def test_a_run_names_every_record_that_it_wrote(world: World, key: PrivateKey) -> None:
    for job in ("backup", "verify", "replicate"):
        assert do(world, job).verdict == "ok"
    for repository in world.folders:
        entries = ledger(world, repository)
        assert [e.job for e in entries] == ["backup", "verify", "replicate"]
        assert named(entries) == records(world, repository)
        assert not any(e.found for e in entries[1:])
        for path in world.folders[repository].glob("evidence/*/*.json"):
            signature = path.with_name(f"{path.name}.sig").read_bytes()
            assert sshsig.verify(path.read_bytes(), signature, LEDGER) == key.public
        assert {e.signer for e in entries} == {key.public.fingerprint}


def test_repositories_are_witnesses_of_each_other(world: World) -> None:
    for _ in range(2):
        do(world, "verify")
    one, two = ledger(world, "one"), ledger(world, "two")
    assert one[0].heads == ()
    assert [(h.number, h.sha256) for h in one[1].heads] == [(1, two[0].sha256)]
    assert [(h.number, h.sha256) for h in two[1].heads] == [(1, one[0].sha256)]


def test_a_dry_run_and_a_watch_leave_no_entry(world: World) -> None:
    do(world, "backup", dry_run=True)
    assert ledger(world, "one") == []


def test_without_a_key_entries_are_chained(source: ReplaySource, tmp_path: Path) -> None:
    world = make_world(tmp_path, source.url)
    assert do(world, "backup").verdict == "ok"
    (entry,) = ledger(world, "one")
    assert entry.signer is None
    assert not list(world.folders["one"].glob("evidence/*/*.sig"))


@pytest.mark.parametrize("wrong", ["readable", "missing", "no key"])
def test_a_key_that_cannot_be_used_degrades_and_is_no_obstacle(world: World, wrong: str) -> None:
    file = world.file.parent / "key"
    if wrong == "readable":
        file.chmod(0o644)
    elif wrong == "missing":
        file.unlink()
    else:
        file.write_text("hello")
    end = do(world, "backup")
    assert end.verdict == "degraded"
    assert any("key" in reason for reason in end.reasons), end.reasons
    assert [e.signer for e in ledger(world, "two")] == [None]
    assert world.manifests("one")


def test_what_a_crashed_run_wrote_is_found_by_the_next(world: World) -> None:
    do(world, "backup")
    for entry in world.folders["one"].glob("evidence/*/*"):
        entry.unlink()
    spool = world.file.parent / "spool" / "ledger"
    for file in spool.iterdir():
        file.unlink()
    do(world, "verify")
    (entry,) = ledger(world, "one")
    assert entry.since is not None
    assert entry.since.records_count == len(entry.found)
    assert named([entry]) == records(world, "one")


def test_every_folder_of_records_is_looked_through_after_a_crash(world: World) -> None:
    """What a run that died wrote is named by the next one, wherever it lies."""
    do(world, "verify")
    config = configfile.load(world.reference)
    run = begin(config, "backup")
    placed = {
        f"{top}/{config.cluster.name}/movies-0a1b2c3d/{run.run_id}/{name}"
        for top, name in (
            (layout.UNDO, "part-1.json"), (layout.PROOFS, f"{run.run_id}.json"),
            (layout.HOLDS, f"{run.run_id}.json"), (layout.EXPIRED, f"{run.run_id}.json"),
            (layout.BACKUPS, layout.INTENT),
        )
    }  # fmt: skip
    placed |= {f"{layout.ACKNOWLEDGED}/{config.cluster.name}/{run.run_id}.json"}
    placed |= {f"{layout.KEYS}/{'0' * 16}/{run.run_id}.json"}
    tops = {path.partition("/")[0] for path in placed} | {layout.RUNS}
    unnamed = {layout.PACKS, layout.BUNDLES, layout.EVIDENCE, layout.WATCHES}
    assert tops == {*layout.FOLDERS} - unnamed  # a new folder is to be looked through, too
    repository, now = run.repositories["one"], datetime.now(UTC)
    for path in placed:
        repository.store.create(path, b"{}")
    head = read_head(repository)
    found = find_unnamed(repository, config.cluster.name, head, (), {run.run_id}, now)
    assert placed <= {w.path for w in found.found}


def test_what_a_dead_run_wrote_anew_is_found_although_it_was_named_once(world: World) -> None:
    """Named, removed on record, and brought back by a run that died: of other bytes, maybe."""
    do(world, "backup")
    config = configfile.load(world.reference)
    run = begin(config, "verify")
    repository = run.repositories["one"]
    (manifest, *_) = world.manifests("one")
    path = layout.in_backup(manifest.key, layout.MANIFEST)
    with change_in_ledger(config, {"one": repository}, "expire"):
        repository.delete(path)
    repository.store.create(path, b"{}")
    now = datetime.now(UTC)
    found = find_unnamed(repository, config.cluster.name, read_head(repository), (), (), now)
    assert path in {w.path for w in found.found}


def test_a_record_that_was_replaced_is_removed_and_written(world: World) -> None:
    do(world, "verify")
    config = configfile.load(world.reference)
    repository = begin(config, "verify").repositories["one"]
    path = layout.acknowledgement(config.cluster.name, ID)
    for data in (b"{}", b"{ }"):
        with change_in_ledger(config, {"one": repository}, "hold"):
            repository.replace_record(path, data)
    entry = ledger(world, "one")[-1]
    assert (entry.removed, [w.path for w in entry.records]) == ((path,), [path])


def test_an_end_that_was_cut_is_told_and_stays_a_gap(world: World) -> None:
    do(world, "backup")
    do(world, "verify")
    kept = (world.folders["two"] / layout.ledger_entry(2)).read_bytes()
    for suffix in ("", layout.SIGNATURE):
        (world.folders["two"] / (layout.ledger_entry(2) + suffix)).unlink()
    end = do(world, "verify")
    assert end.verdict == "degraded"
    assert any("has seen entry 2" in r and "qdrant-dr evidence verify" in r for r in end.reasons)
    third = world.folders["two"] / layout.ledger_entry(3)
    entry = LedgerEntry.from_bytes(third.read_bytes(), where="3")
    assert entry.previous == hashlib.sha256(kept).hexdigest()
    assert do(world, "verify").verdict == "ok"


def test_an_end_that_was_replaced_is_told(world: World) -> None:
    do(world, "backup")
    path = world.folders["two"] / layout.ledger_entry(1)
    entry = LedgerEntry.from_bytes(path.read_bytes(), where="1")
    path.write_bytes(entry.model_copy(update={"records": ()}).to_bytes())
    end = do(world, "verify")
    assert end.verdict == "degraded"
    assert any("was replaced" in r for r in end.reasons)


def test_a_damaged_end_is_told_and_followed(world: World) -> None:
    do(world, "backup")
    path = world.folders["two"] / layout.ledger_entry(1)
    path.write_bytes(b"{}")
    end = do(world, "verify")
    assert end.verdict == "degraded"
    assert (world.folders["two"] / layout.ledger_entry(2)).exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from qdrant_dr.stores.local import LocalStore
from tests.support.driving import do
from tests.support.thorough import THOROUGH
from tests.support.world import World

left = [int(sys.argv[2])]
create = LocalStore.create

def counted(self, path, data):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    create(self, path, data)

LocalStore.create = counted
do(World(Path(sys.argv[1]), {}), "verify")
"""
ID = "20261122T101530Z-7f3a9c"
STEPS = 8
"""Start, end, entry and signature, in each of two repositories."""


@pytest.mark.parametrize("step", range(STEPS) if THOROUGH else (2, 4, 5, 7))
def test_killed_before_any_write_the_next_run_covers_it(world: World, step: int) -> None:
    do(world, "verify")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, world.reference, str(step)], timeout=120, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    do(world, "verify")
    for repository in world.folders:
        entries = ledger(world, repository)
        assert named(entries) == records(world, repository)
        assert entries[-1].run_id is not None
        path = world.folders[repository] / layout.ledger_entry(entries[-1].number)
        assert path.with_name(f"{path.name}.sig").exists()


def test_a_change_without_a_run_is_an_entry(world: World) -> None:
    do(world, "backup")
    (manifest, *_) = world.manifests("one")
    config = ["-c", world.reference]
    assert main([*config, "hold", str(manifest.key), "--reason", "case 4711"]) == 0
    entries = ledger(world, "two")
    assert [(e.job, e.run_id is None) for e in entries] == [("backup", False), ("hold", True)]
    assert [w.path.split("/")[0] for w in entries[1].records] == ["holds"]


def test_a_key_is_made_used_and_rotated(
    source: ReplaySource, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signers = tmp_path / "allowed_signers"
    world = make_world(tmp_path, source.url, signing={"allowed_signers": str(signers)})
    config, old, new = ["-c", world.reference], tmp_path / "old", tmp_path / "new"
    assert main([*config, "--json", "signing", "init", "--key", str(old), "--save"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert old.stat().st_mode & 0o777 == 0o600
    signers.write_text(row["line"] + "\n")
    assert main([*config, "signing", "init", "--key", str(old)]) == 2
    do(world, "verify")
    assert main([*config, "signing", "rotate", "--key", str(new), "--save"]) == 0
    do(world, "verify")
    entries = ledger(world, "one")
    keys = [read_private_key(f"file:{f}").public for f in (old, new)]
    assert [e.signer for e in entries] == [k.fingerprint for k in (keys[0], keys[0], keys[1])]
    assert [e.next_key for e in entries] == [None, keys[1].line, None]
    believed = allowed_signers.parse(signers.read_text(), "file")
    for entry in entries:
        path = world.folders["one"] / layout.ledger_entry(entry.number)
        signature = path.with_name(f"{path.name}.sig").read_bytes()
        public = sshsig.verify(path.read_bytes(), signature, LEDGER)
        allowed_signers.find(believed, public, LEDGER, entry.at)
    later = entries[-1].at + timedelta(days=1)
    with pytest.raises(SignatureInvalid, match="valid until"):
        allowed_signers.find(believed, keys[0], LEDGER, later)


def test_a_reviewer_is_trusted_by_a_line(world: World, tmp_path: Path, key: PrivateKey) -> None:
    public, file = tmp_path / "ana.pub", tmp_path / "trusted"
    public.write_text(f"{key.public.line} ana@laptop\n")
    words = ["-c", world.reference, "signing", "trust", str(public), "--as", "ana@example.org",
             "--for", "review", "--file", str(file)]  # fmt: skip
    for _ in range(2):
        assert main(words) == 0
    (line,) = allowed_signers.parse(file.read_text(), "file")
    assert (line.principals, line.namespaces, line.public) == (
        "ana@example.org", "review@qdrant-dr", key.public,
    )  # fmt: skip


def test_a_copy_goes_on_where_the_original_was(world: World, tmp_path: Path) -> None:
    do(world, "backup")
    was = ledger(world, "two")[0].repository_id
    mirror = tmp_path / "mirror"
    shutil.copytree(world.folders["two"], mirror)
    text = yaml.safe_load(world.file.read_text())
    text["repositories"].append({"name": "mirror", "url": mirror.as_uri(), "domain": "m"})
    world.file.write_text(yaml.safe_dump(text))
    assert (
        main(["-c", world.reference, "repository", "adopt", "mirror", "--execute", "--save"]) == 0
    )
    there = World(world.file, {**world.folders, "mirror": mirror})
    entries = ledger(there, "mirror")
    assert [(e.job, e.adopted_from) for e in entries] == [("backup", None), ("adopt", was)]
    assert entries[1].repository_id != was
    assert do(there, "verify").verdict in ("ok", "degraded")
    entries = ledger(there, "mirror")
    assert entries[2].adopted_from is None
    assert named(entries) == records(there, "mirror")


def test_a_ledger_that_cannot_be_written_fails_no_backup(world: World) -> None:
    (world.folders["two"] / "evidence").write_text("in its place")
    end = do(world, "backup")
    assert end.verdict == "degraded"
    assert any("no entry in the ledger of two" in reason for reason in end.reasons), end.reasons
    assert world.manifests("two")
    (world.folders["two"] / "evidence").unlink()
    assert do(world, "verify").verdict == "ok"
    assert named(ledger(world, "two")) == records(world, "two")


def test_what_another_process_wrote_is_named_and_not_kept_twice(world: World) -> None:
    config = configfile.load(world.reference)
    run = begin(config, "verify")
    change = Change(repository_id=run.repositories["one"].id, sha256="a" * 64, size_bytes=7,
                    path=f"proofs/shop/movies-2e5a1b3c/{ID}/{ID}.json")  # fmt: skip
    now = run.start.started_at
    outcome = Outcome(
        unit="verify", collection="movies", verdict="ok", started_at=now, ended_at=now,
        written=(change,),
    )  # fmt: skip
    end = run.finish(config, outcomes=[Outcome.model_validate_json(outcome.model_dump_json())])
    assert end.outcomes[0].written == ()
    assert b"written" not in end.to_bytes()
    assert named(ledger(world, "one"))[change.path] == "a" * 64
    assert change.path not in named(ledger(world, "two"))
