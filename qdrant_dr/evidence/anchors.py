"""Heads of one ledger that were written down elsewhere: in other clouds, or by an auditor.

Pure. An anchor that agrees bounds all entries up to it: none of them was changed since. One that
does not agree shows a cut tail, an older copy, or a second history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from qdrant_dr import layout
from qdrant_dr.evidence.check import Check, Examples
from qdrant_dr.evidence.earliest import CLOCKS
from qdrant_dr.records.ledger import LedgerEntry
from qdrant_dr.text import count


@dataclass(frozen=True, slots=True)
class Anchor:
    """Somebody saw this head: `witness` names who and where it is written. They looked between
    `looked_after` and `at`: a run reads heads some time before its entry. `believed`: nothing is
    wrong with the witness itself."""

    number: int
    sha256: str
    witness: str
    at: datetime | None
    looked_after: datetime | None = None
    believed: bool = True


def heads_in(entry: LedgerEntry, witness: str) -> Iterable[tuple[str, Anchor]]:
    """Yield the heads of other repositories that an entry names, by the id of their repository."""
    where = f"entry {entry.number} of {witness}"
    began = layout.time_if_id(entry.run_id or "") or entry.at
    for head in entry.heads:
        yield (
            head.repository_id,
            Anchor(head.number, head.sha256, where, entry.at, min(began, entry.at)),
        )


def judge_anchors(
    hashes: Mapping[int, str], head: int, anchors: Sequence[Anchor], *, known: int = 0
) -> Check:
    """Compare what others saw with the hashes of the entries that are here. `known`: so many others
    could have seen something."""
    if not anchors:
        return _none(known)
    cut, other = Examples(), Examples()
    agreed: list[Anchor] = []
    for anchor in anchors:
        here = hashes.get(anchor.number)
        if here == anchor.sha256:
            agreed.append(anchor)
        elif here is not None:
            other.add(
                f"{anchor.witness} saw entry {anchor.number} as {anchor.sha256[:12]}..., here it "
                f"is {here[:12]}..."
            )
        elif anchor.number > head:
            cut.add(f"{anchor.witness} saw entry {anchor.number}, and entries end at {head} here")
    said = [f"another history was seen: {other}"] if other else []
    if cut:
        said.append(f"the tail was cut off, or this is an older copy: {cut}")
    if said or not agreed:  # what else is missing, the chain says
        return Check(
            "anchors",
            "failed",
            "; ".join(said) or "no entry that others saw is here",
            "by hand: keep both as they are, and find out which of the two was changed: who could "
            "write to which bucket? `qdrant-dr evidence verify` of the other one tells its state.",
        )
    return _agreed(agreed, head)


def _none(known: int) -> Check:
    if known:
        return Check(
            "anchors",
            "doubt",
            f"none of {count(known, 'other repository')} names a head of this one: a cut tail "
            "would not be seen",
            "run `qdrant-dr backup` with all of them configured: each run notes the heads.",
        )
    return Check(
        "anchors",
        "not checked",
        "nothing from outside to compare with: a cut tail, an older copy or a history that was "
        "rewritten with the key would not be seen",
        "`qdrant-dr evidence verify REPOSITORY --against OTHER`, or `--head NUMBER:SHA256` of a "
        "head that you noted.",
    )


def _agreed(agreed: Sequence[Anchor], head: int) -> Check:
    newest = max([a for a in agreed if a.believed] or agreed, key=lambda a: a.number)
    if not newest.believed:
        return Check(
            "anchors",
            "doubt",
            f"{newest.witness} saw entry {newest.number} as it is, but that ledger is in doubt "
            "itself",
            "`qdrant-dr evidence verify` of the other repository tells what is wrong with it.",
        )
    until = f" at {newest.at:%Y-%m-%d %H:%M:%S} UTC" if newest.at else ""
    left = head - newest.number
    rest = f"; {count(left, 'entry')} after it: on the word of this ledger alone" if left else ""
    return Check(
        "anchors",
        "ok",
        f"{newest.witness} saw entry {newest.number} as it is{until}: nothing up to there was "
        f"changed since{rest}",
    )


def _went_back(highest: Anchor, later: Anchor) -> bool:
    """Whether a later look saw less. Runs at the same time look in any order."""
    if later.number >= highest.number or highest.at is None or not later.looked_after:
        return False
    return later.looked_after > highest.at + CLOCKS


def judge_others(heads: Mapping[str, Sequence[Anchor]]) -> Check | None:
    """Compare what this ledger itself saw of each other one over time; None if it saw nothing. A
    head that went back, or two hashes of one number, tell of the other one."""
    wrong = Examples()
    for repository_id, seen in heads.items():
        hashes: dict[int, Anchor] = {}
        highest: Anchor | None = None
        for anchor in seen:
            first = hashes.setdefault(anchor.number, anchor)
            if first.sha256 != anchor.sha256:
                wrong.add(
                    f"repository {repository_id} has had two histories: {first.witness} saw entry "
                    f"{anchor.number} as {first.sha256[:12]}..., {anchor.witness} as "
                    f"{anchor.sha256[:12]}..."
                )
            if highest is not None and _went_back(highest, anchor):
                wrong.add(
                    f"repository {repository_id} went back from entry {highest.number} "
                    f"({highest.witness}) to {anchor.number} ({anchor.witness})"
                )
            if highest is None or anchor.number > highest.number:
                highest = anchor
    if wrong:
        return Check(
            "others",
            "failed",
            str(wrong),
            "by hand: `qdrant-dr evidence verify` of that repository with `--against` this one "
            "tells what is there now; an older version of its bucket, what was.",
        )
    if not heads:
        return None
    told = ", ".join(f"{i} to {s[-1].number}" for i, s in heads.items() if s)
    return Check("others", "ok", f"heads of others never went back here: {told}")
