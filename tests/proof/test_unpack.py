"""Archives on disk: what arrives, what is refused, and what a whole one must have."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdrant_dr.errors import StorageFull
from qdrant_dr.proof import wal
from qdrant_dr.proof.structure import inspect, segments_of
from qdrant_dr.proof.unpack import LaidOut, Limits, lay_out
from qdrant_dr.records import Manifest
from tests.support.archives import (
    END,
    FIXTURES,
    RawMember,
    archive,
    backup,
    header,
    part,
    put_together,
    take_apart,
    tar,
)

ROOMY = Limits(1 << 30, 1 << 40, 64 << 30)
EVERY = sorted(
    f"{p.parent.name}/{p.stem}"
    for p in FIXTURES.glob("*/*.snapshot")
    if p.parent.name not in ("cluster", "full", "series")
)


def laid(data: bytes, folder: Path, *, kind: Any = "collection", shard: int = 0) -> LaidOut:
    pieces = (data[at : at + 70_000] for at in range(0, len(data), 70_000))
    return lay_out(pieces, folder, kind=kind, shard=shard, limits=ROOMY)


def faults(data: bytes, folder: Path, set_name: str = "single", **fields: Any) -> list[str]:
    """Codes of all that is wrong with a collection archive, bytes aside."""
    folder.mkdir()
    manifest, _ = backup(set_name, data={"collection": data}, **fields)
    return [
        f"{fault.code}: {fault.message}"
        for fault in inspect(laid(data, folder), manifest.parts[0], manifest)
    ]


@pytest.mark.parametrize("name", EVERY)
def test_every_real_archive_is_whole(name: str, tmp_path: Path) -> None:
    set_name, stem = name.split("/")
    manifest, reader = backup(set_name, stem) if stem == "collection" else shard_backup(name)
    of = manifest.parts[0]
    result = laid(reader.parts[stem], tmp_path, kind=of.kind, shard=of.shards[0])
    assert inspect(result, of, manifest) == []
    assert tuple(s.shard for s in result.local_shards) == of.shards
    for shard in result.shards:
        segments = segments_of(shard)
        assert segments
        for uuid in segments:
            assert (shard.folder / "segments" / uuid / "version.info").is_file()


def shard_backup(name: str) -> tuple[Manifest, Any]:
    """A backup of one shard alone; the others are not our business here."""
    set_name, stem = name.split("/")
    whole, _ = backup(set_name)
    number = int(stem.rsplit("-", 1)[1])
    data = archive(name)
    of = part(data, name=stem, kind="shard", shards=[number], wal=False)
    facts = tuple(s for s in whole.shards if s.shard == number)
    manifest = whole.model_copy(update={"parts": (of,), "shards": facts})
    _, reader = backup(set_name, data={"collection": data})
    reader.parts = {stem: data}
    return manifest, reader


@pytest.mark.parametrize("name", ["basic/collection", "rich/stream-0", "basic/shard-0"])
def test_every_byte_arrives_and_holes_stay_holes(name: str, tmp_path: Path) -> None:
    kind = "collection" if name.endswith("collection") else "shard"
    laid(archive(name), tmp_path, kind=kind)
    expected = dict(_files(archive(name), "" if kind == "collection" else "0/"))
    found = {str(p.relative_to(tmp_path)): p for p in tmp_path.rglob("*") if p.is_file()}
    assert found.keys() == expected.keys()
    for path, data in expected.items():
        assert found[path].read_bytes() == data, path
    apparent = sum(p.stat().st_size for p in found.values())
    assert apparent > 50 * sum(p.stat().st_blocks * 512 for p in found.values())


def _files(data: bytes, prefix: str) -> Iterator[tuple[str, bytes]]:
    """What Python's tarfile unpacks, nested ones opened."""
    with tarfile.open(fileobj=BytesIO(data)) as tar_file:
        for member in tar_file:
            if not member.isfile():
                continue
            content = tar_file.extractfile(member)
            assert content is not None
            if member.name.endswith(".tar"):
                inner = dict(_files(content.read(), ""))
                folder = prefix + member.name.removesuffix(".tar")
                yield from ((f"{folder}/{n}", d) for n, d in inner.items())
            else:
                name = member.name.removeprefix("snapshot/files/")
                yield prefix + re.sub("^(segments/[^/]+)/files/", r"\1/", name), content.read()


