"""Evidence for tests of reports, from hand-made records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from qdrant_dr.config import Config
from qdrant_dr.records import Acknowledgement, Manifest, Proof, RunEnd, RunStart, Seal
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.frames.build import build_frames
from tests.support import records as r
from tests.support.records import NOW, days, hours


def evidence(
    held: Mapping[str, Sequence[Manifest]] | None = None,
    *,
    config: Config | None = None,
    seals: Iterable[Seal] | None = None,
    proofs: Iterable[Proof] = (),
    ends: Iterable[RunEnd] = (),
    starts: Iterable[RunStart] = (),
    as_of: Any = NOW,
    period: Any = None,
    acknowledged: Iterable[Acknowledgement] = (),
    **catalog: Any,
) -> Evidence:
    """Evidence of these copies; every backup is sealed unless `seals` says which."""
    held = {"aws": [], "gcp": []} if held is None else held
    every = {m.key: m for copies in held.values() for m in copies}.values()
    return Evidence(
        config=config or r.config(*held),
        as_of=as_of,
        period=period or days(30),
        catalog=r.catalog(
            held,
            seals=[r.seal(m) for m in every] if seals is None else seals,
            proofs=proofs,
            **catalog,
        ),
        ledgers=(),
        run_starts=tuple(starts),
        run_ends=tuple(ends),
        acknowledgements=tuple(acknowledged),
    )


def good(*collections: str, **fields: Any) -> Evidence:
    """Everything promised holds: backed up 2 h ago, both copies proven, drilled 1 h ago."""
    names = collections or ("movies",)
    made = [r.manifest(n) for n in names]
    end = r.run_end(
        outcomes=tuple(r.captured(m) for m in made), seen=tuple(r.seen(n) for n in names)
    )
    drill = r.run_end(
        r.run_start("drill", NOW - hours(1)), outcomes=tuple(r.drilled(m) for m in made)
    )
    body: dict[str, Any] = {
        "proofs": [r.proof(m, where) for m in made for where in ("aws", "gcp")],
        "ends": [end, drill],
    }
    return evidence({"aws": made, "gcp": made}, **{**body, **fields})


def frames(of: Evidence) -> dict[str, pd.DataFrame]:
    return build_frames(Assessment.of(of))


def row(of: Evidence, collection: str = "movies") -> dict[str, Any]:
    """The collection's row of the frame `collections`."""
    frame = frames(of)["collections"]
    found = frame[frame["collection"] == collection]
    assert len(found) == 1
    return dict(found.iloc[0])


def said(of: Evidence) -> list[tuple[str, str, str]]:
    """Severity, scope and words of all findings."""
    frame = frames(of)["findings"]
    return list(frame[["severity", "scope", "what"]].itertuples(index=False, name=None))
