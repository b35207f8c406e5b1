"""How long a silent child process is waited for: it may work without a word, but not do nothing.

While the engine opens a shard it says nothing, and nothing in its process could say it: it holds
Python's lock. So its parent looks from outside at the processor time it uses and the bytes it
moves, as the kernel counts them. Both rise on a cold disk and in a long log; in a hung engine
neither does."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

WORKING = 0.01
"""The share of a core from which on a process counts as working: threads that wait wake, too."""
LONGEST = 24
"""How many time-outs a child may work without a word: it may run in circles."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Effort:
    """What a process did in its whole life: processor seconds, bytes from and to disks."""

    cpu_seconds: float = 0.0
    disk_bytes: int = 0

    def exceeds(self, before: Effort, elapsed: float) -> bool:
        """Say whether the process worked in the `elapsed` seconds since. Pure."""
        worked = self.cpu_seconds - before.cpu_seconds
        return self.disk_bytes > before.disk_bytes or worked >= max(WORKING * elapsed, 1 / _TICKS)


def effort_of(pid: int) -> Effort:
    """Ask the kernel; of what it does not tell, nothing is known to be done."""
    return Effort(_cpu_seconds(pid), _disk_bytes(pid))


def _cpu_seconds(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / _TICKS


def _disk_bytes(pid: int) -> int:
    try:
        facts = Path(f"/proc/{pid}/io").read_text()
    except OSError:  # forbidden in some containers
        return 0
    return sum(int(n) for n in re.findall(r"^(?:read|write)_bytes: (\d+)$", facts, re.MULTILINE))


class Patience:
    """Decides for one wait when it is over. The times are arguments, of one clock."""

    def __init__(self, timeout: float, now: float, effort: Effort) -> None:
        self._timeout = timeout
        self._begun = self._seen = now
        self._effort = effort

    def lost(self, now: float, effort: Effort) -> str | None:
        """Look at the child, and say why it is not waited for any longer; None to go on."""
        if effort.exceeds(self._effort, now - self._seen):
            self._seen, self._effort = now, effort
        if now - self._seen > self._timeout:
            return (
                f"the engine made no progress in {self._timeout:.0f} s: it neither used the "
                "processor nor moved bytes"
            )
        if now - self._begun > LONGEST * self._timeout:
            return f"the engine worked for {LONGEST * self._timeout:.0f} s without any progress"
        return None
