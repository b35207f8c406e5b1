"""The command line never speaks to a Prefect server, whatever profile the user has."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.poison import poisoned, trap
from tests.support.world import World

ROOT = Path(__file__).parents[2]


def test_the_trap_catches_a_call_to_prefect(tmp_path: Path) -> None:
    with trap() as (api, caught):
        command = [sys.executable, "-m", "prefect", "flow", "ls"]
        env = {
            **poisoned(tmp_path, api),
            "PREFECT_HOME": str(tmp_path),
            "PREFECT_CLIENT_MAX_RETRIES": "0",
        }
        done = subprocess.run(command, env=env, capture_output=True, timeout=60, check=False)
    assert done.returncode != 0
    assert caught, "a test that cannot fail proves nothing"


def test_the_command_line_sends_nothing(world: Callable[..., World], tmp_path: Path) -> None:
    made = world()
    with trap() as (api, caught):
        for arguments in (["backup"], ["list"]):
            done = subprocess.run(
                [sys.executable, "-m", "qdrant_dr.cli", "-c", made.reference, *arguments],
                cwd=ROOT, env=poisoned(tmp_path, api), capture_output=True, text=True,
                timeout=90, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert "movies" in done.stdout
    assert caught == []
    assert made.manifests("one")
