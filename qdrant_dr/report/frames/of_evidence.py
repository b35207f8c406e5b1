"""Frames about the evidence itself, and what it answers: ledgers and controls."""

from __future__ import annotations

from typing import Final

from qdrant_dr.report.controls.control import COVERS, STATES
from qdrant_dr.report.evidence.ledger import LEDGER_STATES
from qdrant_dr.report.frames.columns import COUNT, TEXT, TIME, Column, frame

LEDGER: Final = frame(
    "ledger",
    "each configured repository",
    ("repository",),
    Column("repository", TEXT, "", "name in the configuration"),
    Column(
        "state",
        LEDGER_STATES,
        "",
        "worst first: `unreadable`; `none`: nobody wrote an entry; `broken`; `unsigned`: the last "
        "entries, or some between signed ones, are not signed; `unknown`: signed by keys that "
        "`signing.allowed_signers` does not name; `signed`",
    ),
    Column("head_number", COUNT, "", "number of the last entry; missing without a ledger"),
    Column("head_sha256", TEXT, "", "SHA-256 of that entry as stored"),
    Column("head_at", TIME, "", "when it was written"),
    Column("since", TIME, "", "when the first entry was written"),
    Column(
        "entries_count", COUNT, "entries", "entries read: those of the period, and the one before"
    ),
    Column("signed_by", TEXT, "", "whose signatures they carry; a name, or the key's fingerprint"),
    Column("unsigned_tail_count", COUNT, "entries", "last entries without a signature"),
    Column(
        "unsigned_between_count",
        COUNT,
        "entries",
        "entries without a signature between signed ones: nobody vouches for what they name",
    ),
    Column(
        "anchored_number", COUNT, "", "newest of its entries that another repository names as it is"
    ),
    Column("anchored_in", TEXT, "", "that repository, and the number of the entry there"),
    Column("anchored_at", TIME, "", "when that entry was written there"),
    Column("timestamped_number", COUNT, "", "newest entry with a token of a time stamp authority"),
    Column(
        "breaks_count",
        COUNT,
        "faults",
        "what is wrong with the entries read: missing, unreadable, not chained to the one before, "
        "badly signed, other than what another repository names; and ends of runs that they name "
        "and no repository has",
    ),
    Column("found_count", COUNT, "records", "records that were found and no run had named"),
)

CONTROLS: Final = frame(
    "controls",
    "each control of `docs/controls.md`",
    ("framework", "control"),
    Column("framework", TEXT, "", "the framework"),
    Column("control", TEXT, "", "its identifier there"),
    Column("asks", TEXT, "", "what it asks, in our words"),
    Column(
        "state",
        STATES,
        "",
        "by the figures; `not covered here`: no record tells of it, or there was nothing to do",
    ),
    Column("covers", COVERS, "", "how much of the answer figures are: none, a part, or all of it"),
    Column("figures", TEXT, "", "the figures that decide"),
    Column("computed_from", TEXT, "", "the columns that they come from"),
    Column("add", TEXT, "", "what a person must add"),
)