def test_shards_that_are_not_local_are_known(tmp_path: Path) -> None:
    result = laid(archive("cluster/movies-node-a"), tmp_path)
    assert [(s.shard, s.is_local) for s in result.shards] == [(0, False), (1, True), (2, True)]
    assert result.uuid == "467b4489-f8d3-4768-af67-043807732959"
    manifest, _ = backup("single")
    wrong = inspect(result, part(b"", shards=[0, 1, 2]), manifest)
    assert "holds shards (1, 2), its manifest says (0, 1, 2)" in wrong[0].message


@pytest.mark.parametrize("name", ["single/collection", "single/shard-0", "single/stream-0"])
def test_no_cut_at_a_block_passes(name: str, tmp_path: Path) -> None:
    """Every member boundary, every header, every piece of data: nested ones too."""
    data = archive(name)
    kind = "collection" if name.endswith("collection") else "shard"
    for at in range(0, len(data), 512):
        for end in (b"", END) if kind == "collection" else (b"",):
            folder = tmp_path / f"{at}-{len(end)}"
            folder.mkdir()
            manifest, _ = backup("single") if kind == "collection" else shard_backup(name)
            if end and at >= len(data) - len(END):
                continue  # nothing but zeros is gone
            result = laid(data[:at] + end, folder, kind=kind)
            assert inspect(result, manifest.parts[0], manifest), f"cut at {at}, {len(end)} zeros"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_cut_anywhere_passes(data: st.DataObject, tmp_path: Path) -> None:
    whole = archive("basic/collection")
    cut = data.draw(st.integers(0, len(whole) - 1))
    folder = tmp_path / os.urandom(8).hex()
    assert any("archive-" in f for f in faults(whole[:cut], folder, "basic"))


def test_a_cut_that_a_server_accepts(tmp_path: Path) -> None:
    """Without its last member an archive restores with all points and no payload index."""
    members = take_apart(archive("basic/collection"))
    assert members[-1].name == "payload_index.json"
    found = faults(put_together(members[:-1]), tmp_path / "x", "basic")
    assert "ends with config.json and shard_key_mapping.json" in found[0]
    assert any("has no payload_index.json" in f for f in found)


@pytest.mark.parametrize("index", range(10))
def test_no_member_may_be_missing_or_twice(index: int, tmp_path: Path) -> None:
    members = take_apart(archive("basic/collection"))
    assert len(members) == 10
    rest = members[:index] + members[index + 1 :]
    segment = "/segments/" in members[index].name
    log = "/wal/" in members[index].name
    found = faults(put_together(rest), tmp_path / "missing", "basic")
    # a lost segment is for the count, a lost log file for the operation number
    assert bool(found) != (segment or log)
    twice = [*members[:-2], members[index], *members[-2:]]
    assert faults(put_together(twice), tmp_path / "twice", "basic")


def test_all_segments_gone(tmp_path: Path) -> None:
    members = [m for m in take_apart(archive("basic/collection")) if "/segments/" not in m.name]
    assert "has no segment" in faults(put_together(members), tmp_path / "x", "basic")[0]


def test_the_whole_log_gone(tmp_path: Path) -> None:
    members = [m for m in take_apart(archive("basic/collection")) if "/wal/" not in m.name]
    found = faults(put_together(members), tmp_path / "x", "basic")
    assert "has no write-ahead log" in found[0]


def nested(edit: Callable[[list[RawMember]], list[RawMember]]) -> bytes:
    """`basic/collection` with its first segment edited."""
    members = take_apart(archive("basic/collection"))
    inner = put_together(edit(take_apart(members[0].data)), end=b"")
    return put_together([members[0].with_data(inner), *members[1:]])


@pytest.mark.parametrize("name", ["segment.json", "version.info"])
def test_a_segment_needs_its_last_members(name: str, tmp_path: Path) -> None:
    data = nested(lambda inner: [m for m in inner if not m.name.endswith(name)])
    found = faults(data, tmp_path / "x", "basic")
    assert any(f"has no {name}" in f for f in found)


def test_hostile_names_inside_a_segment(tmp_path: Path) -> None:
    evil = RawMember(header("snapshot/files/../../../evil", 4), b"evil")
    found = faults(nested(lambda inner: [evil, *inner]), tmp_path / "x", "basic")
    assert found[0].startswith("archive-hostile")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    "name", ["passwd", "0/evil.sh", "0/segments/x.tar", "0/wal/a/b", "00/x.json", "-1/x", "0/../1"]
)
def test_names_that_no_archive_has(name: str, tmp_path: Path) -> None:
    result = laid(tar((name, b"data")), tmp_path)
    assert [f.code for f in result.faults] in (["archive-invalid"], ["archive-hostile"])
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_links_are_refused(tmp_path: Path) -> None:
    data = header("0/wal/open-1", 0, b"2") + END
    assert laid(data, tmp_path).faults[0].code == "archive-hostile"


