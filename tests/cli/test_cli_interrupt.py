"""SIGINT and SIGTERM in the middle of a backup: 130, an end record, nothing half-written listed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.replay import ReplaySource
from tests.support.world import make_world

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_backup_that_is_told_to_stop(number: int, tmp_path: Path) -> None:
    with ReplaySource(["basic"]) as source:
        source.faults.seconds_per_block = 0.2
        world = make_world(tmp_path, source.url)
        with subprocess.Popen(
            [sys.executable, "-m", "qdrant_dr.cli", "backup", "-c", world.reference, "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        ) as process:  # fmt: skip
            try:
                deadline = time.monotonic() + 60
                while not any("snapshots/" in line for line in source.log):
                    assert time.monotonic() < deadline, source.log
                    assert process.poll() is None
                    time.sleep(0.05)
                time.sleep(0.3)
                process.send_signal(number)
                out, err = process.communicate(timeout=30)
            finally:
                process.kill()
    assert process.returncode == 130, err
    body = json.loads(out)
    assert body["verdict"] == "failed"
    assert "interrupted" in {e["code"] for e in body["errors"]}
    assert "Traceback" not in err
    for name in world.folders:
        assert world.manifests(name) == []
        (end,) = world.ends(name)
        assert (end.start.run_id, end.verdict) == (body["run_id"], "failed")
        assert end.error is not None
        assert end.error.code == "interrupted"
        assert not list(world.parts(name))
    assert not list((tmp_path / "spool").glob("qdr-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_check_that_is_told_to_stop_leaves_no_probe(number: int, tmp_path: Path) -> None:
    with ReplaySource(["basic"]) as source:
        world = make_world(tmp_path, source.url)
        with subprocess.Popen(
            [sys.executable, "-m", "qdrant_dr.cli", "check", "-c", world.reference, "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        ) as process:  # fmt: skip
            try:
                deadline = time.monotonic() + 60
                while not any(f for d in world.folders.values() for f in d.glob("probes/*/*")):
                    assert time.monotonic() < deadline
                    assert process.poll() is None
                    time.sleep(0.01)
                process.send_signal(number)
                out, err = process.communicate(timeout=60)
            finally:
                process.kill()
    assert process.returncode == 130, err
    assert [e["code"] for e in json.loads(out)["errors"]] == ["interrupted"]
    assert "Traceback" not in err
    for name, folder in world.folders.items():
        assert not list(folder.glob("probes/**/*"))
        (end,) = world.ends(name)
        assert end.error is not None
        assert end.error.code == "interrupted"
    assert not list(tmp_path.rglob("*qdr-probe*"))
