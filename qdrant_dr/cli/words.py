"""Format moments and yes/no answers for tables."""

from __future__ import annotations

from datetime import UTC, datetime

from qdrant_dr.errors import UsageError
from qdrant_dr.quantities import parse_duration


def moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def yes(value: bool) -> str:
    return "yes" if value else "NO"


def moment_ahead(text: str | None, now: datetime, past: str) -> datetime | None:
    """Parse a date (2027-01-31) or a time from now (90d). Raise UsageError for anything else, and
    for a moment that has passed: `past` then says why that is of no use."""
    if text is None:
        return None
    try:
        at = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        try:
            at = now + parse_duration(text)
        except ValueError:
            raise UsageError(
                f"--until {text} is neither a date nor a duration", "write 2027-01-31, or 90d."
            ) from None
    if at <= now:
        raise UsageError(f"--until {text} is in the past", f"{past}.")
    return at


def moment_past(text: str | None, now: datetime) -> datetime | None:
    """Read `--since`: a date, or a time ago such as 90d. Raise UsageError."""
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        pass
    try:
        return now - parse_duration(text)
    except ValueError:
        raise UsageError(
            f"--since {text} is neither a date nor a duration", "write 2027-01-31, or 90d."
        ) from None