def test_a_sparse_bomb_is_refused_before_it_is_laid_out(tmp_path: Path) -> None:
    head = header("0/wal/open-1", 512, b"S", runs=[(0, 512)], apparent=1 << 62)
    result = laid(head + bytes(512) + END, tmp_path)
    assert result.faults[0].code == "archive-too-large"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_many_sparse_files_are_refused_too(tmp_path: Path) -> None:
    heads = (
        header(f"0/wal/open-{n}", 0, b"S", runs=[(1 << 34, 0)], apparent=1 << 34)
        for n in range(100)
    )
    result = laid(b"".join(heads) + END, tmp_path)
    assert result.faults[0].code == "archive-too-large"
    assert len(list(tmp_path.rglob("open-*"))) == 4


def test_an_endless_member_is_refused(tmp_path: Path) -> None:
    def blocks() -> Iterator[bytes]:
        yield header("0/wal/open-1", 1 << 62)
        while True:
            yield bytes(1 << 20)

    result = lay_out(
        blocks(), tmp_path, kind="collection", limits=Limits(1 << 20, 1 << 40, 1 << 62)
    )
    assert result.faults[0].code == "archive-too-large"


def test_a_full_disk_is_not_the_archives_fault(tmp_path: Path) -> None:
    limits = replace(ROOMY, free_disk=1000)
    with pytest.raises(StorageFull, match="1000 bytes are free"):
        lay_out([archive("single/collection")], tmp_path, kind="collection", limits=limits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vectors": {"size": 31, "distance": "Cosine"}}, "the archive's vectors"),
        ({"vectors": {"size": 32, "distance": "Dot"}}, "the archive's vectors"),
        ({"sparse_vectors": {"words": {}}}, "the archive's sparse_vectors"),
        ({"shard_number": 2}, "the archive's shard_number"),
    ],
)
def test_an_archive_of_another_collection(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    manifest, _ = backup("basic")
    info = json.loads(manifest.collection_info)
    info["config"]["params"] |= change
    found = faults(
        archive("basic/collection"), tmp_path / "x", "basic", collection_info=json.dumps(info)
    )
    assert found[0].startswith("archive-foreign")
    assert message in found[0]


def test_a_shard_archive_of_another_collection(tmp_path: Path) -> None:
    manifest, _ = shard_backup("single/shard-0")
    of = replace_part(manifest, archive("basic/shard-0"))
    result = laid(archive("basic/shard-0"), tmp_path, kind="shard")
    found = inspect(result, of, manifest)
    assert {f.code for f in found} == {"archive-foreign"}


def replace_part(manifest: Manifest, data: bytes) -> Any:
    return part(data, name=manifest.parts[0].name, kind="shard", wal=False)


def test_payload_indexes_that_were_lost(tmp_path: Path) -> None:
    members = take_apart(archive("basic/collection"))
    data = put_together([*members[:-1], members[-1].with_data(b'{"schema":{}}')])
    assert "payload indexes" in faults(data, tmp_path / "x", "basic")[0]


@pytest.mark.parametrize("junk", [b"[]", b"null", b"{", b"\xff", b'{"params":[]}', b'{"params":1}'])
@pytest.mark.parametrize("name", ["config.json", "payload_index.json", "0/replica_state.json"])
def test_metadata_that_are_junk(name: str, junk: bytes, tmp_path: Path) -> None:
    members = take_apart(archive("single/collection"))
    data = put_together(m.with_data(junk) if m.name == name else m for m in members)
    found = faults(data, tmp_path / "x")
    if name != "0/replica_state.json" or not junk.startswith(b'{"'):
        assert found


@pytest.mark.parametrize(
    ("name", "stored", "logged"),
    [("basic", 6, 6), ("busy", 209, 210), ("motion", 305, 316), ("empty", 0, 0), ("rich", 22, 22)],
)
def test_where_a_log_ends(name: str, stored: int, logged: int, tmp_path: Path) -> None:
    (shard,) = laid(archive(f"{name}/collection"), tmp_path).shards
    assert max(s.version for s in segments_of(shard).values()) == stored
    assert wal.last_operation(shard.folder / "wal") == logged


def test_a_log_without_entries(tmp_path: Path) -> None:
    (shard,) = laid(archive("basic/shard-0"), tmp_path, kind="shard").shards
    assert wal.last_operation(shard.folder / "wal") is None
