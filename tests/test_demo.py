"""`make demo` keeps its promise, for anybody, and never meets the user's Prefect."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.test_poisoned_profile import poisoned, trap
from tests.support.replay import ReplaySource

ROOT = Path(__file__).parents[1]


def demo(home: Path, env: dict[str, str], **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deployments.demo"],
        cwd=ROOT,
        env={**env, "DEMO_HOME": str(home), "DEMO_POINTS": "200", **settings},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


@pytest.mark.prefect
@pytest.mark.timeout(420)
def test_all_is_as_promised_and_nothing_of_the_user_is_touched(tmp_path: Path) -> None:
    with trap() as (api, caught):
        done = demo(tmp_path / "demo", poisoned(tmp_path, api))
    assert done.returncode == 0, done.stdout + done.stderr
    assert caught == []
    assert "all as promised" in done.stdout
    assert done.stdout.count("as promised") == 10  # nine acts and the last line
    assert "alias live-movies leads to restored-under-another-name" in done.stdout
    assert done.stdout.count("bytes-differ") >= 1
    assert "healed from" in done.stdout
    (page,) = (tmp_path / "demo" / "report").rglob("report.html")
    assert "not a Qdrant server" in page.read_text()
    assert done.stderr == ""


def test_a_server_that_is_too_large_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with ReplaySource(["basic"]) as source:
        source.collections["movies"].memory = {"total": {"disk_bytes": 5 * 2**30}}
        done = demo(tmp_path / "demo", dict(os.environ), QDRANT_URL=source.url, DEMO_MAX="2GiB")
        assert source.snapshots("movies") == ()
        assert not any(line.startswith(("POST /collections/movies/snap", "PUT", "DELETE"))
                       for line in source.log)  # fmt: skip
    assert done.returncode == 1
    assert "the demo stops at 2.00 GiB" in done.stderr
    assert "movies: at most 5." in done.stdout
