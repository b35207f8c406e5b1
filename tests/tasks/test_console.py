"""A run whose worker is gone has nobody to print to, and goes on."""

from __future__ import annotations

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
