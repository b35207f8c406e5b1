"""Each benchmark of the transport runs on a tiny size, and prints both sides and a ratio."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import fanout, vault
from tests.support.thorough import thorough

ROOT = Path(__file__).parents[2]


def run(name: str, folder: Path, *, within: float = 120, **settings: int) -> str:
    """What one benchmark prints; it must leave nothing behind in its temporary folder."""
    environment = {**os.environ, "TMPDIR": str(folder), "BENCH_ROUNDS": "1"}
    environment |= {f"BENCH_{key.upper()}": str(value) for key, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=within, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.match(r"machine: \d+ cores .*Python 3", done.stdout)
    assert not list(folder.glob("qdr-bench-*"))
    return done.stdout


def medians(said: str, unit: str) -> list[float]:
    """The medians that were printed with this unit."""
    return [float(n) for n in re.findall(rf"(\d+\.\d\d) {unit}   runs:", said)]


@thorough
def test_fanout_prints_ours_and_both_ways_of_rclone(tmp_path: Path) -> None:
    said = run("fanout", tmp_path, mib=9)
    print(said)
    if shutil.which("rclone") is None:
        assert "fanout: skipped: there is no rclone in PATH" in said
        assert len(medians(said, "s")) == 1
        pytest.skip("there is no rclone in PATH: ours was measured, the ratio was not")
    ours, at_once, _ = medians(said, "s")
    line = r"^fanout: .* at once: ratio (\S+), aim <= 1\.00: (met|MISSED)$"
    ratio = re.search(line, said, re.MULTILINE)
    assert ratio is not None
    assert float(ratio[1]) == pytest.approx(ours / at_once, rel=0.05)
    ours, at_once, _ = medians(said, "s/GiB")
    assert ours < at_once
    line = r"^fanout: CPU seconds per GiB, .*: ratio \S+, aim <= 1\.50: met$"
    assert re.search(line, said, re.MULTILINE)


@thorough
def test_vault_prints_both_nights_and_restores_beside_restic(tmp_path: Path) -> None:
    said = run("vault", tmp_path, points=300, memory_mib=3)
    print(said)
    assert re.search(r"^  all of them +\d+ MiB/s .* holds it back: \w+", said, re.MULTILINE)
    assert re.search(r"^vault: memory .* 3 MiB: \d+ MiB, .*: met$", said, re.MULTILINE)
    assert re.search(r"^vault: fan-out .*: ratio \S+, aim <= 1\.50: ", said, re.MULTILINE)
    if "vault: skipped: there is no restic" in said:
        pytest.skip("there is no restic in PATH: ours was measured, the ratios were not")
    ratios = re.findall(r"^vault: (\w+)(?: backup)?, (\w+), to restic.*: ratio", said, re.MULTILINE)
    assert sorted(set(ratios)) == [
        (what, kind) for what in ("first", "restore", "second") for kind in ("clear", "encrypted")
    ]
    assert len(ratios) == 10


def test_without_restic_only_the_fan_out_has_a_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    vault._print({"fan-out, plain": [2.0, 1.0], "fan-out, three": [3.0]}, with_restic=False)
    said = capsys.readouterr().out
    assert re.findall(r"ratio (\S+), aim", said) == ["2.00"]
    assert "vault: skipped: there is no restic >= 0.14 in PATH" in said


@thorough
def test_memory_of_content_measures_each_command_and_kind(tmp_path: Path) -> None:
    said = run("memory_of_content", tmp_path, points=40)
    assert re.findall(r"^  (\w+), \d+ points: (\w+)", said, re.MULTILINE) == [
        (kind, command) for kind in ("dense", "rows") for command in ("backup", "verify", "restore")
    ]
    assert re.search(
        r"^memory-of-content: at most \d+ MiB, aim <= 600 MiB: met$", said, re.MULTILINE
    )


@thorough
def test_diff_measures_both_sides_and_its_memory(tmp_path: Path) -> None:
    said = run("diff", tmp_path, points=400)
    assert re.search(r"^diff: 400 x \d+-d, ratio \d+\.\d\d, aim <= 1.3: ", said, re.MULTILINE)
    assert re.search(r"^diff: at most \d+ MiB, aim <= 600 MiB: met$", said, re.MULTILINE)


def test_without_rclone_there_is_no_ratio_and_it_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours = {"ours, three at once": [1.5, 1.0, 2.0]}
    fanout._print(ours, ours, 512 << 20)
    said = capsys.readouterr().out
    assert medians(said, "s") == medians(said, "s/GiB") == [1.5]
    assert "fanout: skipped: there is no rclone in PATH, so there is no ratio" in said


@thorough
def test_memory_prints_both_peaks_and_their_ratio(tmp_path: Path) -> None:
    said = run("memory", tmp_path, small_mib=1, large_mib=9)
    small, large = medians(said, "MiB")
    assert 20 < small < 400
    ratio = re.search(r"^memory: large to small: ratio (\S+), aim <= 1\.10: ", said, re.MULTILINE)
    assert ratio is not None
    assert float(ratio[1]) == pytest.approx(large / small, abs=0.01)
    assert re.search(r"^memory: at most \d+ MiB, aim <= 400 MiB: met$", said, re.MULTILINE)


@thorough
def test_detection_prints_a_share_for_every_depth(tmp_path: Path) -> None:
    said = run("detection", tmp_path, mutants=7)
    head = next(line for line in said.splitlines() if "structure" in line)
    assert head.split()[1:] == [
        "bytes", "structure", "load", "before", "content", "search", "deep",
    ]  # fmt: skip
    (whole,) = [line.split() for line in said.splitlines() if line.startswith("  all ")]
    assert whole[1:3] == ["7", "100%"], "SHA-256 catches all"
    assert "caught by search and no depth before" in said
    assert ("restore: not measured" in said) == ("QDRANT_BIN" not in os.environ)


@thorough
def test_reframe_prints_both_rates_and_their_ratio(tmp_path: Path) -> None:
    said = run("reframe", tmp_path, mib=9)
    cat, ours, as_it_is = medians(said, "GB/s")
    ratio = re.search(r"^reframe: ours to cat: ratio (\S+), aim >= 0\.70: ", said, re.MULTILINE)
    assert ratio is not None
    assert float(ratio[1]) == pytest.approx(ours / cat, abs=0.05)
    alone = re.search(r"^reframe: .* without re-framing: ratio (\S+)$", said, re.MULTILINE)
    assert alone is not None
    assert float(alone[1]) == pytest.approx(ours / as_it_is, abs=0.05)


@thorough
def test_cover_stores_half_of_one_snapshot_per_node(tmp_path: Path) -> None:
    said = run("cover", tmp_path)
    ratio = re.search(r"^cover: .* ratio (\S+), aim <= 0\.55: met$", said, re.MULTILINE)
    assert ratio is not None
    assert float(ratio[1]) == pytest.approx(0.5, abs=0.05)
    assert "from 2 of 3 nodes" in said


@thorough
def test_restore_prints_ours_and_curls(tmp_path: Path) -> None:
    said = run("restore", tmp_path, points=200)
    print(said)
    if shutil.which("curl") is None:
        assert "restore: skipped: there is no curl in PATH" in said
        pytest.skip("there is no curl in PATH: ours was measured, the ratio was not")
    ours, peer = medians(said, "s")
    ratio = re.search(r"^restore: .* ratio (\S+), aim <= 1\.15: ", said, re.MULTILINE)
    assert ratio is not None
    assert float(ratio[1]) == pytest.approx(ours / peer, abs=0.5)  # tenths of seconds, rounded
    if "QDRANT_BIN" not in os.environ:
        assert "this ratio means nothing" in said


@thorough
def test_no_byte_of_an_archive_that_the_server_fetches_passes_through_us(tmp_path: Path) -> None:
    said = run("recover_url", tmp_path, points=200)
    assert "recover-url: 0 bytes of the archive through our process, aim 0: met" in said
    assert re.search(r"fetched by the server itself +[1-9]", said)


@thorough
def test_catalog_prints_both_readings_and_what_rclone_needs(tmp_path: Path) -> None:
    said = run("catalog", tmp_path, backups=40, collections=4)
    assert re.search(
        r"^catalog: memory of a backup, .*: ratio \S+, aim <= 1\.10: ", said, re.MULTILINE
    )
    if shutil.which("rclone") is None:
        assert "catalog: skipped: there is no rclone in PATH" in said
        assert len(medians(said, "s")) == 2
        pytest.skip("there is no rclone in PATH: ours was measured, the ratio was not")
    _, again, names, _ = medians(said, "s")
    ratio = re.search(
        r"^catalog: again, to rclone lsf: ratio (\S+), aim <= 2\.00: ", said, re.MULTILINE
    )
    assert ratio is not None
    assert float(ratio[1]) == pytest.approx(again / names, rel=0.05)


@thorough
def test_status_prints_every_way_to_start(tmp_path: Path) -> None:
    said = run("status", tmp_path, backups=8, collections=4)
    figures = medians(said, "s")
    assert len(figures) == 8  # by the clock and of a processor
    assert all(0 < figure < 60 for figure in figures)
    for name in ("in a folder", "on S3, again"):
        assert re.search(rf"^status: {name}, to two seconds: ratio \S+, aim", said, re.MULTILINE)


@thorough
@pytest.mark.timeout(400)
def test_orchestration_prints_the_cost_of_a_unit_and_what_dask_gains(tmp_path: Path) -> None:
    said = run("orchestration", tmp_path, within=360, collections=3)
    library, flow, threads, dask = medians(said, "s")
    extra = re.search(
        r"^orchestration: extra a unit: (-?\d+) ms, aim <= 60 ms: ", said, re.MULTILINE
    )
    assert extra is not None
    assert float(extra[1]) == pytest.approx((flow - library) / 9 * 1000, abs=5)
    ratio = re.search(
        r"^orchestration: two Dask .*: ratio (\S+), aim <= 0\.60: ", said, re.MULTILINE
    )
    assert ratio is not None
    assert float(ratio[1]) == pytest.approx(dask / threads, abs=0.02)
