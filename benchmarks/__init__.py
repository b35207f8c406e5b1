"""Ratios against peers: `python -m benchmarks`, or one of them, `python -m benchmarks.fanout`.

What they share: the line that says which machine this was, and how a ratio is printed.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from statistics import median

from qdrant_dr.version import __version__


def machine(*more: str) -> str:
    """What a figure must be read with: cores, load, versions."""
    load = os.getloadavg()[0]
    facts = [
        f"{os.cpu_count()} cores ({platform.machine()}), load average {load:.1f}",
        f"Python {platform.python_version()}",
        f"qdrant-dr {__version__}",
        *more,
    ]
    return "machine: " + ", ".join(facts)


def side(name: str, values: Sequence[float], unit: str) -> str:
    """One side of a ratio: its median, and every run so that the spread can be seen."""
    runs = " ".join(f"{v:.2f}" for v in values)
    return f"  {name:<34} {median(values):8.2f} {unit}   runs: {runs}"


def verdict(name: str, what: str, ratio: float, aim: float) -> str:
    """The ratio beside its aim, and in words whether it was met."""
    words = "met" if ratio <= aim else "MISSED"
    return f"{name}: {what}: ratio {ratio:.2f}, aim <= {aim:.2f}: {words}"
