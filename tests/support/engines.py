"""Engines of jobs that tests run in their own process: forked, so that none imports numpy anew.

`tests/proof/test_engine.py`, and whatever a test starts as a process, starts them as users do.
"""

from __future__ import annotations

import os
from pathlib import Path

from qdrant_dr.children import bare_environment
from qdrant_dr.proof.engine import Engine
from tests.support.forked import Forked, fork, server

AS_USERS_DO = Engine._start


def fork_engines() -> None:
    """From now on, in this process."""
    Engine._start = _fork_engine  # type: ignore[assignment, method-assign]


def _fork_engine(engine: Engine) -> Forked:
    _, parent = server("engine")
    asks, stdin = os.pipe()
    stdout, answers = os.pipe()
    with engine._errors.open("wb") as errors:
        pid, ends = fork(
            "engine", [str(parent), str(engine.limits.memory_bytes)], Path.cwd(),
            bare_environment({}), (asks, answers, errors.fileno()), session=True,
        )  # fmt: skip
    os.close(asks)
    os.close(answers)
    return Forked(pid, ends, os.fdopen(stdin, "wb", 0), os.fdopen(stdout, "rb", 0))
