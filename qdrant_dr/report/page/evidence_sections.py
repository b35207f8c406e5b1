"""What the page says of controls and ledgers, out of their frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import pandas as pd

from qdrant_dr.report.controls.control import STATES
from qdrant_dr.report.evidence.ledger import LedgerState
from qdrant_dr.report.frames.columns import plain_rows
from qdrant_dr.text import count


def control_section(frames: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Return the rows of `controls` by framework, and how many there are of each state."""
    rows = plain_rows(frames["controls"])
    states = Counter(row["state"] for row in rows)
    return {
        "frameworks": [
            (name, list(each)) for name, each in groupby(rows, lambda r: r["framework"])
        ],
        "states": [(state, states[state]) for state in reversed(STATES) if states[state]],
    }


def ledger_section(ledgers: Sequence[LedgerState]) -> tuple[tuple[LedgerState, str], ...]:
    """Return the ledger of each repository, and what to think of it in words."""
    return tuple((ledger, _words(ledger)) for ledger in ledgers)


def _words(ledger: LedgerState) -> str:
    match ledger.state:
        case "unreadable":
            return ledger.error.message if ledger.error else "it could not be read"
        case "none":
            return "nobody wrote an entry: nothing shows that these records are all, or unchanged"
        case "broken":
            more = f"; and {len(ledger.breaks) - 1} more" if len(ledger.breaks) > 1 else ""
            return f"{ledger.breaks[0]}{more}"
        case "unsigned":
            said = [
                (ledger.unsigned_tail, "at its end"),
                (ledger.unsigned_between, "between signed ones"),
            ]
            words = " and ".join(f"{count(n, 'entry')} {where}" for n, where in said if n)
            return f"without a signature: {words}; nobody vouches for what they name"
        case "unknown":
            return "signed, by keys that no file of allowed signers names"
        case "signed":
            return "whole as far as it was read, and signed by allowed keys"
