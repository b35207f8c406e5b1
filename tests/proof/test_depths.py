"""Depths on real archives: what passes is whole, and nothing damaged passes."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdrant_dr.errors import (
    EngineHindered,
    EngineStalled,
    EngineTooOld,
    NothingChecked,
    ObjectMissing,
    RepositoryUnreachable,
    StorageFull,
    UsageError,
)
from qdrant_dr.proof import EngineLimits, Examination, ProofLimits, SampleRequest, prove
from qdrant_dr.proof.fingerprint import differences, fingerprint_of
from qdrant_dr.proof.point_encoding import digest_point
from qdrant_dr.records import Depth, Part, Seal
from tests.support.archives import MemoryReader, archive, backup, put_together, take_apart
from tests.support.hunt import hunted
from tests.support.replay import truth

SETS = ("basic", "rich", "sharded", "empty", "single", "busy", "motion")
DEPTHS: tuple[Depth, ...] = ("presence", "bytes", "structure", "load", "content")


def codes(examination: Examination) -> list[str]:
    return [f.code for f in examination.findings]


@pytest.mark.parametrize("set_name", SETS)
def test_every_real_archive_reads_back_bit_by_bit(
    set_name: str, examined: Callable[[str], Examination]
) -> None:
    result = examined(set_name)
    assert (result.findings, result.reached, result.passed) == ((), "content", True)
    assert result.bytes_checked == result.bytes_expected > 0
    points = truth(set_name)
    assert result.points_checked == len(points)
    read = result.read_back
    assert read is not None
    if set_name != "motion":
        assert differences(fingerprint_of(points), read.total) == []
        return
    # a server restored these: what its log replayed may differ there in the last bits
    (shard,) = read.shards
    late = set(shard.replayed_ids)
    assert len(late) == 500
    assert (
        differences(fingerprint_of(p for p in points if p["id"] not in late), shard.settled) == []
    )
    assert shard.replayed is not None
    served = fingerprint_of(p for p in points if p["id"] in late)
    for name in ("id", "payload"):
        assert served.components[name] == shard.replayed.components[name]


@pytest.mark.parametrize(
    ("set_name", "operations", "replayed", "vanished"),
    [("basic", [6], 0, 0), ("busy", [210], 0, 200), ("motion", [316], 500, 1900)],
)
def test_what_the_log_did(
    set_name: str,
    operations: list[int],
    replayed: int,
    vanished: int,
    examined: Callable[[str], Examination],
) -> None:
    read = examined(set_name).read_back
    assert read is not None
    assert [s.count.operation for s in read.shards] == operations
    assert [len(s.replayed_ids) for s in read.shards] == [replayed]
    assert [s.vanished for s in read.shards] == [vanished]
    assert {p["id"] for p in read.replayed_points} == set(read.shards[0].replayed_ids)


@pytest.mark.parametrize("set_name", ["sharded", "motion", "empty"])
def test_content_equals_the_seal(
    set_name: str, sealed: Callable[[str], Seal], scratch: Path
) -> None:
    manifest, reader = backup(set_name)
    seal = sealed(set_name)
    result = prove(manifest, reader, depth="content", folder=scratch, seal=seal)
    assert result.passed
    assert result.points_expected == result.points_checked == seal.points
    assert result.within_tolerance == 0
    assert list(scratch.iterdir()) == []
    assert reader.read == manifest.size_bytes, "one read"


@pytest.mark.parametrize("name", ["sharded", "busy"])
def test_parts_that_are_shards(name: str, scratch: Path) -> None:
    parts = {"sharded": ("shard-0", "stream-1", "shard-2"), "busy": ("shard-0",)}[name]
    operations = {"sharded": None, "busy": [209]}[name]
    manifest, reader = backup(name, *parts, operations=operations)
    result = prove(manifest, reader, depth="content", folder=scratch)
    if name == "sharded":
        assert result.passed
        assert result.read_back is not None
        assert result.read_back.total == fingerprint_of(truth(name))
    else:
        assert (codes(result), result.reached) == (["count-differs"], "structure")
        assert "5000 points, the source counted 3000" in result.findings[0].message


@pytest.mark.parametrize("depth", DEPTHS)
def test_each_depth_reaches_as_far_as_it_says(depth: Depth, scratch: Path) -> None:
    manifest, reader = backup("single")
    result = prove(manifest, reader, depth=depth, folder=scratch)
    assert (result.depth, result.reached, result.passed) == (depth, depth, True)
    assert result.bytes_checked == (0 if depth == "presence" else manifest.size_bytes)
    assert result.points_checked == (1 if depth in ("load", "content") else None)


def test_no_point_at_all_passes_where_segments_were_counted(scratch: Path) -> None:
    manifest, reader = backup("empty")
    result = prove(manifest, reader, depth="load", folder=scratch)
    assert (result.passed, result.points_checked) == (True, 0)


@pytest.mark.parametrize("depth", DEPTHS)
def test_what_is_missing_or_short(depth: Depth, scratch: Path) -> None:
    manifest, reader = backup("single")
    reader.parts["collection"] = reader.parts["collection"][:-1]
    short = prove(manifest, reader, depth=depth, folder=scratch)
    assert (codes(short), short.reached) == (["bytes-differ"], None)
    reader.parts = {}
    gone = prove(manifest, reader, depth=depth, folder=scratch)
    assert (codes(gone), gone.reached, gone.passed) == (["object-missing"], None, False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.integers(0, len(archive("single/collection")) * 8 - 1))
def test_no_flipped_bit_passes_bytes(where: int, scratch: Path) -> None:
    manifest, reader = backup("single")
    data = bytearray(reader.parts["collection"])
    data[where // 8] ^= 1 << where % 8
    reader.parts["collection"] = bytes(data)
    result = prove(manifest, reader, depth="bytes", folder=scratch)
    assert (codes(result), result.reached) == (["bytes-differ"], "presence")


def test_a_damaged_copy_is_named_for_its_bytes_first(scratch: Path) -> None:
    manifest, reader = backup("basic")
    data = bytearray(reader.parts["collection"])
    data[100] ^= 1
    reader.parts["collection"] = bytes(data)
    result = prove(manifest, reader, depth="content", folder=scratch)
    assert (codes(result)[0], result.reached) == ("bytes-differ", "presence")
    assert result.bytes_checked == manifest.size_bytes
    assert result.read_back is None
    assert list(scratch.iterdir()) == []


def test_bytes_that_never_end(scratch: Path) -> None:
    class Endless(MemoryReader):
        def blocks(self, part: Part, start: int = 0, end: int | None = None) -> Iterator[bytes]:
            yield from super().blocks(part, start, end)
            while True:
                yield bytes(1 << 20)

    manifest, reader = backup("single")
    for depth in ("bytes", "content"):
        result = prove(manifest, Endless(reader.parts), depth=depth, folder=scratch)
        assert codes(result)[0] == "bytes-differ"
        assert "has more than 64512 bytes" in result.findings[0].message


def test_bytes_that_stop_early(scratch: Path) -> None:
    class Short(MemoryReader):
        def blocks(self, part: Part, start: int = 0, end: int | None = None) -> Iterator[bytes]:
            yield self.parts[part.name][:-1024]

    manifest, reader = backup("single")
    result = prove(manifest, Short(reader.parts), depth="content", folder=scratch)
    assert set(codes(result)) == {"bytes-differ", "archive-truncated"}
    assert "has 63488 bytes" in result.findings[0].message


def swapped_segments() -> bytes:
    """`basic` with one of its two segments from `busy`: a whole archive of other content."""
    members = take_apart(archive("sharded/collection"))
    others = [m for m in members if m.name.startswith("1/segments/")]
    mine = [n for n, m in enumerate(members) if m.name.startswith("0/segments/")]
    for n, other in zip(mine, others, strict=True):
        members[n] = members[n].with_data(other.data)
    return put_together(members)


def test_a_shard_with_anothers_points(sealed: Callable[[str], Seal], scratch: Path) -> None:
    """Structure and engine are content; only count and fingerprint know."""
    manifest, reader = backup("sharded", data={"collection": swapped_segments()})
    blind = prove(manifest, reader, depth="structure", folder=scratch)
    assert blind.passed
    result = prove(manifest, reader, depth="content", folder=scratch, seal=sealed("sharded"))
    assert codes(result) == ["count-differs"]
    # its log still has its own 282 points, and brings them back beside the 318 of the other
    assert "shard 0 holds 600 points, the seal says 282" in result.findings[0].message


def test_silent_rot_is_found_by_content_alone(sealed: Callable[[str], Seal], scratch: Path) -> None:
    members = take_apart(archive("basic/collection"))
    segment = bytearray(members[1].data)
    at = segment.index(b"vector_storage/vectors/chunk_0.mmap") // 512 * 512 + 512 + 77 * 128
    segment[at] ^= 0x10
    members[1] = members[1].with_data(bytes(segment))
    manifest, reader = backup("basic", data={"collection": put_together(members)})
    assert prove(manifest, reader, depth="load", folder=scratch, seal=sealed("basic")).passed
    result = prove(manifest, reader, depth="content", folder=scratch, seal=sealed("basic"))
    assert (codes(result), result.reached) == (["content-differs"], "load")
    assert "vector: differs in 1 of 256 buckets" in result.findings[0].message


def test_a_lost_segment_is_a_count(scratch: Path) -> None:
    members = take_apart(archive("sharded/shard-0"))
    data = {"shard-0": put_together(members[1:])}
    manifest, reader = backup("sharded", "shard-0", "shard-1", "shard-2", data=data)
    result = prove(manifest, reader, depth="load", folder=scratch)
    assert (codes(result), result.reached) == (["count-differs"], "structure")


def test_broken_metadata_in_a_whole_archive(scratch: Path) -> None:
    members = take_apart(archive("basic/collection"))
    inner = take_apart(members[1].data)
    inner = [
        m.with_data(m.data.replace(b'"InRamChunkedMmap"', b'"Nonsense"'))
        if m.name.endswith("segment.json")
        else m
        for m in inner
    ]
    members[1] = members[1].with_data(put_together(inner, end=b""))
    manifest, reader = backup("basic", data={"collection": put_together(members)})
    for depth in ("load", "content"):
        result = prove(manifest, reader, depth=depth, folder=scratch)
        assert (codes(result), result.reached) == (["engine-failed"], "structure")
    assert list(scratch.iterdir()) == []


def test_the_engine_is_killed_in_the_middle(scratch: Path) -> None:
    manifest, reader = backup("rich")
    with hunted(signal.SIGKILL), pytest.raises(EngineHindered, match="killed by signal 9"):
        prove(manifest, reader, depth="content", folder=scratch)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGBUS, signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_that_does_not_come_back_is_not_of_the_copy(
    number: signal.Signals, scratch: Path
) -> None:
    manifest, reader = backup("rich")
    with hunted(number):
        result = prove(manifest, reader, depth="content", folder=scratch)
    assert (result.findings, result.passed) == ((), True)
    assert reader.read == 2 * manifest.size_bytes, "the part was read anew for the second engine"
    assert result.bytes_checked == manifest.size_bytes
    assert list(scratch.iterdir()) == []


def test_a_crash_that_comes_back_is_of_the_copy(scratch: Path) -> None:
    manifest, reader = backup("rich")
    with hunted(signal.SIGSEGV, times=2):
        result = prove(manifest, reader, depth="content", folder=scratch)
    assert (codes(result), result.reached) == (["engine-crashed"], "structure")
    assert "killed by signal 11" in result.findings[0].message
    assert list(scratch.iterdir()) == []


def test_what_was_found_stands_whatever_hinders_the_rest(scratch: Path) -> None:
    """The first part is damaged, the second cannot be read."""

    class Away(MemoryReader):
        def blocks(self, part: Part, start: int = 0, end: int | None = None) -> Iterator[bytes]:
            if part.name != "shard-0":
                raise RepositoryUnreachable("gone")
            yield from super().blocks(part, start, end)

    manifest, reader = backup("sharded", "shard-0", "shard-1", "shard-2")
    data = bytearray(reader.parts["shard-0"])
    data[5000] ^= 1
    parts = {**reader.parts, "shard-0": bytes(data)}
    result = prove(manifest, Away(parts), depth="bytes", folder=scratch)
    assert codes(result) == ["bytes-differ"]
    with pytest.raises(RepositoryUnreachable):
        prove(manifest, Away(reader.parts), depth="bytes", folder=scratch)


def test_an_object_that_goes_while_it_is_read_is_missing(scratch: Path) -> None:
    class Deleted(MemoryReader):
        def blocks(self, part: Part, start: int = 0, end: int | None = None) -> Iterator[bytes]:
            yield self.parts[part.name][:1000]
            raise ObjectMissing("it is not there any more")

    manifest, reader = backup("single")
    result = prove(manifest, Deleted(reader.parts), depth="content", folder=scratch)
    assert (codes(result), result.reached) == (["object-missing"], None)


def test_the_engine_makes_no_progress(scratch: Path) -> None:
    manifest, reader = backup("single")
    limits = ProofLimits(engine=EngineLimits(stall_timeout=timedelta(seconds=1)))
    with hunted(signal.SIGSTOP), pytest.raises(EngineStalled, match="no progress in 1 s"):
        prove(manifest, reader, depth="load", folder=scratch, limits=limits)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("set_name", "engines"),
    [(n, 2) for n in ("basic", "rich", "sharded", "empty", "single", "motion")]
    + [("basic", 3), ("single", 4)],
)
def test_several_engines_read_what_one_reads(
    set_name: str,
    engines: int,
    sealed: Callable[[str], Seal],
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("qdrant_dr.proof.examiner._SEVERAL_FROM", 0)
    monkeypatch.setattr("qdrant_dr.proof.examiner._cores", lambda: engines)
    manifest, reader = backup(set_name)
    seal = sealed(set_name)
    result = prove(manifest, reader, depth="content", folder=scratch, seal=seal)
    assert (result.findings, result.passed) == ((), True)
    assert result.read_back is not None
    assert result.read_back.sketch == seal.sketch
    assert list(scratch.iterdir()) == []


def test_no_child_survives(scratch: Path) -> None:
    manifest, reader = backup("single")
    prove(manifest, reader, depth="content", folder=scratch)
    assert [c for c in psutil.Process().children() if "engine_child" in " ".join(c.cmdline())] == []


def test_what_is_not_the_copys_fault_is_raised(scratch: Path) -> None:
    class Away(MemoryReader):
        def blocks(self, part: Part, start: int = 0, end: int | None = None) -> Iterator[bytes]:
            yield self.parts[part.name][:1000]
            raise RepositoryUnreachable("gone")

    manifest, reader = backup("single")
    with pytest.raises(RepositoryUnreachable):
        prove(manifest, Away(reader.parts), depth="content", folder=scratch)
    with pytest.raises(StorageFull, match="1000 may be used"):
        prove(manifest, reader, depth="load", folder=scratch, limits=ProofLimits(1000))
    newer = manifest.model_copy(update={"server_version": "1.21.0"})
    with pytest.raises(EngineTooOld):
        prove(newer, reader, depth="load", folder=scratch)
    assert prove(newer, reader, depth="structure", folder=scratch).passed
    with pytest.raises(UsageError):
        prove(manifest, reader, depth="restore", folder=scratch)
    assert list(scratch.iterdir()) == []


def test_an_archive_behind_the_acknowledged_writes(scratch: Path) -> None:
    manifest, reader = backup("basic", operations=[7])
    result = prove(manifest, reader, depth="load", folder=scratch)
    assert codes(result) == ["operation-behind"]


def test_digests_of_points_that_were_asked_for(scratch: Path) -> None:
    points = {p["id"]: p for p in truth("rich")}
    ids = random.Random(1).sample(list(points), 20)
    manifest, reader = backup("rich")
    result = prove(manifest, reader, depth="content", folder=scratch, sampled_ids=[*ids, 10**9])
    assert result.read_back is not None
    assert result.read_back.sampled == {(0, i): digest_point(points[i]) for i in ids}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> int:
    for module in ("digests", "proof.blocks", "proof.examiner"):
        monkeypatch.setattr(f"qdrant_dr.{module}.SAMPLE_BLOCK", 4096)
    return 4096


def test_a_sample_reads_what_it_says(small_blocks: int, scratch: Path) -> None:
    manifest, reader = backup("rich")
    count = -(-manifest.size_bytes // small_blocks)
    request = SampleRequest(per_mille=100, seed=7)
    result = prove(manifest, reader, depth="bytes", folder=scratch, sample=request)
    assert result.passed
    assert result.sample is not None
    assert result.sample.detection_ppm == -(-count // 10) * 1_000_000 // count
    assert reader.read == result.bytes_checked <= 110 * small_blocks * count // 1000
    chosen = request.choose(manifest.parts[0])
    assert chosen == SampleRequest(100, 7).choose(manifest.parts[0])
    assert chosen != SampleRequest(100, 8).choose(manifest.parts[0])


def test_a_sample_finds_damage_as_often_as_it_says(small_blocks: int, scratch: Path) -> None:
    manifest, reader = backup("single")
    data = bytearray(reader.parts["collection"])
    data[5 * small_blocks] ^= 1
    reader.parts["collection"] = bytes(data)
    found = 0
    for seed in range(200):
        sample = SampleRequest(per_mille=250, seed=seed)
        result = prove(manifest, reader, depth="bytes", folder=scratch, sample=sample)
        assert result.sample is not None
        found += not result.passed
    assert abs(found / 200 - result.sample.detection_ppm / 1e6) < 0.1


def test_a_sample_with_nothing_to_compare_is_no_pass(scratch: Path) -> None:
    manifest, reader = backup("single")
    bare = manifest.parts[0].model_copy(update={"blocks": ()})
    manifest = manifest.model_copy(update={"parts": (bare,)})
    request = SampleRequest(per_mille=1000, seed=1)
    with pytest.raises(NothingChecked, match="with which a sample could be compared"):
        prove(manifest, reader, depth="bytes", folder=scratch, sample=request)
    with pytest.raises(UsageError):
        prove(manifest, reader, depth="load", folder=scratch, sample=request)


@pytest.mark.parametrize("depth", ["bytes", "structure", "load", "content"])
def test_a_depth_alone_sees_what_it_sees(
    depth: Depth, sealed: Callable[[str], Seal], scratch: Path
) -> None:
    manifest, reader = backup("sharded", data={"collection": swapped_segments()})
    result = prove(
        manifest, reader, depth=depth, folder=scratch, alone=True, seal=sealed("sharded")
    )
    assert result.passed == (depth in ("bytes", "structure"))


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_depth_alone_that_looked_at_nothing_did_not_pass(
    depth: Depth, sealed: Callable[[str], Seal], scratch: Path
) -> None:
    manifest, _ = backup("single")
    seal = sealed("single")
    expected = {"presence": "object-missing", "load": "count-differs"}
    look = partial(prove, manifest, MemoryReader({}), folder=scratch, alone=True, seal=seal)
    if depth in expected:
        assert codes(look(depth=depth)) == [expected[depth]]
        return
    with pytest.raises(NothingChecked):
        look(depth=depth)
