"""Every test ends in time, every run ends, and what did not end says in the log where it hung.

A test that takes longer than its `timeout` fails, and the others are run. Where it cannot be
interrupted, or what it started does not end, its process ends a minute later: one test is lost, see
`by_file`. The stacks of all threads go past pytest's capture, to the log: of a worker nothing else
is seen.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from typing import Any

import psutil
import pytest
from pytest_timeout import is_debugging

GRACE = 60
"""Seconds for the end of what failed."""
RUN = 36_000 if os.environ.get("QDR_THOROUGH") else 3_600
"""Seconds for all tests together: a slow machine with other work took 32 minutes."""
STACKS = signal.SIGUSR1
"""A process that gets it says where it is."""
log = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[log] = os.dup(2)  # what is captured later goes elsewhere
    faulthandler.register(STACKS, file=config.stash[log], all_threads=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    faulthandler.unregister(STACKS)
    os.close(config.stash[log])


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:
    """In place of what pytest-timeout does: it ends the worker, and its stacks are not seen."""

    def fail(*_: object) -> None:
        if is_debugging():
            return
        os.write(item.config.stash[log], f"\n{item.nodeid} hangs:\n".encode())
        faulthandler.dump_traceback(file=item.config.stash[log], all_threads=True)
        pytest.fail(f"did not end within {settings.timeout:g} s; the log has the stacks")

    def cancel() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        faulthandler.cancel_dump_traceback_later()

    item.cancel_timeout = cancel  # type: ignore[attr-defined]  # where pytest-timeout looks for it
    signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, settings.timeout)
    _end_after(settings.timeout + GRACE, item.config)
    return True


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """Whatever failed, the end of its fixtures has a limit too: pytest and pytest-timeout have
    just cancelled theirs."""
    if isinstance(node, pytest.Item):
        _end_after(GRACE, node.config)


def _end_after(seconds: float, config: pytest.Config) -> None:
    if not config.option.usepdb:
        faulthandler.dump_traceback_later(seconds, exit=True, file=config.stash[log])


def pytest_sessionstart(session: pytest.Session) -> None:
    """All tests together have a limit, kept by the process that the workers work for."""
    if not session.config.pluginmanager.hasplugin("dsession"):
        return

    def stop(*_: object) -> None:
        for worker in psutil.Process().children():
            worker.send_signal(STACKS)
        time.sleep(2)  # they write
        pytest.exit(f"the tests did not end within {RUN} s; the log has the stacks of the workers")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, RUN)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.pluginmanager.hasplugin("dsession"):
        signal.setitimer(signal.ITIMER_REAL, 0)
