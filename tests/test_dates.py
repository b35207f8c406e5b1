"""Tests of what decides by time say what time it is: none of them may ask this machine.

Where a test drives the real thing (a server, a disk, a bucket), the real clock is in it anyway;
those files are named here, and why they stay true on any date.
"""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parent
DECIDING = ("report", "records", "repository", "stores", "proof", "cluster", "tasks", "test_*.py")
"""What is tested there decides from records; `jobs`, `flows` and `cli` drive the real thing."""
ASKING = {"now", "utcnow", "today", "utc_now", "time"}
OF = {"datetime", "date", "time", "dt", None}
MAY_ASK = {
    "report/test_api.py",  # that the default of a query is now
    "report/test_looks.py",  # of emulators, which date what they store themselves
    "report/watch/test_job.py",  # looks at a live server; over month ends by test_last_watch.py
    "stores/test_versions.py",  # a lock that ends three days from now
    "stores/test_lifecycle.py",  # a rule of an emulator must lie ahead
    "repository/test_dated_ahead.py",  # against the time that the disk gives to a file
    "repository/test_one_repository.py",  # the clock of a store is that of this disk
    "repository/test_record_bundles.py",  # what lies on this disk, and when it was read
    "repository/test_sweep.py",  # what lies on this disk is as old as it is
    "cluster/test_hostile.py",  # a date at the end of time against any other
}


def asks(source: str) -> int:
    """How often a module reads the clock of dates."""
    count = 0
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        of = getattr(called.value, "id", "?") if isinstance(called, ast.Attribute) else None
        count += name in ASKING and of in OF and (of is not None or name == "utc_now")
    return count


def test_it_sees_every_way_to_ask() -> None:
    for call in ("datetime.now(UTC)", "datetime.utcnow()", "date.today()", "utc_now()",
                 "time.time()", "f(datetime.now(tz=UTC) + hours(1))"):  # fmt: skip
        assert asks(f"x = {call}") == 1, call
    for call in ("made.NOW", "time.monotonic()", "run(now=NOW)", "look.now()", "time(3)"):
        assert asks(f"x = {call}") == 0, call


def test_no_test_of_a_decision_asks_what_day_it_is() -> None:
    files = [f for part in DECIDING for f in TESTS.glob(part)]
    files = [g for f in files for g in (f.rglob("*.py") if f.is_dir() else [f])]
    assert len(files) > 50
    found = {f.relative_to(TESTS).as_posix() for f in files if asks(f.read_text())}
    assert found == MAY_ASK, "give the time as an argument, or say above why it must be this one"
