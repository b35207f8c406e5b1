"""Sizes by day, what limits them, and what the forecast says in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from qdrant_dr.layout import pack
from qdrant_dr.records import Manifest, Part, SourceNode
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.frames.build import Assessment, build_frames
from qdrant_dr.report.page.html import render
from qdrant_dr.repository import Backup, Stat
from tests.support import records as r
from tests.support.pages import page
from tests.support.records import NOW, days, hours
from tests.support.worlds import evidence, frames

G = 2**30


def grown(sizes: Sequence[float], name: str = "movies") -> list[Manifest]:
    """A backup a day, the last 2 h ago, of so many GiB."""
    last = len(sizes) - 1
    return [
        r.manifest(name, NOW - days(last - n) - hours(2), size_bytes=int(size * G))
        for n, size in enumerate(sizes)
    ]


def world(made: Sequence[Manifest], **sections: Any) -> Evidence:
    config = r.config(**sections) if sections else None
    proofs = [r.proof(m, where) for m in made for where in ("aws", "gcp")]
    return evidence({"aws": list(made), "gcp": list(made)}, config=config, proofs=proofs)


def spool(size: str) -> dict[str, Any]:
    return {"capture": {"spool": {"max": size}}}


def line(of: Evidence, kind: str = "collection", subject: str = "movies") -> dict[str, Any]:
    table = frames(of)["forecasts"]
    (only,) = table[(table["kind"] == kind) & (table["subject"] == subject)].to_dict("records")
    return dict(only)


def test_the_last_size_of_a_day_counts() -> None:
    early = r.manifest(at=NOW - hours(5), size_bytes=10)
    late = r.manifest(at=NOW - hours(3), size_bytes=20)
    table = frames(world([early, late]))["sizes"]
    mine = table[table["kind"] == "collection"].to_dict("records")
    assert [(m["backup_id"], m["size_bytes"]) for m in mine] == [(late.backup_id, 20)]
    assert mine[0]["day"] == pd.Timestamp("2026-11-22", tz="UTC")
    stored = table[(table["kind"] == "repository") & (table["subject"] == "aws")]
    assert list(stored["size_bytes"]) == [30]


def test_a_chunked_repository_grows_by_what_each_night_adds() -> None:
    made = grown([10, 10, 10, 10, 10, 10])
    of = world(made)
    sizes = [10 * G, *[G // 10] * 5]
    packs = tuple(
        Stat(pack(m.cluster, m.collection, f"{m.backup_id}-1"), size, m.transferred_at)
        for m, size in zip(made, sizes, strict=True)
    )

    def stored(backup: Backup) -> Backup:
        copies = (replace(c, stored_bytes=0) if c.repository == "aws" else c for c in backup.copies)
        return replace(backup, copies=tuple(copies))

    blocks = replace(
        of.catalog,
        backups=tuple(stored(b) for b in of.catalog.backups),
        packs={"aws": packs},
        repositories=tuple(
            replace(s, layout="chunked" if s.name == "aws" else "plain")
            for s in of.catalog.repositories
        ),
    )
    chunked = replace(of, catalog=blocks)
    assert line(chunked, "repository", "gcp")["growth_bytes_per_day"] == pytest.approx(10 * G)
    assert line(chunked, "repository", "aws")["growth_bytes_per_day"] == pytest.approx(G / 10)
    assert line(chunked, "repository", "aws")["size_bytes"] == sum(sizes)
    (told,) = chunked.vaults
    assert (told.repository, told.stored_bytes, told.packs) == ("aws", sum(sizes), 6)
    words = page(chunked).words
    assert "Repositories that store each block once" in words
    assert "Repositories that store each block once" not in page(of).words
    copies = frames(chunked)["copies"]
    mine = copies[copies["repository"] == "aws"]
    assert list(mine["layout"]) == ["chunked"] * 6
    assert mine["shared_bytes"].isna().all()  # nothing was measured
    assert list(copies[copies["repository"] == "gcp"]["layout"]) == ["plain"] * 6


def test_few_days_are_no_forecast() -> None:
    got = line(world(grown([1, 2, 3, 4])))
    assert got["not_measured"] == "4 of 5 days"
    missing = [
        "growth_bytes_per_day",
        "expected_bytes",
        "expected_low",
        "days_left",
        "days_left_low",
    ]
    assert all(pd.isna(got[name]) for name in missing)
    assert "No size was measured on enough days" in page(world(grown([1, 2]))).words


def test_growth_and_the_days_until_the_spool_is_full() -> None:
    got = line(world(grown([10, 12, 14, 16, 18, 20]), **spool("40GiB")))
    assert got["growth_bytes_per_day"] == 2 * G
    assert got["limit_name"] == "capture.spool.max"
    # 2 h after the last backup
    assert abs(got["days_left"] - (10 - 2 / 24)) < 0.01
    assert pd.isna(got["not_measured"])


def test_a_limit_near_the_lower_bound_is_a_finding() -> None:
    sizes = [10, 13, 13, 17, 17, 21]
    near = Assessment.of(world(grown(sizes), **spool("40GiB"))).problems
    (found,) = [p for p in near if "capture.spool.max" in p.scope]
    assert found.severity == "warning"
    assert found.what.startswith("the next backup may reach 40.00 GiB in ")
    far = Assessment.of(world(grown(sizes), **spool("200GiB"))).problems
    assert not [p for p in far if "capture.spool.max" in p.scope]
    flat = Assessment.of(world(grown([3] * 6), **spool("4GiB"))).problems
    assert not [p for p in flat if "capture.spool.max" in p.scope]
    full = Assessment.of(world(grown([3] * 6), **spool("3GiB"))).problems
    (now,) = [p for p in full if "capture.spool.max" in p.scope]
    assert "may reach 3.00 GiB now" in now.what


def cut(of: Manifest, node_bytes: int) -> Manifest:
    """As a cluster makes it: two shards, cut out of the files of two nodes."""
    at = of.captured_at
    half = of.size_bytes // 2
    parts = tuple(
        Part(
            name=f"shard-{n}", kind="shard", shards=(n,), wal=True, size_bytes=half,
            sha256=r.digest(f"{at}{n}"), node=f"http://10.0.0.{n}:6333", reframed=True, peer_id=n,
            server_name="x.snapshot", server_size_bytes=node_bytes,
            asked_at=at + timedelta(seconds=n), answered_at=at + timedelta(seconds=n + 3),
        )
        for n in (0, 1)
    )  # fmt: skip
    shards = tuple(of.shards[0].model_copy(update={"shard": n}) for n in (0, 1))
    return of.model_copy(update={"parts": parts, "shards": shards})


def test_the_space_of_a_node_is_for_the_file_that_it_makes() -> None:
    made = [cut(m, m.size_bytes * 3 // 4) for m in grown([10, 12, 14, 16, 18, 20])]
    cluster = {"name": "prod", "nodes": ["http://127.0.0.1:6333"], "node_space": "20GiB"}
    seals = evidence({"aws": made, "gcp": made}, config=r.config(cluster=cluster), seals=[])
    got = line(seals, "node")
    assert got["size_bytes"] == 15 * G
    assert got["growth_bytes_per_day"] == 1.5 * G
    assert got["limit_name"] == "cluster.node_space"
    assert "node" not in set(frames(world(grown([1] * 6)))["forecasts"]["kind"].astype(str))
    row = frames(seals)["backups"].iloc[-1]
    assert (row["parts_count"], row["nodes_count"], row["skew_seconds"]) == (2, 2, 4)
    assert "2 parts from 2 nodes, up to 4 s apart" in page(seals).words


def test_what_a_repository_holds_adds_up_and_has_no_limit() -> None:
    got = line(world(grown([1] * 6)), "repository", "gcp")
    assert (got["size_bytes"], got["growth_bytes_per_day"]) == (6 * G, G)
    assert pd.isna(got["limit_bytes"])
    assert pd.isna(got["days_left"])


def test_where_backups_were_removed_the_past_of_a_repository_is_unknown() -> None:
    made = grown([1] * 7)
    ends = [r.run_end(outcomes=tuple(r.captured(m) for m in made))]
    gone = evidence({"aws": made[1:], "gcp": made}, ends=ends)
    assert line(gone, "repository", "aws")["not_measured"] == "1 backup removed meanwhile"
    assert pd.isna(line(gone, "repository", "aws")["growth_bytes_per_day"])
    assert line(gone, "repository", "gcp")["growth_bytes_per_day"] == G


def test_another_incarnation_has_another_history() -> None:
    old, new = grown([50] * 3), grown([1] * 6)
    former = [
        m.model_copy(update={"incarnation": "00000000", "captured_at": m.captured_at - days(9)})
        for m in old
    ]
    assert line(world([*former, *new]))["measured_count"] == 6


def test_unreachable_and_excluded_have_no_series() -> None:
    made = grown([1] * 6)
    config = r.config(collections={"exclude": [{"match": "movies", "reason": "rebuilt"}]})
    got = evidence({"aws": made, "gcp": made}, config=config, unreachable=["gcp"])
    told = frames(got)["forecasts"]
    assert list(told["subject"]) == ["aws"]


def test_nodes_of_different_versions_are_a_finding() -> None:
    nodes = tuple(
        SourceNode(url=f"http://{v}", peer_id=n, version=v, clock_offset_ms=0)
        for n, v in enumerate(("1.18.3", "1.17.1"))
    )
    made = r.manifest(sources=nodes)
    (found,) = [p for p in Assessment.of(world([made])).problems if "versions" in p.what]
    assert found.what == "captured from nodes of different versions: 1.17.1, 1.18.3"


def test_the_chart_has_a_band_and_is_the_same_every_time() -> None:
    def once() -> bytes:
        assessment = Assessment.of(world(grown([10, 13, 13, 17, 17, 21]), **spool("40GiB")))
        return render(assessment, build_frames(assessment))

    text = once().decode()
    assert text == once().decode()
    assert text.count('class="band"') == 3
    assert text.count('class="limit"') == 1
    assert "capture.spool.max" in text
