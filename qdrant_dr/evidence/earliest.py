"""How old an entry can be at most: it follows others, whatever it says itself.

Pure. Whoever has a key that ended may date an entry back to when it was good."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

CLOCKS = timedelta(minutes=15)
"""What two clocks, and a slow request, may differ by."""


@dataclass(slots=True)
class Earliest:
    """The newest time that the entries so far have shown. A clock that was ahead shows nothing: the
    store took that entry earlier, as the next one says."""

    _shown: datetime | None = None
    _last: datetime | None = None

    def time(self, at: datetime, previous_stored_at: datetime | None) -> datetime:
        """Take the next entry; return its time, or the earliest that it can have."""
        if (last := self._last) is not None:
            last = min(last, previous_stored_at or last)
            self._shown = max(last, self._shown or last)
        self._last = at
        return at if self._shown is None else max(at, self._shown - CLOCKS)
