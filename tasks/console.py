"""A run outlives its worker: that nobody reads what it prints is no reason to end."""

from __future__ import annotations

import logging
from functools import partial

from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console


def outlive_the_worker() -> None:
    """Let log lines be lost that cannot be printed any more; the API still gets them.

    A worker that is killed takes the pipe along that its runs print to. Rich then raises
    SystemExit (`Console.on_broken_pipe`) in the thread that logs next: right for a command in a
    shell, here it would end a run that does well, without its end record (measured on Prefect
    3.8.8).
    """
    known = [*logging.Logger.manager.loggerDict.values(), logging.getLogger()]
    for logger in known:
        for handler in logger.handlers if isinstance(logger, logging.Logger) else ():
            if isinstance(handler, PrefectConsoleHandler):
                handler.console.on_broken_pipe = partial(_hush, handler.console)  # type: ignore[method-assign]


def _hush(console: Console) -> None:
    console.quiet = True
