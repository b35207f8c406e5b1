"""A run whose worker is gone has nobody to print to, and goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.prefect import QUIET

ROOT = Path(__file__).parents[2]

PROGRAM = """
import logging, sys
from pathlib import Path
from prefect.logging.configuration import setup_logging
setup_logging()
if sys.argv[1] == "ours":
    from tasks.console import outlive_the_worker
    outlive_the_worker()
log = logging.getLogger("prefect.engine")
for _ in range(3):
    log.error("nobody reads this")
Path(sys.argv[2]).write_text("to the end")
"""


@pytest.mark.parametrize(("whose", "comes_to_its_end"), [("ours", True), ("prefect's own", False)])
def test_a_broken_pipe_ends_nothing(whose: str, comes_to_its_end: bool, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    end = tmp_path / "end"
    try:
        subprocess.run(
            [sys.executable, "-c", PROGRAM, whose, str(end)],
            cwd=ROOT, stdout=writer, stderr=writer, timeout=90, check=False,
            env={**os.environ, **QUIET, "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path)},
        )  # fmt: skip
    finally:
        os.close(writer)
    assert end.exists() == comes_to_its_end
