"""What weakens the evidence is told, and nothing where there is nothing to tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from qdrant_dr.config import Signing
from qdrant_dr.errors import LedgerBehind, LedgerBroken, SigningKeyUnusable
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.findings.ledgers import ledger_problems
from qdrant_dr.repository.ledger_head import LedgerHead
from tests.support.records import NOW, hours
from tests.support.worlds import good


def told(*, signed: bool = True, error: Any = None, **head: Any) -> list[tuple[str, str]]:
    of = good("a")
    key = Signing(key="file:/k" if signed else None)
    found = LedgerHead(**{"number": 9, "sha256": "a" * 64, "stored_at": NOW - hours(2)} | head)
    evidence: Evidence = replace(
        of,
        config=of.config.model_copy(update={"signing": key}),
        ledger_heads={"aws": found},
        signing_error=error,
    )
    return [(p.severity, p.code) for p in ledger_problems(evidence)]


def test_a_signed_ledger_is_not_told() -> None:
    assert told() == []


def test_an_unsigned_ledger_is_a_notice_once() -> None:
    assert told(signed=False, unsigned=9) == [("notice", "ledger-unsigned")]


def test_a_repository_without_ledger_is_none() -> None:
    assert told(signed=False, number=0) == []


@pytest.mark.parametrize(
    ("head", "finding"),
    [
        ({"unsigned": 1}, ("warning", "ledger-tail-unsigned")),
        ({"missing": (3, 4)}, ("critical", "ledger-broken")),
        ({"doubts": (LedgerBehind("it ends"),)}, ("critical", "ledger-behind")),
        ({"doubts": (LedgerBroken("it was replaced"),)}, ("critical", "ledger-broken")),
    ],
)
def test_what_is_wrong_is_told(head: dict[str, Any], finding: tuple[str, str]) -> None:
    assert told(**head) == [finding]


def test_an_entry_of_a_moment_ago_may_get_its_signature_still() -> None:
    assert told(unsigned=1, stored_at=NOW) == []


def test_a_key_that_cannot_be_used_is_told() -> None:
    assert told(error=SigningKeyUnusable("no key")) == [("warning", "signing-key-unusable")]
