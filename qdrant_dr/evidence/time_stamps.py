"""RFC 3161 replies beside entries. Whether a time server can be believed is for `openssl ts` to
say, with the root that its owner publishes; here only that each reply is of its entry."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from qdrant_dr.evidence.check import Check, Examples
from qdrant_dr.evidence.ledger_reader import Line
from qdrant_dr.text import count


@dataclass(slots=True)
class TimeStamps:
    """The time stamps so far."""

    stamped: int = 0
    newest: int = 0
    _wrong: Examples = field(default_factory=Examples)

    def add(self, line: Line) -> None:
        """Take the next entry."""
        if line.token is None:
            return
        if hashlib.sha256(line.data).digest() not in line.token:
            self._wrong.add(f"the time stamp beside entry {line.number} is of other bytes")
            return
        self.stamped, self.newest = self.stamped + 1, line.number

    def check(self) -> Check | None:
        """Say what time stamps there are; None without any."""
        if self._wrong:
            return Check(
                "time stamps",
                "failed",
                str(self._wrong),
                "by hand: an older version of the bucket tells which of the two was changed.",
            )
        if not self.stamped:
            return None
        return Check(
            "time stamps",
            "not checked",
            f"{count(self.stamped, 'entry')} stamped, the newest is {self.newest}: each is of its "
            "entry; whose it is, is not judged here",
            "by hand: `openssl ts -verify` with the root of the time server, as docs/"
            "verify-by-hand.md writes it.",
        )
