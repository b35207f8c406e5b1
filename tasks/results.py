"""What submitted units came to, each in time or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from prefect.futures import PrefectFuture, wait

from qdrant_dr.errors import UnitLost


def results_of(futures: Sequence[PrefectFuture[Any]], deadline: timedelta) -> list[object]:
    """Return what each unit in a thread came to, an exception as itself; never later than
    `deadline`."""
    wait(list(futures), timeout=deadline.total_seconds())
    return [_result(future) for future in futures]


def late() -> UnitLost:
    """Return the outcome of a unit that is not done in time."""
    return UnitLost("not finished within the deadline of its run")


def _result(future: PrefectFuture[Any]) -> object:
    try:
        return future.result(timeout=1, raise_on_failure=False)
    except TimeoutError:
        return late()
    except Exception as error:  # noqa: BLE001  whatever it is, it is an outcome
        return error
