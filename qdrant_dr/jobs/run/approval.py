"""What somebody who may say no has said of a plan."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Approval:
    """`reason` is why not."""

    given: bool
    by: str = ""
    ticket: str = ""
    note: str = ""
    reason: str = ""
