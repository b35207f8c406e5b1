"""The command line. It works without Prefect, which may be lost together with the cluster."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from types import FrameType

from cyclopts import CycloptsError

from qdrant_dr.cancel import stopping
from qdrant_dr.cli.app import misused, run, usage_message
from qdrant_dr.cli.logs import logs
from qdrant_dr.cli.output import any_text, write
from qdrant_dr.cli.session import Reply, Session
from qdrant_dr.errors import DRError, Interrupted, UsageError
from qdrant_dr.hints import REPORT_IT
from qdrant_dr.json_lines import VARIABLE, LogFormat

log = logging.getLogger(__name__)

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    any_text()
    tokens = [_as_utf8(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    session = Session(json="--json" in tokens, log=_log_format(tokens))
    with logs("-v" in tokens or "--verbose" in tokens, session.log):
        reply = _reply(tokens, session)
        try:
            if reply is not None:
                write(session, reply)
        except BrokenPipeError:  # as in `qdrant-dr list | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if reply is None else reply.code


def _log_format(tokens: Sequence[str]) -> LogFormat:
    """Look for `--log` before the line is parsed: a line that cannot be parsed is logged, too."""
    said = [after for word, after in pairwise(tokens) if word == "--log"]
    said += [word.removeprefix("--log=") for word in tokens if word.startswith("--log=")]
    if said:
        return "json" if said[-1] == "json" else "text"
    return "json" if os.environ.get(VARIABLE) == "json" else "text"


def _as_utf8(word: str) -> str:
    """Decode an argument as UTF-8, as names are stored, whatever the locale is."""
    try:
        return os.fsencode(word).decode()
    except ValueError:
        return word


def _reply(tokens: Sequence[str], session: Session) -> Reply | None:
    try:
        with _signals():
            return run(tokens, session)
    except CycloptsError as e:
        return _failure(UsageError(usage_message(e), _see_help(session)))
    except DRError as e:
        return _failure(e)
    except KeyboardInterrupt:
        return _failure(Interrupted("interrupted"))
    except Exception as e:  # noqa: BLE001 - the last door: a defect must still end in an envelope
        return _failure(misused(e, _see_help(session)) or _defect(e, session))


def _see_help(session: Session) -> str:
    """Name the help of the command if there is one, else that of the program."""
    return f"see `{' '.join(filter(None, ['qdrant-dr', session.command, '--help']))}`."


def _defect(error: Exception, session: Session) -> DRError:
    if session.verbose and session.log == "json":
        log.error("a defect", exc_info=error)
    elif session.verbose:
        traceback.print_exception(error)
    return DRError(
        f"{type(error).__name__}: {error}",
        REPORT_IT,
    )


def _failure(error: DRError) -> Reply:
    return Reply(verdict="failed", exit_code=error.exit_code, errors=[error])


@contextmanager
def _signals() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into an exception, so that everything is cleaned up."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()
        raise KeyboardInterrupt

    before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
