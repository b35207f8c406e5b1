"""What bad input gets: a clear error; the others go on, no good copy is touched."""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr.layout import recipe_file
from qdrant_dr.records import Captured, Manifest, RunEnd
from qdrant_dr.stores.base import Sink
from qdrant_dr.stores.local import LocalStore
from tests.support.driving import do, outcomes, rot
from tests.support.expiring import opened
from tests.support.replay import FIXTURES, ReplaySource
from tests.support.world import Layout, World, layouts, make_world


@pytest.fixture
def source() -> Iterator[ReplaySource]:
    with ReplaySource(["basic"]) as source:
        yield source


@pytest.fixture(params=layouts("plain"))
def layout(request: pytest.FixtureRequest) -> Layout:
    return request.param


@pytest.fixture
def world(source: ReplaySource, tmp_path: Path, layout: Layout) -> World:
    return make_world(tmp_path, source.url, layout=layout, copies={"quorum": 1, "domains": 1})


def code_of(end: RunEnd) -> str:
    """The code of the first thing that failed."""
    found = [end.error, *(o.error for o in end.outcomes if o.verdict == "failed")]
    return next(e.code for e in found if e)


def nothing_listed(world: World) -> bool:
    return not any(world.manifests(name) for name in world.folders)


class FullDisk:
    """A sink whose disk has no room behind the first 300 kB."""

    def __init__(self, sink: Sink) -> None:
        self.sink, self.room = sink, 300_000
        self.commit, self.abort = sink.commit, sink.abort

    def write(self, block: bytes) -> None:
        if len(block) > self.room:
            self.sink.write(block[: self.room])
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(block)
        self.sink.write(block)


class HungMount:
    """A sink whose first write does not come back."""

    def __init__(self, sink: Sink, end: threading.Event) -> None:
        self.sink, self.end = sink, end
        self.commit, self.abort = sink.commit, sink.abort

    def write(self, block: bytes) -> None:
        self.end.wait(60)
        self.sink.write(block)


