"""Sparse members: what is written is what other readers of tar give back."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from qdrant_dr.sandbox.tar import TarWriter

BLOCK = 4096


def sparse_file(path: Path, extents: int, *, tail: int) -> bytes:
    """`extents` blocks of data, each after a hole, then a hole of `tail` bytes."""
    with path.open("wb") as out:
        for number in range(extents):
            out.seek((2 * number + 1) * BLOCK)
            out.write(bytes([number % 255 + 1]) * BLOCK)
        out.truncate(2 * extents * BLOCK + tail)
        os.fsync(out.fileno())
    return path.read_bytes()


@pytest.mark.parametrize("tail", [0, 1, 700, 10 * BLOCK])
@pytest.mark.parametrize("extents", [0, 1, 3, 4, 5, 24, 25, 26, 60])
def test_python_and_gnu_tar_read_it(tmp_path: Path, extents: int, tail: int) -> None:
    content = sparse_file(tmp_path / "source", extents, tail=tail)
    name = f"{'deep/' * 30}file" if extents == 5 else "file"  # a name beyond the header's 100 bytes
    raw = io.BytesIO()
    writer = TarWriter(raw)
    writer.add_file(name, tmp_path / "source")
    writer.add_bytes("after", b"x" * 513)
    writer.close()

    stored = len(raw.getvalue()) - 3 * 512 - 1024
    assert stored <= extents * BLOCK + 4096, "holes were written out"
    with tarfile.open(fileobj=io.BytesIO(raw.getvalue())) as tar:
        assert tar.getnames() == [name, "after"]
        assert tar.extractfile(name).read() == content  # type: ignore[union-attr]
    subprocess.run(["tar", "xf", "-"], input=raw.getvalue(), cwd=tmp_path, check=True, timeout=30)
    assert (tmp_path / name).read_bytes() == content
    assert (tmp_path / "after").read_bytes() == b"x" * 513


def test_a_nested_archive_is_one_plain_member(tmp_path: Path) -> None:
    folder = tmp_path / "segment"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a").write_bytes(b"a")
    content = sparse_file(folder / "b", 2, tail=5)
    raw = io.BytesIO()
    writer = TarWriter(raw)
    writer.add_nested("0/segments/x.tar", "snapshot/files/", folder)
    writer.add_bytes("last", b"")
    writer.close()
    with tarfile.open(fileobj=io.BytesIO(raw.getvalue())) as tar:
        assert tar.getnames() == ["0/segments/x.tar", "last"]
        nested = tar.extractfile("0/segments/x.tar").read()  # type: ignore[union-attr]
    assert nested.endswith(bytes(1024))
    with tarfile.open(fileobj=io.BytesIO(nested)) as tar:
        assert tar.getnames() == ["snapshot/files/b", "snapshot/files/inner/a"]
        assert tar.extractfile("snapshot/files/b").read() == content  # type: ignore[union-attr]
