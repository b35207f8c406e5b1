"""One finding: severity, code, scope, what is wrong, since when, how much is affected, what to
do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

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
