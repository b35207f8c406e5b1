"""A run whose worker is gone has nobody to print to, and goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.prefect import QUIET

ROOT = Path(__file__).parents[2]

PROGRAM = """
import logging, os, sys
from pathlib import Path
from prefect.logging.configuration import setup_logging
from tasks.console import outlive_the_worker
for whose in "ours", "prefect's own":
    if not (child := os.fork()):
        setup_logging()
        if whose == "ours":
            outlive_the_worker()
        log = logging.getLogger("prefect.engine")
        for _ in range(3):
            log.error("nobody reads this")
        Path(sys.argv[1], whose).write_text("to the end")
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_a_broken_pipe_ends_nothing(tmp_path: Path) -> None:
    """With Prefect's own handlers it would. One process imports Prefect for both, which is what
    takes long."""
    (ended := tmp_path / "ended").mkdir()
    reader, writer = os.pipe()
    os.close(reader)
    try:
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(ended)],
            cwd=ROOT, stdout=writer, stderr=writer, timeout=90, check=False,
            env={**os.environ, **QUIET, "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path)},
        )  # fmt: skip
    finally:
        os.close(writer)
    assert [file.name for file in ended.iterdir()] == ["ours"]


JSON_PROGRAM = """
import logging, sys
from prefect.logging.configuration import setup_logging
from qdrant_dr.log_context import run_context, events
from tasks.console import print_as_asked
setup_logging()
logging.getLogger("qdrant_dr").setLevel(logging.INFO)
print_as_asked()
print_as_asked()
with run_context("run-1"):
    logging.getLogger("qdrant_dr.jobs").warning("[red]%s[/red] " + 300 * "long ", "a [link](x)")
    events.info("verify began", extra={"event": "unit-began"})
logging.getLogger("prefect.flow_runs").info("of Prefect", extra={"flow_run_name": "backup shop"})
"""


def test_json_lines_where_the_environment_asks_for_them(tmp_path: Path) -> None:
    """One object a line: not wrapped, coloured or marked up; of ours and of Prefect's loggers."""
    said = subprocess.run(
        [sys.executable, "-c", JSON_PROGRAM],
        cwd=ROOT, capture_output=True, text=True, timeout=90, check=True,
        env={**os.environ, **QUIET, "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path),
             "QDR_LOG": "json", "PREFECT_LOGGING_EXTRA_LOGGERS": "qdrant_dr",
             "PREFECT_LOGGING_TO_API_ENABLED": "false"},
    )  # fmt: skip
    ours, event, theirs = [json.loads(line) for line in said.stderr.splitlines()]
    assert ours["message"].startswith("[red]a [link](x)[/red] long")
    assert ours["run_id"] == event["run_id"] == "run-1"
    assert event["event"] == "unit-began"
    assert (theirs["message"], theirs["flow_run_name"]) == ("of Prefect", "backup shop")
