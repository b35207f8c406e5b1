"""Each benchmark of the transport runs on a tiny size, and prints both sides and a ratio."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import fanout

ROOT = Path(__file__).parents[2]


def run(name: str, folder: Path, **settings: int) -> str:
    """What one benchmark prints; it must leave nothing behind in its temporary folder."""
    environment = {**os.environ, "TMPDIR": str(folder), "BENCH_ROUNDS": "1"}
    environment |= {f"BENCH_{key.upper()}": str(value) for key, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.match(r"machine: \d+ cores .*Python 3", done.stdout)
    assert not list(folder.glob("qdr-bench-*"))
    return done.stdout


def medians(said: str, unit: str) -> list[float]:
    """The medians that were printed with this unit."""
    return [float(n) for n in re.findall(rf"(\d+\.\d\d) {unit}   runs:", said)]


def test_fanout_prints_ours_and_both_ways_of_rclone(tmp_path: Path) -> None:
    said = run("fanout", tmp_path, mib=9)
    print(said)
    if shutil.which("rclone") is None:
        assert "fanout: skipped: there is no rclone in PATH" in said
        assert len(medians(said, "s")) == 1
        pytest.skip("there is no rclone in PATH: ours was measured, the ratio was not")
    ours, at_once, _ = medians(said, "s")
    line = r"^fanout: .* at once: ratio (\S+), aim <= 1\.10: (met|MISSED)$"
    ratio = re.search(line, said, re.MULTILINE)
    assert ratio is not None
    assert float(ratio[1]) == pytest.approx(ours / at_once, rel=0.05)


def test_without_rclone_there_is_no_ratio_and_it_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fanout._print({"ours, three at once": [1.5, 1.0, 2.0]}, 512 << 20)
    said = capsys.readouterr().out
    assert medians(said, "s") == [1.5]
    assert "fanout: skipped: there is no rclone in PATH, so there is no ratio" in said


def test_memory_prints_both_peaks_and_their_ratio(tmp_path: Path) -> None:
    said = run("memory", tmp_path, small_mib=1, large_mib=9)
    small, large = medians(said, "MiB")
    assert 20 < small < 400
    ratio = re.search(r"^memory: large to small: ratio (\S+), aim <= 1\.10: ", said, re.MULTILINE)
    assert ratio is not None
    assert float(ratio[1]) == pytest.approx(large / small, abs=0.01)
    assert re.search(r"^memory: at most \d+ MiB, aim <= 400 MiB: met$", said, re.MULTILINE)
