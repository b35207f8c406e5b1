"""Servers that store their snapshots in S3: no checksum, no range; the bucket is read instead."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr import configfile, secrets
from qdrant_dr.cluster import (
    INSTANCE,
    Node,
    SnapshotScope,
    blocks_of,
    create_snapshot,
    list_snapshots,
)
from qdrant_dr.cluster.bucket import object_path, probe, read_object
from qdrant_dr.cluster.snapshot_scope import key_piece
from qdrant_dr.config import ClusterConfig, SnapshotsInS3
from qdrant_dr.errors import (
    AccessDenied,
    ConfigInvalid,
    DownloadInterrupted,
    DownloadMismatch,
    SecretMissing,
)
from qdrant_dr.jobs.check.bucket import check_bucket
from qdrant_dr.records import ListedSnapshot
from tests.support.driving import do, outcomes
from tests.support.replay import ReplaySource
from tests.support.servers import qdrant_server
from tests.support.stores import Place, s3_place
from tests.support.world import World, make_world, seed

PREFIX = "snapshots"
BYTES = {"proven": {"depth": "bytes", "max_age": "8d"}}
ODD = "rich-ünï~x"
REFERENCES = {"key": "env:QDR_S3_KEY", "secret": "env:QDR_S3"}


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with s3_place() as made:
        made.need("endpoint")
        yield made


@pytest.fixture(scope="module")
def files(place: Place) -> Any:
    import s3fs

    return s3fs.S3FileSystem(**place.options, use_listings_cache=False, skip_instance_cache=True)


@pytest.fixture
def bucket(place: Place, files: Any, tmp_path: Path) -> SnapshotsInS3:
    """A place of its own in the bucket; the options name their secrets, as configurations must."""
    return SnapshotsInS3(
        url=f"s3://backups{tmp_path}/{PREFIX}", options={**place.options, **REFERENCES}
    )


@pytest.fixture(autouse=True)
def secret(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDR_S3", place.options["secret"])
    monkeypatch.setenv("QDR_S3_KEY", place.options["key"])


@pytest.fixture
def source(files: Any, bucket: SnapshotsInS3) -> Iterator[ReplaySource]:
    """A node in S3 mode: what it makes lies in the bucket, `cut` bytes too short."""

    def put(at: ReplaySource, collection: str) -> None:
        scope = SnapshotScope(collection) if collection else INSTANCE
        made = at.full if not collection else at.collections[collection].snapshots
        for name, stored in made.items():
            files.pipe_file(object_path(bucket, scope, name), stored.read(0, stored.size))

    with ReplaySource(("basic", "rich", "single")) as replayed:
        replayed.faults.no_checksum = replayed.faults.no_range = True
        replayed.faults.after_create = put
        yield replayed


def world_of(source: ReplaySource, bucket: SnapshotsInS3 | None, tmp_path: Path) -> World:
    cluster: dict[str, Any] = {"name": "shop", "nodes": [source.url]}
    if bucket is not None:
        cluster["snapshots_s3"] = bucket.model_dump()
    return make_world(tmp_path / "world", source.url, cluster=cluster, objectives=BYTES)


def downloads(source: ReplaySource) -> list[str]:
    return [line for line in source.log if line.startswith("GET ") and ".snapshot" in line]


class TestRuns:
    def test_the_object_is_read_from_the_bucket_and_deleted_by_the_server(
        self, source: ReplaySource, bucket: SnapshotsInS3, tmp_path: Path
    ) -> None:
        world = world_of(source, bucket, tmp_path)
        end = do(world, "backup", prove="content")
        assert end.verdict == "ok", end.reasons
        assert downloads(source) == []
        assert len(source.deleted) == 3
        assert {m.parts[0].server_checksum for m in world.manifests("one")} == {None}

    def test_without_the_bucket_it_comes_through_the_server_and_a_doubt_says_so(
        self, source: ReplaySource, tmp_path: Path
    ) -> None:
        world = world_of(source, None, tmp_path)
        end = do(world, "backup", collections=("movies",))
        assert end.verdict == "degraded"
        assert len(downloads(source)) == 1
        (manifest,) = world.manifests("one")
        assert any("no checksum" in doubt for doubt in manifest.doubts)

    def test_a_short_object_makes_no_backup(
        self, source: ReplaySource, bucket: SnapshotsInS3, files: Any, tmp_path: Path
    ) -> None:
        """What a read error of the server's disk leaves: it lists that size, and calls it done."""

        def cut(at: ReplaySource, collection: str) -> None:
            (name,) = at.collections[collection].snapshots
            stored = at.collections[collection].snapshots[name]
            short = stored.read(0, 512 * 200)
            at.collections[collection].snapshots[name] = type(stored)(name, short, None, "e")
            files.pipe_file(object_path(bucket, SnapshotScope(collection), name), short)

        source.faults.after_create = cut
        world = world_of(source, bucket, tmp_path)
        source.faults.short_length = 1449472 - 512 * 200  # what it answers is what it lists
        end = do(world, "backup", collections=("movies",))
        assert end.verdict == "failed"
        assert [o.error.code for o in outcomes(end, "capture") if o.error] == ["archive-truncated"]
        assert world.manifests("one") == world.manifests("two") == []

    def test_a_full_snapshot_takes_its_objects_along(
        self, source: ReplaySource, bucket: SnapshotsInS3, tmp_path: Path
    ) -> None:
        theirs = source.create("movies")["name"]
        world = world_of(source, bucket, tmp_path)
        end = do(world, "backup", method="full")
        assert end.verdict == "ok", end.reasons
        assert len(world.manifests("one")) == 3
        assert source.full == {}
        assert [n for c in source.collections.values() for n in c.snapshots] == [theirs]

    def test_check_tells_whether_the_bucket_can_be_read(
        self,
        source: ReplaySource,
        bucket: SnapshotsInS3,
        files: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        config = configfile.load(world_of(source, bucket, tmp_path).reference)
        (row,) = check_bucket(config)
        assert row.state == "degraded"
        files.pipe_file(f"{bucket.url}/movies/a.snapshot", b"x")
        (row,) = check_bucket(config)
        assert row.state == "ok"
        monkeypatch.setenv("QDR_S3", "not the secret")
        (row,) = check_bucket(config)
        assert (row.state, row.code) == ("failed", "access-denied")
        assert "not the secret" not in f"{row.found} {row.next_step}"


class TestReading:
    def listed(self, data: bytes, name: str = "a.snapshot") -> ListedSnapshot:
        return ListedSnapshot(name=name, size_bytes=len(data))

    def put(self, files: Any, bucket: SnapshotsInS3, data: bytes) -> ListedSnapshot:
        files.pipe_file(object_path(bucket, SnapshotScope("movies"), "a.snapshot"), data)
        return self.listed(data)

    def test_every_byte_in_ranges(
        self, files: Any, bucket: SnapshotsInS3, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("qdrant_dr.cluster.bucket.RANGE", 10_000)
        data = os.urandom(123_456)
        listed = self.put(files, bucket, data)
        blocks = list(read_object(bucket, "movies", listed))
        assert b"".join(blocks) == data
        assert len(blocks) == 13

    def test_a_cut_costs_one_range(
        self, files: Any, bucket: SnapshotsInS3, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import s3fs

        data = os.urandom(50_000)
        listed = self.put(files, bucket, data)
        monkeypatch.setattr("qdrant_dr.cluster.bucket.RANGE", 10_000)
        asked: list[int] = []
        whole = s3fs.S3FileSystem.cat_file

        def cut(self: Any, path: str, start: int, end: int) -> bytes:
            asked.append(start)
            if len(asked) in {2, 3}:
                raise ConnectionResetError("cut")
            found: bytes = whole(self, path, start=start, end=end)
            return found

        monkeypatch.setattr(s3fs.S3FileSystem, "cat_file", cut)
        read = read_object(bucket, "movies", listed, backoff_seconds=0.001)
        assert b"".join(read) == data
        assert asked == [0, 10_000, 10_000, 10_000, 20_000, 30_000, 40_000]

    def test_a_bucket_that_never_answers_ends(self, place: Place, bucket: SnapshotsInS3) -> None:
        dead = bucket.model_copy(update={"options": {**bucket.options, **place.dead}})
        with pytest.raises(DownloadInterrupted) as raised:
            next(read_object(dead, "movies", self.listed(b"x")))
        assert raised.value.transient

    @pytest.mark.parametrize("length", [10, 12])
    def test_another_size_than_announced_is_an_error(
        self, files: Any, bucket: SnapshotsInS3, length: int
    ) -> None:
        self.put(files, bucket, bytes(length))
        with pytest.raises(DownloadMismatch, match=f"has {length} bytes, 11 were announced"):
            next(read_object(bucket, "movies", self.listed(bytes(11))))

    def test_one_that_is_exchanged_meanwhile_is_an_error(
        self, files: Any, bucket: SnapshotsInS3, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("qdrant_dr.cluster.bucket.RANGE", 10)
        listed = self.put(files, bucket, b"a" * 20)
        read = read_object(bucket, "movies", listed)
        next(read)
        self.put(files, bucket, b"b" * 20)
        with pytest.raises(DownloadMismatch, match="exchanged"):
            list(read)

    def test_what_is_not_there_names_the_setting(self, bucket: SnapshotsInS3) -> None:
        with pytest.raises(DownloadMismatch, match="there is no") as raised:
            next(read_object(bucket, "movies", self.listed(b"x")))
        assert "snapshots_s3" in raised.value.hint

    def test_wrong_credentials_are_refused_and_not_shown(
        self, place: Place, bucket: SnapshotsInS3
    ) -> None:
        wrong = bucket.model_copy(update={"options": {**bucket.options, **place.wrong}})
        with pytest.raises(AccessDenied) as raised:
            probe(wrong)
        assert place.wrong["secret"] not in str(raised.value)

    def test_a_block_may_hold_the_keys(
        self, place: Place, files: Any, bucket: SnapshotsInS3, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        listed = self.put(files, bucket, b"a" * 20)
        monkeypatch.setattr(secrets, "_block_readers", [{"aws-credentials/x": place.options}.get])
        kept = SnapshotsInS3(url=bucket.url, credentials="block:aws-credentials/x")
        assert b"".join(read_object(kept, "movies", listed)) == b"a" * 20

    def test_options_that_mean_nothing(self, bucket: SnapshotsInS3) -> None:
        odd = bucket.model_copy(update={"options": {"secret": "env:QDR_NOT_SET"}})
        with pytest.raises(SecretMissing):
            probe(odd)
        with pytest.raises(ConfigInvalid):
            probe(bucket.model_copy(update={"options": {"no_such": 1}}))


def test_keys_are_as_the_server_writes_them() -> None:
    assert key_piece("rich-ünï~x") == "rich-%C3%BCn%C3%AF%7Ex"
    assert key_piece("a b#c%d*e") == "a b%23c%25d%2Ae"
    assert key_piece("plain-1.2_3!$&'()+,;=:@") == "plain-1.2_3!$&'()+,;=:@"
    bucket = SnapshotsInS3(url="s3://b/deep/snapshots/")
    assert object_path(bucket, SnapshotScope("ü", 3), "x.snapshot") == (
        "b/deep/snapshots/%C3%BC/shards/3/x.snapshot"
    )
    assert object_path(bucket, INSTANCE, "x.snapshot") == "b/deep/snapshots/x.snapshot"


@pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs a Qdrant binary in QDRANT_BIN")
def test_a_real_server_in_s3_mode(
    place: Place, tmp_path: Path, files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "SNAPSHOTS_STORAGE": "s3",
        "S3_CONFIG__BUCKET": "backups",
        "S3_CONFIG__REGION": "us-east-1",
        "S3_CONFIG__ACCESS_KEY": place.options["key"],
        "S3_CONFIG__SECRET_KEY": place.options["secret"],
        "S3_CONFIG__ENDPOINT_URL": place.options["endpoint_url"],
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"QDRANT__STORAGE__SNAPSHOTS_CONFIG__{name}", value)
    home = tmp_path / "qdrant"
    with qdrant_server(home) as server:
        for name in ("movies", ODD):
            seed(server.url, name, points=40)
        options = {**place.options, **REFERENCES}
        bucket = {"url": f"s3://backups{home}/snapshots", "options": options}
        cluster = {"name": "shop", "nodes": [server.url], "snapshots_s3": bucket}
        world = make_world(tmp_path / "world", server.url, cluster=cluster)
        for method in ("collection", "full"):
            end = do(world, "backup", method=method)
            assert end.verdict == "ok", end.reasons
        assert sorted(m.collection for m in world.manifests("one")) == [
            "movies",
            "movies",
            ODD,
            ODD,
        ]
        assert files.find(f"backups{home}") == []
        through_the_server = ClusterConfig(name="shop", nodes=(server.url,))
        with Node(server.url) as node:
            made = create_snapshot(node, ODD)
            assert made.checksum is None
            (listed,) = list_snapshots(node, ODD)
            assert listed.name == key_piece(made.name)
            direct = b"".join(read_object(SnapshotsInS3.model_validate(bucket), ODD, made))
            relayed = b"".join(blocks_of(node, ODD, made, through_the_server))
        assert hashlib.sha256(direct).digest() == hashlib.sha256(relayed).digest()
