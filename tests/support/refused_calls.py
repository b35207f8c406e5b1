"""Let the kernel refuse system calls of this process, as a file system without them does.

It cannot be undone: for child processes of tests alone."""

from __future__ import annotations

import ctypes
import platform
import struct

NUMBERS = {
    "x86_64": {"link": 86, "linkat": 265, "renameat2": 316},
    "aarch64": {"linkat": 37, "renameat2": 276},
}
_NO_NEW_PRIVS, _SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


def can_refuse() -> bool:
    return platform.system() == "Linux" and platform.machine() in NUMBERS


def refuse(**calls: int) -> None:
    """Refuse calls by name, each with its error number. Raise OSError if that is not allowed."""
    numbers = NUMBERS[platform.machine()]
    steps = [struct.pack("HBBI", _LOAD, 0, 0, 0)]
    for name, error in calls.items():
        if name in numbers:
            steps.append(struct.pack("HBBI", _EQUAL, 0, 1, numbers[name]))
            steps.append(struct.pack("HBBI", _RETURN, 0, 0, _ERRNO | error))
    steps.append(struct.pack("HBBI", _RETURN, 0, 0, _ALLOW))
    program = ctypes.create_string_buffer(b"".join(steps))
    head = ctypes.create_string_buffer(
        struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(program))
    )
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for arguments in ((_NO_NEW_PRIVS, 1, 0, 0, 0), (_SECCOMP, _FILTER, ctypes.byref(head), 0, 0)):
        if prctl(*arguments):
            raise OSError(ctypes.get_errno(), "the kernel takes no filter")
