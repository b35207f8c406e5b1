"""Real processes on one vault, some of them killed: what is committed is whole, and nothing is
forgotten."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCHEDULES = 200 if os.environ.get("QDR_THOROUGH") else 3


@pytest.mark.timeout(3600 if SCHEDULES > 3 else 300)
def test_no_kill_costs_a_block_or_forgets_a_pack(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.vault_kills", str(tmp_path), "0", str(SCHEDULES)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.split()
    assert int(said[2]) >= SCHEDULES  # kills
