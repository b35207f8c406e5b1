"""Looked and found, or could not look: two things, of every error and of every death."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from qdrant_dr import errors
from qdrant_dr.errors import (
    BytesDiffer,
    CountDiffers,
    DRError,
    EngineCrashed,
    EngineFailed,
    EngineHindered,
    EngineStalled,
    NothingChecked,
    RepositoryUnreachable,
    StorageFull,
)
from qdrant_dr.proof import EngineLimits, ProofLimits, prove
from qdrant_dr.proof.crash_cause import death, failure, refusal
from qdrant_dr.proof.findings import finding, findings
from tests.support.archives import backup


def _all(kind: type[DRError]) -> Iterator[type[DRError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _all(below)


def test_every_error_says_whether_it_blames_a_copy() -> None:
    """The tree in the docstring is the list: a new error is put there, and marked or not."""
    lines = re.findall(r"^\s+([*+!-]) (\w+)", errors.__doc__ or "", re.MULTILINE)
    listed = {name: mark for mark, name in lines}
    ours = {e for e in _all(DRError) if e.__module__.startswith("qdrant_dr.errors.")}
    assert {e.__name__ for e in ours} == listed.keys()
    assert {e.__name__ for e in ours if e.blames_copy} == {n for n, m in listed.items() if m == "!"}
    assert not any(e.blames_copy and e.transient for e in ours)


@pytest.mark.parametrize("kind", sorted(_all(DRError), key=lambda e: e.__name__))
def test_of_what_kept_us_from_looking_there_is_no_finding(kind: type[DRError]) -> None:
    error = kind("so it is")
    if kind.blames_copy:
        assert finding(error, "shard-0").code == kind.code
        assert [f.code for f in findings([NothingChecked("?"), error])] == [kind.code]
    else:
        with pytest.raises(kind):
            finding(error)
        with pytest.raises(kind):
            findings([error, RepositoryUnreachable("and more")])
        assert [f.code for f in findings([error, BytesDiffer("bad")])] == ["bytes-differ"]
    assert findings([]) == ()


PANIC = "thread '<unnamed>' panicked at lib/segment/x.rs:7: index out of bounds"


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        (-signal.SIGKILL, "", EngineHindered),
        (-signal.SIGTERM, "", EngineHindered),
        (-signal.SIGXFSZ, "", EngineHindered),
        (-signal.SIGSEGV, "", EngineCrashed),
        (-signal.SIGBUS, "", EngineCrashed),
        (-signal.SIGABRT, "free(): invalid pointer", EngineCrashed),
        (-signal.SIGABRT, "memory allocation of 99 bytes failed", EngineHindered),
        (-signal.SIGABRT, PANIC, EngineFailed),
        (1, PANIC + "\npyo3_runtime.PanicException: index out of bounds", EngineFailed),
        (1, PANIC + ": Os { code: 28, kind: StorageFull }", StorageFull),
        (1, PANIC + ": failed to spawn thread (os error 11)", EngineHindered),
        (1, "MemoryError", EngineHindered),
        (1, "ModuleNotFoundError: No module named 'qdrant_edge'", EngineHindered),
        (0, "", EngineHindered),
    ],
)
def test_what_an_end_means(code: int, said: str, kind: type[DRError], tmp_path: Path) -> None:
    assert type(death(code, said, tmp_path)) is kind
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Exception: failed to load segment", EngineFailed),
        ("Exception: No such file or directory (os error 2)", EngineFailed),
        ("OSError: [Errno 28] No space left on device", StorageFull),
        ("Exception: Disk quota exceeded (os error 122)", StorageFull),
        ("Exception: Too many open files (os error 24)", EngineHindered),
        ("PermissionError: [Errno 13] Permission denied: 'wal'", EngineHindered),
        ("Exception: Input/output error (os error 5)", EngineHindered),
        ("Exception: Cannot allocate memory (os error 12)", EngineHindered),
    ],
)
def test_what_an_answer_means(said: str, kind: type[DRError], tmp_path: Path) -> None:
    assert type(failure(said, tmp_path)) is kind


def test_a_crash_where_nothing_can_be_written_is_the_disks() -> None:
    assert type(death(-signal.SIGBUS, "", Path("/proc/nowhere"))) is StorageFull


def test_a_limit_of_file_sizes_counts_like_a_full_disk(tmp_path: Path) -> None:
    program = (
        "import signal, sys; from pathlib import Path; "
        "from qdrant_dr.proof.crash_cause import refusal; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); print(refusal(Path(sys.argv[1])))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )  # fmt: skip
    assert said.stdout.strip() == "File too large"
    assert refusal(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(params=[1600, 2000, 2400, 3000, 5000])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A disk of so many KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}k", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_fills_up_is_no_finding(small: Path) -> None:
    """Laying out, opening (pages of mapped files: SIGBUS), copying, reading: wherever it ends."""
    manifest, reader = backup("basic")
    with suppress(StorageFull):
        result = prove(manifest, reader, depth="content", folder=small)
        assert (result.findings, result.passed) == ((), True)
    assert list(small.iterdir()) == []


def test_more_memory_than_is_allowed_is_no_finding(tmp_path: Path) -> None:
    manifest, reader = backup("basic")
    limits = ProofLimits(engine=EngineLimits(memory_bytes=1 << 20))
    with pytest.raises(EngineHindered) as hindered:
        prove(manifest, reader, depth="load", folder=tmp_path, limits=limits)
    assert not isinstance(hindered.value, CountDiffers | EngineStalled)
