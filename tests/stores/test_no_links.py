"""Disks without hard links: a rename that refuses an existing name takes their place."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qdrant_dr.disk import NoSuchRename, rename_new
from tests.support.refused_calls import can_refuse
from tests.support.thorough import thorough

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not can_refuse(), reason="needs Linux on x86_64 or aarch64")

HEAD = """
import sys
from pathlib import Path
from tests.support.refused_calls import refuse
refuse(**{0!r})
"""
TRY = """
import os, threading
from concurrent.futures import ThreadPoolExecutor
from qdrant_dr.errors import Conflict, StoreOverwrites
from qdrant_dr.stores.base import fill
from qdrant_dr.stores.local import LocalStore
store = LocalStore("disk", Path(sys.argv[1]))
one = Path(sys.argv[1]) / "one"
one.write_bytes(b"")
try:
    os.link(one, one.with_name("two"))
    one.with_name("two").unlink()
except OSError:
    print("no links")
one.unlink()
try:
    store.create("a/b.json", b"first")
except StoreOverwrites as e:
    print("refused:", e.message, "|", e.hint)
    sys.exit()
store.create("a/b.json", b"first")
for other in (lambda: store.create("a/b.json", b"second"),
              lambda: fill(store.sink("a/b.json"), [b"second"])):
    try:
        other()
    except Conflict:
        print("conflict")
late = store.sink("a/late.snapshot")
late.write(b"late")
store.create("a/late.snapshot", b"early")
try:
    late.commit()
except Conflict:
    late.abort()
    print("conflict")
def won(turn, data, start):
    start.wait()
    try:
        store.create(f"race-{turn}.json", data)
    except Conflict:
        return False
    return True
with ThreadPoolExecutor(8) as pool:
    for turn in range(20):
        start = threading.Barrier(8)
        asked = [pool.submit(won, turn, b"%d" % n, start) for n in range(8)]
        found = [a.result() for a in asked]
        assert found.count(True) == 1, found
        assert store.read(f"race-{turn}.json") == b"%d" % found.index(True)
assert store.read("a/b.json") == b"first" and store.read("a/late.snapshot") == b"early"
assert store.open_uploads("") == [], "no temporary file is left"
print("done")
"""


def child(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_without_links_the_name_is_taken_by_a_rename_that_refuses(
    tmp_path: Path, number: int
) -> None:
    said = child(HEAD.format({"link": number, "linkat": number}) + TRY, str(tmp_path)).split("\n")
    assert said.count("conflict") == 3
    assert "no links" in said
    assert "done" in said


def test_with_neither_the_message_says_so_and_nothing_is_written(tmp_path: Path) -> None:
    refused = {"link": errno.EPERM, "linkat": errno.EPERM, "renameat2": errno.EINVAL}
    said = child(HEAD.format(refused) + TRY, str(tmp_path))
    assert "neither hard links nor a rename that refuses an existing name" in said
    assert str(tmp_path) in said
    assert "use another file system" in said
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@thorough
def test_the_whole_contract_holds_without_links() -> None:
    run = "import pytest; sys.exit(pytest.main(['-q', '-n', '0', '-p', 'no:cacheprovider', 'tests/contract/test_store.py', '-k', 'file']))"  # noqa: E501
    said = child(HEAD.format({"link": errno.EPERM, "linkat": errno.EPERM}) + run)
    assert " passed" in said


# what can be mounted here


@pytest.fixture(params=["tmpfs", "vfat", "exfat"])
def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of this kind, if this machine has it and lets us mount."""
    kind, where = request.param, tmp_path / "disk"
    where.mkdir()
    source, options = kind, ["-t", kind]
    if kind != "tmpfs":
        if (make := shutil.which(f"mkfs.{kind}")) is None:
            pytest.skip(f"mkfs.{kind} is not installed")
        image = tmp_path / "image"
        image.write_bytes(b"")
        os.truncate(image, 64 * 2**20)
        subprocess.run([make, str(image)], check=True, capture_output=True)
        source, options = str(image), ["-t", kind, "-o", "loop"]
    done = subprocess.run(
        ["mount", *options, source, str(where)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"{kind} cannot be mounted here: {done.stderr.strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", str(where)], check=False)


def test_a_disk_that_can_be_mounted_here_keeps_what_was_written(mounted: Path) -> None:
    said = child("import sys\nfrom pathlib import Path\n" + TRY, str(mounted)).split("\n")
    assert said.count("conflict") == 3
    assert "done" in said


# the rename itself


def test_of_many_renames_to_one_name_one_wins(tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def take(number: int) -> bool:
        old = tmp_path / f"old-{number}"
        old.write_bytes(b"%d" % number)
        start.wait(10)
        try:
            rename_new(old, tmp_path / "new")
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(take, range(8)))
    assert won.count(True) == 1
    assert (tmp_path / "new").read_bytes() == b"%d" % won.index(True)
    with pytest.raises(FileNotFoundError):
        rename_new(tmp_path / "gone", tmp_path / "other")


def test_a_system_without_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdrant_dr.disk.ctypes.CDLL", lambda *_, **__: object())
    with pytest.raises(NoSuchRename):
        rename_new(tmp_path / "a", tmp_path / "b")


ARCHIVE = """
from qdrant_dr.errors import PlanRefused
from qdrant_dr.jobs.run.new_file import new_file
path = Path(sys.argv[1]) / "out.snapshot"
try:
    with new_file(path, 3) as out:
        out.write(b"all")
except PlanRefused as e:
    print(e.message)
print([p.name for p in path.parent.iterdir()])
"""


@pytest.mark.parametrize("rename", [True, False])
def test_a_startup_archive_can_be_written_to_such_a_disk(tmp_path: Path, rename: bool) -> None:
    refused = {"link": errno.EPERM, "linkat": errno.EPERM}
    if not rename:
        refused["renameat2"] = errno.EINVAL
    said = child(HEAD.format(refused) + ARCHIVE, str(tmp_path))
    assert ("nothing was written" in said) == (not rename)
    assert ("['out.snapshot']" in said) == rename
    assert ("[]" in said) == (not rename)
