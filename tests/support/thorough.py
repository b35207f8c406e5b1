"""What is left out of every-day runs, to keep them short."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest

THOROUGH = bool(os.environ.get("QDR_THOROUGH"))
WHY = "takes long: set QDR_THOROUGH=1"

thorough = pytest.mark.skipif(not THOROUGH, reason=WHY)


def few(every: Iterable[Any], *daily: Any) -> list[Any]:
    """Values to parametrize with, of which only `daily` are tried every day."""
    return [one if one in daily else pytest.param(one, marks=thorough) for one in every]


def examples(full: int) -> int:
    """How many examples of a law Hypothesis draws: every day half of them."""
    return full if THOROUGH else full // 2


def only_thorough(is_second: bool) -> None:
    """Skip the running test, if what it was given by a shared fixture is a second value."""
    if is_second and not THOROUGH:
        pytest.skip(WHY)
