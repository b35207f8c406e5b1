"""What a run prints: it outlives its worker, and prints JSON lines where `QDR_LOG` says so."""

from __future__ import annotations

import logging
from functools import partial

from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console

from qdrant_dr.json_lines import JsonLines, log_format, tell_events


def outlive_the_worker() -> None:
    """Let log lines be lost that cannot be printed any more; the API still gets them.

    A worker that is killed takes the pipe along that its runs print to. Rich then raises
    SystemExit (`Console.on_broken_pipe`) in the thread that logs next: right for a command in a
    shell, here it would end a run that does well, without its end record (measured on Prefect
    3.8.8).
    """
    for _, handler in _consoles():
        handler.console.on_broken_pipe = partial(_hush, handler.console)  # type: ignore[method-assign]


def print_as_asked() -> None:
    """Print JSON lines instead of Prefect's text if `QDR_LOG=json`. Raise UsageError for a word
    that is no format.

    What the API shows stays text. Prefect's handler is replaced, not only its formatter: it wraps,
    colours and reads markup.
    """
    if log_format() == "text":
        return
    tell_events()
    for logger, handler in _consoles():
        printer = logging.StreamHandler(handler.stream)
        printer.setLevel(handler.level)
        printer.setFormatter(JsonLines())
        logger.addHandler(printer)
        logger.removeHandler(handler)


def _consoles() -> list[tuple[logging.Logger, PrefectConsoleHandler]]:
    known = [*logging.Logger.manager.loggerDict.values(), logging.getLogger()]
    return [
        (logger, handler)
        for logger in known
        if isinstance(logger, logging.Logger)
        for handler in logger.handlers
        if isinstance(handler, PrefectConsoleHandler)
    ]


def _hush(console: Console) -> None:
    console.quiet = True
