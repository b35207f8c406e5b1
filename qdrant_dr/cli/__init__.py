"""The command line. It needs no Prefect: at 3 a.m. there may be none left."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from cyclopts import CycloptsError

from qdrant_dr.cli.app import misused, run, usage_message
from qdrant_dr.cli.output import write
from qdrant_dr.cli.session import Reply, Session
from qdrant_dr.errors import DRError, Interrupted, UsageError
from qdrant_dr.jobs.stop import stopping
from qdrant_dr.text import lines

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    session = Session(json="--json" in tokens)
    reply = _reply(tokens, session)
    try:
        if reply is not None:
            write(session, reply)
    except BrokenPipeError:  # `qdrant-dr list | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if reply is None else reply.code


def _reply(tokens: Sequence[str], session: Session) -> Reply | None:
    try:
        with _signals(), _logs("-v" in tokens or "--verbose" in tokens):
            return run(tokens, session)
    except CycloptsError as e:
        return _failure(UsageError(usage_message(e)))
    except DRError as e:
        return _failure(e)
    except KeyboardInterrupt:
        return _failure(Interrupted("interrupted"))
    except Exception as e:  # noqa: BLE001 - the last door: a defect must still end in an envelope
        return _failure(misused(e) or _defect(e, session))


def _defect(error: Exception, session: Session) -> DRError:
    if session.verbose:
        traceback.print_exception(error)
    return DRError(
        f"{type(error).__name__}: {error}",
        "this is a defect of qdrant-dr: report it with the lines of -v.",
    )


def _failure(error: DRError) -> Reply:
    return Reply(verdict="failed", exit_code=error.exit_code, errors=[error])


@contextmanager
def _signals() -> Iterator[None]:
    """SIGINT and SIGTERM end the command by an exception, so that everything is cleaned up."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()
        raise KeyboardInterrupt

    before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return lines(super().format(record))


@contextmanager
def _logs(verbose: bool) -> Iterator[None]:
    """Our own log on stderr: warnings, or with -v everything."""
    log = logging.getLogger("qdrant_dr")
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(levelname)s %(name)s: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.DEBUG if verbose else logging.WARNING)
    try:
        yield
    finally:
        log.removeHandler(handler)
