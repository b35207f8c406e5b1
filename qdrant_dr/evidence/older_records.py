"""Records of before the ledger, of which its first entry has only one digest of their listing.

Pure. What entries removed of them since counts as if it were still there, so that what is gone
without an entry shows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import Final

from qdrant_dr import layout
from qdrant_dr.evidence.named import Names
from qdrant_dr.records.ledger import Since
from qdrant_dr.text import count

_TRIED: Final = 10
"""Of so many records that a later entry names, each choice is tried."""


@dataclass(frozen=True, slots=True)
class OlderRecords:
    """Which of the records that no entry names lay there before the first one, and what of those is
    `wrong`; `known` is for a sentence that says that all is well."""

    paths: frozenset[str] = frozenset()
    known: str = ""
    wrong: str | None = None


def judge_older(
    present: Mapping[str, int], unnamed: Mapping[str, int], names: Names
) -> OlderRecords:
    """Compare what is left of them, and what entries removed, with what the first entry saw.
    `present` are all records that are there, with their sizes; `unnamed` those that no entry
    names."""
    since = names.since
    if since is None or since.listing_sha256 is None:
        return OlderRecords()
    gone = names.older_removed
    there = {p: size for p, size in unnamed.items() if _is_older(p, since.at)}
    paths = frozenset(there.keys() - gone.keys())
    began = f"{since.at:%Y-%m-%d %H:%M} UTC, when entries began"
    for listed in _may_be_it({**there, **gone}, present, names, since):
        by = _agrees(listed, since)
        if by is not None:
            left = f", of which {len(gone)} are gone, as entries say" if gone else ""
            said = f"; {count(since.records_count, 'record')} of before {began}{left}: by {by} only"
            return OlderRecords(paths, said)
    missing = since.records_count - len({**there, **gone, layout.REPOSITORY: 0})
    return OlderRecords(
        paths,
        wrong=f"{missing} of {count(since.records_count, 'record')} of before {began} are gone, "
        "and no entry says why"
        if missing > 0
        else f"the records of before {began} are not the {since.records_count} that the first "
        "entry saw: of another size, or others",
    )


def _may_be_it(
    known: Mapping[str, int | None], present: Mapping[str, int], names: Names, since: Since
) -> Iterator[Mapping[str, int | None]]:
    """What the first entry can have listed: with `repository.json` unless it named that itself, and
    with some of what later entries name of before: of runs that went on just then, or all of it, as
    every record of a bucket that was copied is found once more."""
    again = {
        path: named.size_bytes
        for which in (names.removed, names.records)
        for path, named in which.items()
        if path not in names.first and path not in known and path != layout.REPOSITORY
        and _is_older(path, since.at)
    }  # fmt: skip
    own = {p: size for p, size in present.items() if p == layout.REPOSITORY}
    for more in (own, {}):
        base = {**more, **known}
        some = since.records_count - len(base)
        if None in known.values():  # entries of before sizes were noted: it can only be counted
            yield base
            return
        if some in (0, len(again)) or 0 < some < len(again) <= _TRIED:
            for chosen in combinations(again, some):
                yield {**base, **{path: again[path] for path in chosen}}


def _agrees(listed: Mapping[str, int | None], since: Since) -> str | None:
    """By what these are the records that the first entry saw; None if they are others."""
    if None in listed.values():
        return "number" if len(listed) == since.records_count else None
    lines = "".join(f"{size}  {path}\n" for path, size in sorted(listed.items()))
    same = hashlib.sha256(lines.encode()).hexdigest() == since.listing_sha256
    return "name and size" if same else None


def _is_older(path: str, at: datetime) -> bool:
    made = layout.time_if_id(path.rpartition("/")[2].partition(".")[0])
    if made is None and (taken := layout.read_backup_path(path)) is not None:
        made = layout.time_if_id(taken.backup_id)
    return made is None or made <= at
