"""A full snapshot is taken apart in passing, and believed only when its last member agrees."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr.cluster.full_snapshot import FullArchive
from qdrant_dr.errors import ArchiveError, ArchiveInvalid, ArchiveTruncated
from tests.support.archives import FIXTURES, file_member, header, tar
from tests.support.replay import expected

STAMP = "4368523253213349-2026-11-22-10-39-25.snapshot"


def split(data: bytes, block: int = 10_007) -> tuple[FullArchive, dict[str, bytes]]:
    archive = FullArchive((data[at : at + block] for at in range(0, len(data), block)), "full")
    return archive, {m.collection: b"".join(m.blocks) for m in archive.members()}


def config(files: Mapping[str, str], **aliases: str) -> bytes:
    return json.dumps({"collections_mapping": files, "collections_aliases": aliases}).encode()


def full(*names: str, **more: Any) -> bytes:
    files = {n: f"{n}-{STAMP}" for n in names}
    return tar(*((f, f"data of {n}".encode()) for n, f in files.items()),
               ("config.json", config(files, **more)))  # fmt: skip


def test_a_real_one_gives_every_collection_and_alias() -> None:
    data = (FIXTURES / "full" / "full.snapshot").read_bytes()
    archive, found = split(data)
    assert sorted(found) == sorted(expected()["sets"]["full"]["collections"])
    assert archive.aliases == {"live-movies": "movies"}
    with tarfile.open(fileobj=io.BytesIO(data)) as whole:
        for name, file in archive.files.items():
            member = whole.extractfile(file)
            assert member is not None
            assert hashlib.sha256(member.read()).digest() == hashlib.sha256(found[name]).digest()


def test_names_that_look_like_each_other_are_told_apart() -> None:
    names = ("a", "a-4368523253213349", "a-4368523253213349-2026-11-22-10-39-25.snapshot", "ü b")
    _, found = split(full(*names))
    assert found == {n: f"data of {n}".encode() for n in names}


def test_a_long_name_is_whole() -> None:
    _, found = split(_with_python({"x" * 160: b"long"}))
    assert found == {"x" * 160: b"long"}


def _with_python(contents: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    files = {n: f"{n}-{STAMP}" for n in contents}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in [*((files[n], d) for n, d in contents.items()),
                           ("config.json", config(files))]:  # fmt: skip
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def test_holes_come_back_as_the_zeros_they_were(tmp_path: Path) -> None:
    file = tmp_path / "sparse"
    with file.open("wb") as out:
        out.write(b"head")
        out.seek(3 << 20)
        out.write(b"tail")
        out.truncate(5 << 20)
    files = {"movies": f"movies-{STAMP}"}
    data = file_member(file, files["movies"]) + tar(("config.json", config(files)))
    assert len(data) < 1 << 20
    _, found = split(data)
    assert found["movies"] == file.read_bytes()


def test_every_cut_is_noticed() -> None:
    data = full("movies", "users")
    for end in range(0, len(data) - 1024 - 512, 512):
        with pytest.raises(ArchiveError):
            split(data[:end])
    with pytest.raises(ArchiveTruncated):
        split(data[:-512])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tar((f"movies-{STAMP}", b"x")), "no config.json"),
        (tar((f"movies-{STAMP}", b"x"), ("config.json", b"{}")), "cannot be read"),
        (tar((f"movies-{STAMP}", b"x"), ("config.json", config({}))), "does not match the files"),
        (
            tar((f"movies-{STAMP}", b"x"), ("config.json", config({"users": f"movies-{STAMP}"}))),
            "does not match the files",
        ),
        (tar(("config.json", config({})), (f"movies-{STAMP}", b"x")), "after config.json"),
        (tar(("stranger", b"x")), "no snapshot"),
    ],
)
def test_what_does_not_agree_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ArchiveInvalid, match=words):
        split(data)


def test_a_collection_that_is_not_wanted_passes_by() -> None:
    data = full("movies", "users")
    archive = FullArchive(iter([data]), "full")
    read: dict[str, bytes] = {}
    for member in archive.members():
        if member.collection == "users":
            read[member.collection] = b"".join(member.blocks)
    assert read == {"users": b"data of users"}
    assert set(archive.files) == {"movies", "users"}


def test_memory_does_not_grow_with_the_archive() -> None:
    files = {"big": f"big-{STAMP}"}
    size = 64 << 20

    def blocks() -> Iterator[bytes]:
        yield header(files["big"], size)
        for _ in range(64):
            yield bytes(1 << 20)
        yield tar(("config.json", config(files)))

    (member,) = list(_sizes(FullArchive(blocks(), "full")))
    assert member == (size, 1 << 20)


def _sizes(archive: FullArchive) -> Iterator[tuple[int, int]]:
    for member in archive.members():
        lengths = [len(b) for b in member.blocks]
        yield sum(lengths), max(lengths)
