"""Wait for something another process does, with an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    ask: Callable[[], T],
    *,
    until: Callable[[T], bool] = bool,
    within: float = 30,
    every: float = 0.2,
) -> T:
    """The first answer that will do. Fail with the last one when there is none in time."""
    deadline = time.monotonic() + within
    while not until(answer := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s; at the end: {answer!r}")
        time.sleep(every)
    return answer
