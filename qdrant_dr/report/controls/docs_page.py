"""Generate `docs/controls.md` from the table, so that both say the same."""

from __future__ import annotations

from itertools import groupby

from qdrant_dr.report.controls.control import Control
from qdrant_dr.report.controls.table import CONTROLS

_HEAD = """# Controls

Generated from `qdrant_dr/report/controls/table.py`; a test keeps it up to date.

The report has a section *Controls*, and the frame `controls` ([frames](frames.md)): what controls
of audit frameworks ask, what the figures of the period answer, and what a person must add.
Identifiers are those of the frameworks, all other words are ours: get the texts from their
publishers. No row makes anybody compliant.

- **met**: the figures say yes. Never if there was nothing to look at, never in a period in which
  no run did anything about backups, and never while a repository or a record could not be read, or
  a ledger is broken or was cut: what is missing may be what would have said no.
- **not met**: the figures say no, or what had to be done in the period was not done.
- **not covered here**: no record tells of it, or there was nothing to do. It is no verdict.
- **in part**: figures are one half of the answer; the last column has the other.

`report --format csv` writes the rows to `controls.csv`. `report --format oscal` writes
`controls.oscal.json`: OSCAL assessment results, valid in 1.1.2 to 1.2.x, the same bytes for the
same records and `--as-of`. Each row is an observation whose `props` (`urn:qdrant-dr:controls`)
name framework, control and state, since only NIST SP 800-53 has identifiers in OSCAL. There is a
finding where a control of NIST is not met, or met by figures alone; one that is met in part has
none, because `satisfied` would say too much. The evidence is the last entry of each ledger, by
path and SHA-256: every record of that repository hangs on it.

Where a state comes from: `qdrant-dr report --explain controls.state:CP-9` lists the records
behind it, their hashes as stored, and the ledger entry that names each; so does `report
--explain` for every other figure.

Objectives, copies and ledgers are judged as they stand at the moment of the report, runs, drills
and restores over its period. A ledger counts only if it is whole, and signed to its end by keys
that `signing.allowed_signers` names; an anchor only if it agrees with what is here; a run that was
merely found counts as signed by nobody. Whether logs are kept for a year is told by a report of a
year: `report --period 365d`. Encryption counts where qdrant-dr encrypts; if it does not, the stores
may, and no record shows that.

*With nothing*: the state if there was nothing to look at in the period.
"""


def controls_markdown() -> str:
    """Return the whole page."""
    lines = [_HEAD]
    for framework, rows in groupby(CONTROLS, lambda c: c.framework):
        lines += [f"## {framework}", ""]
        lines += [
            "| control | asks | figures | with nothing | a person adds |",
            "|---|---|---|---|---|",
        ]
        lines += [_row(control) for control in rows]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _row(control: Control) -> str:
    figures = ", ".join(f"`{name}`" for name in control.figures) or "none"
    part = " (in part)" if control.covers == "part" else ""
    cells = (control.id, control.asks, f"{figures}{part}", control.on_nothing, control.add)
    return f"| {' | '.join(cells)} |"
