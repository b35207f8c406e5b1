"""A run of tests ends, whatever a test does, and says which test it was."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFTEST = """
from tests.conftest import pytest_configure, pytest_xdist_make_scheduler
from tests.support import by_file, limits
limits.GRACE, limits.RUN = 2, {run}
by_file.REAL_RUNS, by_file.AT_A_TIME = ("test_0",), 1
"""
GOOD = """
import pytest
@pytest.mark.parametrize("n", range(4))
def test_good(n):
    pass
"""
SLOW = GOOD.replace("    pass", "    import time; time.sleep(0.3)")
REAL = """
import os, pathlib, pytest
@pytest.mark.parametrize("n", range(2))
def test_real(n):
    with pathlib.Path(__file__).with_name("workers").open("a") as said:
        said.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
"""


def run(folder: Path, files: dict[str, str], *, seconds: float = 60) -> str:
    """The log of these files of tests on two workers."""
    (folder / "conftest.py").write_text(CONFTEST.format(run=seconds))
    (folder / "pytest.ini").write_text("[pytest]\ntimeout = 60\n")
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2",
         "--dist", "loadfile", "--no-loadscope-reorder", str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    return done.stdout


def test_a_worker_that_dies_costs_the_test_it_died_in(tmp_path: Path) -> None:
    """After files that are done, and with the other worker at its end: the rest is run, once."""
    dies = f"{GOOD}\ndef test_dies():\n    import os; os._exit(1)\ndef test_after():\n    pass\n"
    real = {"0a": REAL, "0b": REAL, "0c": REAL}
    log = run(tmp_path, {**real, "1": SLOW, "2": SLOW, "3": GOOD, "4": dies, "5": GOOD})
    assert "crashed while running 'test_4.py::test_dies'" in log
    assert "1 failed, 27 passed" in log, log
    # those that need the cores stayed with one worker, the other did the rest
    workers = (tmp_path / "workers").read_text().split()
    assert (len(workers), len(set(workers))) == (6, 1)


def test_what_hangs_is_named_with_its_stack_and_the_others_are_run(tmp_path: Path) -> None:
    """A test; one that is not to be interrupted; the fixture of one that failed."""
    hangs = """
import time
from contextlib import suppress
import pytest
@pytest.mark.timeout(1)
def test_sleeps():
    time.sleep(90)
@pytest.mark.timeout(1)
def test_goes_on():
    with suppress(BaseException):
        time.sleep(90)
    time.sleep(90)
def test_after():
    pass
"""
    ends_never = """
import time
import pytest
@pytest.fixture
def stays():
    yield
    time.sleep(90)
def test_fails(stays):
    assert 1 == 2
def test_after():
    pass
"""
    log = run(tmp_path, {"1": hangs, "2": ends_never, "3": GOOD})
    assert "test_1.py::test_sleeps hangs" in log, log
    assert "did not end within 1 s" in log
    assert "crashed while running 'test_1.py::test_goes_on'" in log
    assert re.search(r"File .*test_1.py.* in test_goes_on", log)
    assert "crashed while running 'test_2.py::test_fails'" in log
    assert re.search(r"File .*test_2.py.* in stays", log)
    assert "6 passed" in log


def test_a_run_that_does_not_end_is_ended_and_says_where_it_was(tmp_path: Path) -> None:
    """Outside of tests, where no test's limit counts."""
    stuck = "import time\ntime.sleep(90)\n"
    log = run(tmp_path, {"1": GOOD, "2": stuck}, seconds=10)
    assert "the tests did not end within 10 s" in log, log
    assert re.search(r"File .*test_2.py", log)
