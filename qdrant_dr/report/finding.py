"""One finding: severity, code, scope, what is wrong, since when, how much is affected, what to
do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from qdrant_dr.records import Acknowledged, format_time
from qdrant_dr.records.details import Severity

RANK: dict[Severity, int] = {"critical": 0, "warning": 1, "notice": 2}


@dataclass(frozen=True)
class Problem:
    """A row of the frame `findings`. `critical`: an objective is missed, or could not be checked.

    `code` and `scope` are its identity: problems with the same code and scope are one finding, even
    if the numbers in `what` change. So where the newest backup is meant, the scope names what lasts

    (its collection). `facts` (a run id, a digest) distinguish this instance from the next one with
    the same identity; if empty, `since` does. An acknowledged problem counts as a notice.
    """

    severity: Severity
    code: str
    scope: str
    what: str
    since: datetime | None
    blast_radius: str
    next_command: str
    facts: str = ""
    acknowledged: Acknowledged | None = None

    @property
    def pin(self) -> str:
        """Return what an acknowledgement is bound to; empty if instances cannot be
        distinguished."""
        return self.facts or (format_time(self.since) if self.since else "")

    @property
    def worth(self) -> Severity:
        """Return how severe it is, acknowledged or not."""
        return self.acknowledged.severity if self.acknowledged else self.severity

    @property
    def identity(self) -> tuple[str, str]:
        """Return what makes it the same finding in the next watch."""
        return self.code, self.scope

    @property
    def order(self) -> tuple[int, float, str, str]:
        """Sort worst first, then oldest first; findings of unknown age come before the others."""
        since = self.since.timestamp() if self.since else float("-inf")
        return RANK[self.severity], since, self.scope, self.what


def span(length: timedelta) -> str:
    """Format a duration for people, two units at most: `3 d 4 h`, `12 min`, `8.4 s`."""
    seconds = length.total_seconds()
    if seconds < 0:
        return f"-{span(-length)}"
    if seconds < 60:
        return (
            f"{seconds:.1f}".rstrip("0").rstrip(".") + " s" if seconds < 10 else f"{seconds:.0f} s"
        )
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if minutes < 60:
        rest = int(seconds % 60)
        return f"{minutes} min {rest} s" if minutes < 10 and rest else f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60} min" if hours < 10 and minutes % 60 else f"{hours} h"
    return f"{days} d {hours % 24} h" if days < 10 and hours % 24 else f"{days} d"
