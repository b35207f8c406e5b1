"""A flow with `QDR_LOG=json` prints a JSON object a line, of Prefect and of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.prefect import PrefectServer
from tests.support.world import World

pytestmark = pytest.mark.prefect
ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from flows.backup import backup
state = backup(config=sys.argv[1], return_state=True)
assert state.is_completed(), state.message
"""


def test_a_backup_prints_what_each_unit_does(
    prefect_api: PrefectServer, world: Callable[..., World]
) -> None:
    made = world()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, made.reference],
        cwd=ROOT, capture_output=True, text=True, timeout=150, check=False,
        env={**os.environ, **prefect_api.env, "PYTHONPATH": str(ROOT), "QDR_LOG": "json",
             "PREFECT_LOGGING_EXTRA_LOGGERS": "qdrant_dr,tasks,flows"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("{"))
    # before the flow has begun, Prefect has printed that it began
    told = [json.loads(line) for line in lines[first:]]
    units = [t for t in told if t.get("event") in ("unit-began", "unit-ended")]
    (run_id,) = {t["run_id"] for t in told if "run_id" in t}
    assert {t["run_id"] for t in units} == {run_id}
    ended = {(t["unit"], t["collection"]) for t in units if t["event"] == "unit-ended"}
    assert {("capture", "movies"), ("capture", "users"), ("verify", "movies")} <= ended
    assert all(t["repository"] in ("one", "two") for t in units if t["unit"] == "verify")
    (end,) = [t for t in told if t.get("event") == "run-ended"]
    assert end["verdict"] == "ok"
    assert any(t["logger"].startswith("prefect") for t in told)
