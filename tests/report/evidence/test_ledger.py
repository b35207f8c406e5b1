"""What a report says of ledgers: whole, signed by whom, seen by others, or broken and where."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from qdrant_dr.errors import RepositoryUnreachable
from qdrant_dr.records.ledger import Head, Written
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.ledger import LedgerState, ledger_states
from qdrant_dr.report.evidence.ledger_read import LedgerRead, ReadEntry
from qdrant_dr.report.frames.columns import plain_rows
from qdrant_dr.signing.allowed_signers import LEDGER, AllowedSigner
from tests.support import records as r
from tests.support.records import NOW, days, hours
from tests.support.report_ledgers import KEY, TRUSTED, chain, read, signed
from tests.support.worlds import frames, good


def states(*reads: LedgerRead, **fields: Any) -> tuple[LedgerState, ...]:
    return ledger_states(evidence(*reads, **fields), reads)


def evidence(*reads: LedgerRead, **fields: Any) -> Evidence:
    return replace(good(), **{"ledgers": reads, "signers": TRUSTED, **fields})


def test_a_whole_ledger_signed_by_an_allowed_key() -> None:
    (state,) = states(read("aws", chain("aws")))
    assert (state.state, state.breaks, state.unsigned_tail) == ("signed", (), 0)
    assert state.signers == ("ledger@prod",)
    assert state.head is not None
    assert state.head.entry.number == 3


def test_nobody_is_trusted_without_a_file_of_allowed_signers() -> None:
    (state,) = states(read("aws", chain("aws")), signers=())
    assert state.state == "unknown"
    assert state.signers == (f"{KEY.public.fingerprint} (not an allowed signer)",)


@pytest.mark.parametrize("before", [NOW - hours(4), NOW - days(9)])
def test_a_key_is_judged_at_the_time_of_the_entry(before: Any) -> None:
    ended = (AllowedSigner("ledger@prod", KEY.public, LEDGER, valid_before=before),)
    (state,) = states(read("aws", chain("aws")), signers=ended)
    assert state.state == "unknown"
    assert ("ledger@prod" in state.signers) is (before == NOW - hours(4))


def test_nobody_vouches_for_an_unsigned_entry_at_the_end_or_between_signed_ones() -> None:
    """Whoever has no key may have put it there, and the next run goes on from it."""
    one, two, three = chain("aws")
    (between,) = states(read("aws", (one, replace(two, signature=None), three)))
    assert (between.state, between.unsigned_between) == ("unsigned", 1)
    assert between.signed[1] is None
    (since,) = states(read("aws", (replace(one, signature=None), two, three)))
    assert (since.state, since.unsigned_between, since.unsigned_tail) == ("signed", 0, 0)
    tail = (one, replace(two, signature=None), replace(three, signature=None))
    (bare,) = states(read("aws", tail))
    assert (bare.state, bare.unsigned_tail) == ("unsigned", 2)


def test_a_later_entry_is_not_of_this_report() -> None:
    (state,) = states(read("aws", chain("aws")), as_of=NOW - hours(4))
    assert state.head is not None
    assert state.head.entry.number == 2


def broken(what: str) -> tuple[ReadEntry, ...]:
    one, two, three = chain("aws")
    match what:
        case "gone":
            return one, three
        case "edited":
            return one, signed(two.entry.model_copy(update={"job": "drill"})), three
        case "resigned":
            return one, replace(two, signature=three.signature), three
        case _:
            return (*chain("gcp"),)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("gone", "entries 2 to 2 are not there"),
        ("edited", "entry 3 does not follow entry 2 as it is"),
        ("resigned", "the signature of entry 2"),
        ("swapped", "its last entry is of repository"),
    ],
)
def test_what_was_done_to_a_ledger_is_said(what: str, words: str) -> None:
    (state,) = states(read("aws", broken(what)))
    assert state.state == "broken"
    assert any(words in b for b in state.breaks), state.breaks


def test_an_adopted_repository_goes_on_with_the_entries_of_the_former_one() -> None:
    (state,) = states(read("aws", chain("gcp"), former_ids=(r.digest("gcp")[:8],)))
    assert state.state == "signed"


def test_others_are_witnesses() -> None:
    aws = chain("aws")
    seen = Head(repository_id=r.digest("aws")[:8], number=2, sha256=aws[1].entry.sha256)
    ours, theirs = states(read("aws", aws), read("gcp", chain("gcp", 1, heads=[seen])))
    assert ours.anchor is not None
    assert (ours.anchor.number, ours.anchor.repository) == (2, "gcp")
    assert theirs.anchor is None
    cut, _ = states(read("aws", aws[:1]), read("gcp", chain("gcp", 1, heads=[seen])))
    assert cut.breaks == ("gcp saw entry 2, and the last one here is 1",)
    other = seen.model_copy(update={"sha256": r.digest("another")})
    forked, _ = states(read("aws", aws), read("gcp", chain("gcp", 1, heads=[other])))
    assert forked.breaks == ("gcp saw another entry 2",)


def test_no_ledger_and_none_that_can_be_read_are_no_green_ticks() -> None:
    none, away = states(read("aws", ()), read("gcp", (), error=RepositoryUnreachable("no answer")))
    assert (none.state, away.state) == ("none", "unreadable")
    told = {c["control"]: c["state"] for c in plain_rows(
        frames(evidence(read("aws", ()), read("gcp", ())))["controls"])}  # fmt: skip
    for control in ("AU-10", "AU-9(2)", "AU-9(3)", "SI-7", "10.3.4"):
        assert told[control] == "not met"


def test_a_run_is_named_only_with_the_digest_that_it_has() -> None:
    world = good()
    end = world.run_ends[0]
    path = f"runs/2026/11/{end.start.run_id}.end.json"
    base = chain("aws", 1)[0].entry
    for digest, number in ((end.sha256, "aws 1"), (r.digest("another"), None)):
        written = Written(path=path, sha256=digest, size_bytes=9)
        entry = signed(base.model_copy(update={"records": (written,)}))
        of = replace(world, ledgers=(read("aws", (entry,)),), signers=TRUSTED)
        (row,) = [
            row for row in plain_rows(frames(of)["runs"]) if row["run_id"] == end.start.run_id
        ]
        assert row["ledger_number"] == number
        assert row["signed_by"] == ("ledger@prod" if number else None)


def test_heads_of_equal_numbers_are_each_of_its_own_repository() -> None:
    """As in every set of three that began together."""
    aws, gcp = chain("aws"), chain("gcp")
    heads = [
        Head(repository_id=r.digest(name)[:8], number=3, sha256=entries[2].entry.sha256)
        for name, entries in (("aws", aws), ("gcp", gcp))
    ]
    all_three = states(read("aws", aws), read("gcp", gcp), read("az", chain("az", heads=heads)))
    assert [s.breaks for s in all_three] == [(), (), ()]


def test_an_entry_of_a_clock_that_is_ahead_is_no_gap() -> None:
    """Two machines write there; the clock of one is ahead of the report's."""
    one, two, three = chain("aws")
    ahead = signed(two.entry.model_copy(update={"at": NOW + hours(1)}))
    after = signed(three.entry.model_copy(update={"previous": ahead.entry.sha256}))
    seen = Head(repository_id=r.digest("aws")[:8], number=2, sha256=ahead.entry.sha256)
    between, _ = states(read("aws", (one, ahead, after)), read("gcp", chain("gcp", heads=[seen])))
    assert (between.breaks, between.state) == ((), "signed")
    last, _ = states(read("aws", (one, ahead)), read("gcp", chain("gcp", heads=[seen])))
    assert (last.breaks, last.state) == ((), "signed")
    assert last.head is not None
    assert last.head.entry.number == 1


def test_a_key_that_ended_cannot_date_its_entries_back() -> None:
    one, two, three = chain("aws")
    back = signed(three.entry.model_copy(update={"at": one.entry.at - hours(9)}))
    ended = AllowedSigner("ledger@prod", KEY.public, LEDGER, valid_before=one.entry.at)
    (state,) = states(read("aws", (one, two, back)), signers=(ended,))
    assert state.signed[2] is not None
    assert state.signed[2].name is None