class TestTheSource:
    def test_an_unreachable_node(self, source: ReplaySource, world: World) -> None:
        source.die()
        end = do(world, "backup")
        assert (end.verdict, code_of(end)) == ("failed", "node-unreachable")
        assert world.ends("one") == [end]  # a run that failed is on record, too

    def test_a_wrong_key(self, world: World, tmp_path: Path) -> None:
        with ReplaySource(["basic"], api_key="right") as locked:
            end = do(make_world(tmp_path / "b", locked.url), "backup")
        assert (end.verdict, code_of(end)) == ("failed", "access-denied")

    def test_a_read_only_key(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("READ_KEY", "reads")
        with ReplaySource(["basic"], api_key="right", read_api_key="reads") as locked:
            world = make_world(
                tmp_path / "b", locked.url,
                cluster={"name": "shop", "nodes": [locked.url], "api_key": "env:READ_KEY"},
            )  # fmt: skip
            end = do(world, "backup")
        assert (end.verdict, code_of(end)) == ("failed", "access-denied")
        assert "reads" not in end.to_bytes().decode().replace("env:READ_KEY", "")
        assert nothing_listed(world)

    def test_a_download_that_is_cut_goes_on(self, source: ReplaySource, world: World) -> None:
        source.faults.cut_after = 300_000
        assert do(world, "backup").verdict == "ok"
        assert sum(line.startswith("GET") and ".snapshot" in line for line in source.log) == 2

    def test_a_download_that_is_altered(self, source: ReplaySource, world: World) -> None:
        source.faults.flip_byte = 700_000
        end = do(world, "backup")
        assert (end.verdict, code_of(end)) == ("failed", "download-mismatch")
        assert nothing_listed(world)
        assert not list(world.parts("one"))

    def test_a_checksum_that_does_not_fit(self, source: ReplaySource, world: World) -> None:
        source.faults.wrong_checksum = True
        end = do(world, "backup")
        assert (end.verdict, code_of(end)) == ("failed", "download-mismatch")
        assert nothing_listed(world)

    def test_a_collection_that_vanishes(self, source: ReplaySource, world: World) -> None:
        source.faults.after_create = ReplaySource.vanish
        end = do(world, "backup")
        assert (end.verdict, code_of(end)) == ("failed", "collection-vanished")
        assert nothing_listed(world)

    def test_a_collection_that_is_recreated(self, source: ReplaySource, world: World) -> None:
        source.faults.after_download = ReplaySource.recreate
        end = do(world, "backup")
        assert (end.verdict, code_of(end)) == ("failed", "collection-changed")
        assert nothing_listed(world)

    def test_a_collection_that_cannot_be_read_is_a_failed_row(
        self, source: ReplaySource, world: World
    ) -> None:
        source.collections["movies"].info = None
        end = do(world, "backup")
        assert [(s.collection, s.status) for s in end.seen] == [("movies", "included")]
        assert (end.verdict, code_of(end)) == ("failed", "server-failed")

    def test_no_answer_to_create_is_reported_and_never_deleted(
        self, source: ReplaySource, world: World
    ) -> None:
        source.faults.cut_create = True
        end = do(world, "backup")
        assert (end.verdict, code_of(end)) == ("failed", "snapshot-unanswered")
        (left,) = source.snapshots("movies")
        source.faults.cut_create = False
        again = do(world, "backup")
        assert again.verdict == "degraded"
        assert any(left in note for note in outcomes(again, "sweep")[0].notes)
        assert source.snapshots("movies") == (left,)

    def test_a_name_that_was_there_before_is_not_ours_to_delete(
        self, source: ReplaySource, world: World
    ) -> None:
        theirs = source.add_snapshot("movies", "shared.snapshot", b"somebody else's")
        source.faults.snapshot_name = theirs.name
        end = do(world, "backup")
        assert end.verdict == "degraded"
        detail = outcomes(end, "capture")[0].detail
        assert isinstance(detail, Captured)
        assert detail.server_snapshot.startswith("kept: shared.snapshot was on the node before")
        assert source.snapshots("movies") == ("shared.snapshot",)

    def test_an_expected_collection_that_is_missing(
        self, source: ReplaySource, tmp_path: Path
    ) -> None:
        world = make_world(tmp_path / "b", source.url, collections={"expect": ["users"]})
        end = do(world, "backup")
        assert end.verdict == "failed"
        assert any("users is expected and missing" in r for r in end.reasons)
        assert world.manifests("one")  # the others are protected all the same

    def test_an_empty_server_is_no_success(self, source: ReplaySource, world: World) -> None:
        source.collections.clear()
        end = do(world, "backup")
        assert end.verdict == "failed"
        assert "no collection was backed up" in end.reasons

    def test_a_clock_that_is_off_degrades(self, source: ReplaySource, world: World) -> None:
        source.faults.clock_skew = 120
        end = do(world, "backup")
        assert end.verdict == "degraded"
        (captured,) = outcomes(end, "capture")
        assert any("clock is +1" in note and "30 s are allowed" in note for note in captured.notes)

    def test_an_unmounted_disk_is_not_an_empty_repository(
        self, source: ReplaySource, world: World
    ) -> None:
        (world.folders["two"] / "repository.json").unlink()
        end = do(world, "backup")
        assert end.verdict == "degraded"
        assert [r.name for r in end.repositories if not r.reachable] == ["two"]
        assert world.manifests("one")
        assert not list(world.parts("two"))

    def test_one_that_fills_up_is_left_behind(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = LocalStore.sink

        def sink(store: LocalStore, path: str, **options: Any) -> Sink:
            made = real(store, path, **options)
            return FullDisk(made) if store.name == "two" else made

        really_create = LocalStore.create

        def create(store: LocalStore, path: str, data: bytes) -> None:
            if store.name == "two" and len(data) > 300_000:  # a pack
                raise OSError(errno.ENOSPC, "No space left on device")
            really_create(store, path, data)

        monkeypatch.setattr(LocalStore, "sink", sink)
        monkeypatch.setattr(LocalStore, "create", create)
        end = do(world, "backup")
        assert end.verdict == "degraded"
        detail = outcomes(end, "capture")[0].detail
        assert isinstance(detail, Captured)
        assert detail.committed == ("one",)
        assert detail.left_behind["two"].code == "storage-full"
        assert not world.manifests("two")
        monkeypatch.undo()
        healed = do(world, "replicate")
        assert healed.verdict == "ok", healed.reasons
        assert world.manifests("two") == world.manifests("one")

    def test_one_that_stalls_is_left_behind(
        self, source: ReplaySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Layout
    ) -> None:
        copies = {"quorum": 1, "domains": 1, "stall_timeout": "1s"}
        world = make_world(tmp_path / "b", source.url, layout=layout, copies=copies)
        real, hang = LocalStore.sink, threading.Event()

        def sink(store: LocalStore, path: str, **options: Any) -> Sink:
            made = real(store, path, **options)
            if store.name == "two":
                made = HungMount(made, hang)
            return made

        really_create = LocalStore.create

        def create(store: LocalStore, path: str, data: bytes) -> None:
            if store.name == "two" and path.endswith(".pack"):
                hang.wait(60)
            really_create(store, path, data)

        monkeypatch.setattr(LocalStore, "sink", sink)
        monkeypatch.setattr(LocalStore, "create", create)
        try:
            end = do(world, "backup")
        finally:
            hang.set()
        assert end.verdict == "degraded"
        detail = outcomes(end, "capture")[0].detail
        assert isinstance(detail, Captured)
        assert (detail.committed, detail.left_behind["two"].code) == (("one",), "stalled")
        assert not world.manifests("two")

    def test_below_quorum_is_failed_and_keeps_what_there_is(
        self, source: ReplaySource, tmp_path: Path, layout: Layout
    ) -> None:
        world = make_world(tmp_path / "b", source.url, layout=layout)  # quorum two of two
        (world.folders["two"] / "repository.json").unlink()
        end = do(world, "backup")
        assert (end.verdict, code_of(end)) == ("failed", "quorum-missed")
        assert world.manifests("one")
        assert len(source.snapshots("movies")) == 1  # kept: too few copies hold it

    @pytest.mark.parametrize("damage", ["cut", "edited"])
    def test_a_damaged_manifest_is_no_backup_and_heals(self, world: World, damage: str) -> None:
        do(world, "backup")
        (path,) = world.folders["two"].glob("backups/**/manifest.json")
        good = path.read_bytes()
        path.write_bytes(good[:-7] if damage == "cut" else good.replace(b"movies", b"movie5", 1))
        verified = do(world, "verify")
        assert verified.verdict == "failed"
        healed = do(world, "replicate")
        assert healed.verdict == "ok", healed.reasons
        assert path.read_bytes() == good

    def test_a_manifest_of_a_newer_version_is_left_alone(self, world: World) -> None:
        do(world, "backup")
        (path,) = world.folders["two"].glob("backups/**/manifest.json")
        newer = newer_format(path.read_bytes())
        path.write_bytes(newer)
        healed = do(world, "replicate")
        assert healed.verdict == "failed"
        assert path.read_bytes() == newer

    def test_two_truths_are_never_mixed(self, world: World) -> None:
        do(world, "backup")
        (path,) = world.folders["two"].glob("backups/**/manifest.json")
        other = Manifest.from_bytes(path.read_bytes(), where="x").model_copy(
            update={"note": "another"}
        )
        path.write_bytes(other.to_bytes())
        rot(world, "one")
        healed = do(world, "replicate")
        assert healed.verdict == "failed"
        assert any("not the same everywhere" in r for r in healed.reasons)
        assert path.read_bytes() == other.to_bytes()

    def test_the_archive_of_another_collection(self, world: World) -> None:
        """Right bytes, right manifest, wrong collection: only a look inside tells."""
        do(world, "backup")
        other = (FIXTURES / "sharded" / "collection.snapshot").read_bytes()
        for name in world.folders:
            swap_part(world, name, other)
        end = do(world, "verify")
        assert end.verdict == "failed"
        assert {o.error.code for o in end.outcomes if o.error} == {"archive-foreign"}

    def test_every_good_copy_lost_is_said_and_nothing_is_touched(self, world: World) -> None:
        do(world, "backup")
        for name in world.folders:
            rot(world, name)
        found = do(world, "verify", depth="bytes")
        assert found.verdict == "failed"
        before = [p.read_bytes() for name in world.folders for p in world.parts(name)]
        healed = do(world, "replicate")
        assert healed.verdict == "failed"
        assert any("no other good copy is left" in r for r in healed.reasons)
        assert before == [p.read_bytes() for name in world.folders for p in world.parts(name)]

    def test_a_source_that_rots_unnoticed_is_found_by_healing_from_it(
        self, tmp_path: Path, layout: Layout
    ) -> None:
        with ReplaySource(["basic"]) as source:
            world = make_world(
                tmp_path, source.url, repositories=("one", "two", "three"), layout=layout
            )
            do(world, "backup")
        rot(world, "one")  # still believed good
        for path in list(world.parts("three")):
            path.unlink()
        healed = do(world, "replicate")
        assert healed.verdict == "ok", healed.reasons
        (heal,) = outcomes(healed, "heal")
        if layout == "plain":  # elsewhere each block comes from whoever has it
            assert heal.detail.source == "two"
        again = do(world, "replicate")  # the failed proof of `one` is on record now
        assert again.verdict == "ok", again.reasons
        assert [o.repository for o in outcomes(again, "heal")] == ["one"]


def newer_format(data: bytes) -> bytes:
    """The same record as a later version might write it, digest and all."""
    import hashlib

    from qdrant_dr.records import canonical_json

    body = json.loads(data)
    body.pop("sha256")
    body["format"] = 99
    return canonical_json({**body, "sha256": hashlib.sha256(canonical_json(body)).hexdigest()})


def swap_part(world: World, repository: str, data: bytes) -> None:
    """Put other bytes and a manifest that fits them; without seal and proofs."""
    import hashlib

    (path,) = world.folders[repository].glob("backups/**/manifest.json")
    manifest = Manifest.from_bytes(path.read_bytes(), where="x")
    part = manifest.parts[0].model_copy(
        update={
            "size_bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "blocks": (),
        }
    )
    path.write_bytes(manifest.model_copy(update={"parts": (part,)}).to_bytes())
    for old in (part.file, recipe_file(part.file), "seal.json"):
        (path.parent / old).unlink(missing_ok=True)
    sink = opened(world)[repository].part_sink(manifest.key, part.file, len(data))
    sink.write(data)
    sink.commit()
    for proof in world.folders[repository].glob("proofs/**/*.json"):
        proof.unlink()
