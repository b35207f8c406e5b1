"""RFC 3161 replies beside entries: of which bytes each is, and when. Whether its time server can be
believed is for `openssl ts` to say, with the root that its owner publishes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from qdrant_dr.errors import TimestampFailed
from qdrant_dr.evidence.check import Check, Examples
from qdrant_dr.evidence.earliest import CLOCKS
from qdrant_dr.evidence.ledger_reader import Line
from qdrant_dr.quantities import how_long
from qdrant_dr.signing.timestamps import read_reply
from qdrant_dr.text import count

SOON = timedelta(days=1)
"""An entry is stamped when it is written: a stamp that comes so late is of one that came late."""


@dataclass(slots=True)
class TimeStamps:
    """The time stamps so far."""

    stamped: int = 0
    newest: str = ""
    _wrong: Examples = field(default_factory=Examples)
    _late: Examples = field(default_factory=Examples)

    def add(self, line: Line) -> None:
        """Take the next entry."""
        if line.token is None:
            return
        try:
            token = read_reply(line.token)
        except TimestampFailed as e:
            self._wrong.add(f"entry {line.number}: {e.message}")
            return
        if token.sha256 != line.sha256:
            self._wrong.add(f"the time stamp beside entry {line.number} is of other bytes")
            return
        self.stamped += 1
        self.newest = f"entry {line.number} at {token.at:%Y-%m-%d %H:%M:%S} UTC"
        if line.entry is None:
            return
        if token.at < line.entry.at - CLOCKS:
            self._wrong.add(
                f"entry {line.number} was stamped {how_long(line.entry.at - token.at)} before the "
                "time that it says"
            )
        elif token.at > line.entry.at + SOON:
            self._late.add(
                f"entry {line.number} was stamped {how_long(token.at - line.entry.at)} after the "
                "time that it says"
            )

    def check(self) -> Check | None:
        """Say what time stamps there are; None without any."""
        if self._wrong:
            return Check(
                "time stamps",
                "failed",
                str(self._wrong),
                "by hand: an older version of the bucket tells which of the two was changed.",
            )
        if self._late:
            return Check(
                "time stamps",
                "doubt",
                str(self._late),
                "by hand: was the time server away for so long? Else the entry is back-dated.",
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
