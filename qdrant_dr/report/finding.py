"""One thing that is wrong: how bad, which, where, since when, how much is affected, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from qdrant_dr.records import Acknowledged, format_time
from qdrant_dr.records.details import Severity

RANK: dict[Severity, int] = {"critical": 0, "warning": 1, "notice": 2}


@dataclass(frozen=True)
class Problem:
    """A row of the frame `findings`. `critical`: a promise is broken, or could not be checked.

    `code` and `scope` are its identity: two with the same are one finding, however the numbers in
    `what` change. So a scope is what lasts (a collection), where the newest backup is meant.

    `facts` tell this instance from the next of the same identity (a run id, a digest); empty: its
    beginning does. One that is `acknowledged` is a notice.
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
        """What an acknowledgement is bound to; empty if nothing tells one instance from another."""
        return self.facts or (format_time(self.since) if self.since else "")

    @property
    def worth(self) -> Severity:
        """How bad it is, whoever knows of it."""
        return self.acknowledged.severity if self.acknowledged else self.severity

    @property
    def identity(self) -> tuple[str, str]:
        """What makes it the same finding at the next look."""
        return self.code, self.scope

    @property
    def order(self) -> tuple[int, float, str, str]:
        """Worst first, then oldest first; what has no known beginning before the rest."""
        since = self.since.timestamp() if self.since else float("-inf")
        return RANK[self.severity], since, self.scope, self.what
