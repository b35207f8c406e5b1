"""Findings about the ledgers and the key that signs them: what weakens the evidence. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from qdrant_dr.errors import LedgerBehind
from qdrant_dr.hints import command
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.ledger import LedgerState
from qdrant_dr.report.finding import Problem
from qdrant_dr.repository.ledger_head import LedgerHead
from qdrant_dr.text import count, digest

_MOMENT = timedelta(minutes=10)
"""Between an entry and its signature; older ones stay without."""
_RADIUS = "what this repository says of the past may have been changed"


def ledger_problems(evidence: Evidence) -> Iterator[Problem]:
    """List what is wrong with the end of each ledger, and with the key."""
    signed = evidence.config.signing.key is not None
    if not signed and any(head.number for head in evidence.ledger_heads.values()):
        yield Problem(
            "notice",
            "ledger-unsigned",
            "cluster",
            "entries of the ledger are chained, and nobody signs them: no `signing.key`",
            None,
            "whoever may write to every repository can rewrite the whole history",
            "qdrant-dr signing init --save",
        )
    if (error := evidence.signing_error) is not None:
        yield Problem(
            "warning",
            "signing-key-unusable",
            "cluster",
            error.message,
            None,
            "entries of the ledger are written without a signature",
            error.hint,
            facts=error.code,
        )
    if (error := evidence.signers_error) is not None:
        yield Problem(
            "warning",
            "allowed-signers-unusable",
            "cluster",
            error.message,
            None,
            "no signature counts here: neither of the ledger nor of a review",
            error.hint,
            facts=error.code,
        )
    for name, head in evidence.ledger_heads.items():
        yield from _of_head(name, head)
        waits = head.stored_at is not None and evidence.as_of - head.stored_at > _MOMENT
        if signed and head.unsigned and waits:
            yield Problem(
                "warning",
                "ledger-tail-unsigned",
                name,
                f"{count(head.unsigned, 'entry')} at the end of its ledger have no signature",
                head.stored_at,
                "nobody vouches for them until the next entry that is signed",
                "qdrant-dr verify",
            )


def entry_problems(ledgers: Iterable[LedgerState], evidence: Evidence) -> Iterator[Problem]:
    """List what is wrong with the entries of the period, where a report has read them."""
    unreachable = {r.name for r in evidence.unreachable}
    for ledger in ledgers:
        if ledger.error is not None and ledger.repository not in unreachable:
            yield Problem(
                "warning", "ledger-unreadable", ledger.repository,
                f"its ledger could not be read: {ledger.error.message}", None,
                "nothing vouches for what this repository says of the past",
                command("check", "-r", ledger.repository), facts=ledger.error.code,
            )  # fmt: skip
        if ledger.breaks:
            more = len(ledger.breaks) - 1
            what = ledger.breaks[0] + (f"; and {count(more, 'more fault')}" if more else "")
            since = ledger.head.entry.at if ledger.head else None
            yield Problem(
                "critical", "ledger-broken", ledger.repository, what, since, _RADIUS,
                "qdrant-dr evidence verify", facts=digest(ledger.breaks),
            )  # fmt: skip


def _of_head(name: str, head: LedgerHead) -> Iterator[Problem]:
    for error in head.doubts:
        if isinstance(error, LedgerBehind):
            yield Problem(
                "critical", "ledger-behind", name, error.message, head.stored_at, _RADIUS,
                error.hint, facts=digest([error.message]),
            )  # fmt: skip
        else:
            yield _broken(name, head, error.message, error.hint)
    if head.missing:
        gap = f"{count(len(head.missing), 'entry')} of its ledger are missing, of those from "
        gap += f"{head.missing[0]} to {head.missing[-1]}"
        yield _broken(name, head, gap, "qdrant-dr evidence verify")


def _broken(name: str, head: LedgerHead, what: str, hint: str) -> Problem:
    return Problem(
        "critical", "ledger-broken", name, what, head.stored_at, _RADIUS, hint,
        facts=digest([what]),
    )  # fmt: skip
