"""Processes that outlive the command which starts them, known by their pid *and* their start.

A pid alone is not enough: the kernel gives it to somebody else some day, and a file may be left
from before a reboot. Whatever is not the process that the file means counts as gone, and is never
killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def birth(pid: int) -> str | None:
    """Return what tells this process from all others, ever; None if there is none or it is dead."""
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        # both are told by the clock of today: their difference stays when somebody sets it
        return f"{_boot()}/{process.create_time() - psutil.boot_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def _boot() -> str:
    """Which start of this machine it is, where the kernel says so; psutil has only its time."""
    with suppress(OSError):
        return BOOT_ID.read_text().strip()
    return ""


def start(
    command: Sequence[str], *, env: Mapping[str, str], log: Path, file: Path, **facts: str
) -> None:
    """Start a process in a session of its own, its output in `log`, and remember it in `file`.

    `facts` are kept with it.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    remembered = {"pid": process.pid, "birth": birth(process.pid), **facts}
    file.write_text(json.dumps(remembered, indent=1) + "\n")


def running(file: Path) -> dict[str, Any] | None:
    """Return what was remembered of a process that is still alive; None if there is none."""
    try:
        kept = json.loads(file.read_text())
        alive = kept["birth"] is not None and birth(int(kept["pid"])) == kept["birth"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # a file that was cut off, or is no file of ours, means no process
    return kept if alive else None


def descendants(pid: int) -> dict[int, str]:
    """Return every process below this one, with its birth."""
    return _below(pid, recursive=True)


def children(pid: int) -> dict[int, str]:
    """Return the processes that this one has started itself, with their births."""
    return _below(pid, recursive=False)


def _below(pid: int, *, recursive: bool) -> dict[int, str]:
    try:
        found = psutil.Process(pid).children(recursive=recursive)
    except psutil.NoSuchProcess:
        return {}
    return {p.pid: born for p in found if (born := birth(p.pid))}


def end_children(pid: int, *, patience: float) -> int:
    """Send SIGTERM to the children of a process, SIGKILL to what is left of all below; return their
    number."""
    below, own = descendants(pid), children(pid)
    _send(signal.SIGTERM, own)
    if not _gone(below, patience):
        _end(below, patience)
    return len(own)


def stop(file: Path, *, patience: float, ending: bool = False) -> str:
    """End the process that `file` means, then what it leaves behind; forget it.

    SIGTERM, and SIGKILL after `patience` seconds; the same again for what was below it. With
    `ending` what its children start until then gets a SIGTERM as well: they wait for it. Return
    "stopped", "killed" or "not running".
    """
    kept = running(file)
    did = "not running"
    if kept is not None:
        pid = int(kept["pid"])
        below = descendants(pid)
        asked: set[int] = set()

        def meanwhile() -> None:
            started = {p: b for child in children(pid) for p, b in children(child).items()}
            _send(signal.SIGTERM, {p: b for p, b in started.items() if p not in asked})
            asked.update(started)

        did = _end({pid: kept["birth"]}, patience, meanwhile if ending else None)
        _end(below, patience)
    file.unlink(missing_ok=True)
    return did


def _end(
    processes: Mapping[int, str], patience: float, meanwhile: Callable[[], None] | None = None
) -> str:
    _send(signal.SIGTERM, processes)
    if _gone(processes, patience, meanwhile):
        return "stopped"
    _send(signal.SIGKILL, processes)
    _gone(processes, patience)
    return "killed"


def _send(sent: signal.Signals, processes: Mapping[int, str]) -> None:
    for pid in _alive(processes):
        with suppress(ProcessLookupError):
            os.kill(pid, sent)


def _gone(
    processes: Mapping[int, str], patience: float, meanwhile: Callable[[], None] | None = None
) -> bool:
    deadline = time.monotonic() + patience
    while _alive(processes):
        if meanwhile is not None:
            meanwhile()
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _alive(processes: Mapping[int, str]) -> Iterable[int]:
    return [pid for pid, born in processes.items() if birth(pid) == born]
