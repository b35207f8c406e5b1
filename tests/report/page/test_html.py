"""The page: complete, in order, escaped, without anything from elsewhere, equal on every run."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from qdrant_dr.errors import RecordDamaged
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.finding import Problem
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.frames.build import build_frames
from qdrant_dr.report.page import html
from qdrant_dr.report.page.html import headline, render, tiles
from qdrant_dr.repository import Unreadable
from qdrant_dr.text import visible
from tests.support import records as r
from tests.support.pages import Page, page
from tests.support.records import NOW, days, hours
from tests.support.worlds import evidence, good

NASTY = "<script>alert(1)</script>"


def test_the_order_is_that_of_the_reader() -> None:
    got = page(good())
    assert got.headings == [
        "1 of 1 collection restorable, proven within 8 d",
        "Protected", "Worst recovery point", "Worst recovery time", "Below quorum",
        "Findings", "Collections", "Measured",
        "Restore time against the objective", "Size of backups over time",
        "What is to come", "Age of the newest proof, by collection and repository", "Drills",
        "Runs", "Controls", "SOC 2", "ISO 27001", "NIST SP 800-53", "DORA", "HIPAA 164.308",
        "PCI DSS", "CIS Controls", "Scope and evidence", "Repositories", "Ledgers",
        "Excluded collections",
        "Records that could not be read", "How much was checked", "Objectives and versions",
        "Sign-off",
    ]  # fmt: skip
    assert "As of 2026-11-22 12:00:00 UTC, for the 30 d since 2026-10-23 12:00:00 UTC" in got.words
    assert got.tags.count("svg") == 3


def test_names_are_text_never_markup() -> None:
    m = r.manifest(NASTY)
    end = r.run_end(
        verdict="failed", reasons=(f"{NASTY} failed",), seen=(r.seen(NASTY), r.seen("tmp_<b>"))
    )
    config = r.config(
        collections={
            "exclude": [{"match": "tmp_*", "reason": "<img src=x>"}],
            "overrides": [{"match": "*", "owner": "<i>me</i>"}],
        },
        drill={"isolation": "<u>vpc</u>"},
    )
    drill = r.run_end(r.run_start("drill", NOW - hours(1)), outcomes=(r.drilled(m),))
    got = page(evidence({"aws": [m], "gcp": [m]}, config=config, ends=[end, drill]))
    assert not {"script", "img", "i", "u", "b"} & set(got.tags) - {"i"}
    assert NASTY in got.words
    assert "<i>me</i>" in got.words
    assert "<img src=x>" in got.words


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "\u202egnp.evil", "x\x00y", "\x9b31m", "l\u2028m"])
def test_a_name_turns_no_direction_and_controls_nothing(name: str) -> None:
    m = r.manifest(name, NOW - hours(3))
    drill = r.run_end(r.run_start("drill", NOW - hours(1)), outcomes=(r.drilled(m),))
    assessment = Assessment.of(evidence({"aws": [m], "gcp": [m]}, ends=[drill]))
    text = render(assessment, build_frames(assessment)).decode()
    assert visible(name) in text
    assert visible(text) == text


def test_nothing_is_loaded_from_elsewhere() -> None:
    assessment = Assessment.of(good())
    text = render(assessment, build_frames(assessment)).decode()
    got = Page(text)
    assert got.links == []
    assert not re.search(r"url\(|@import|https?://", text)
    assert "default-src 'none'" in text


def test_the_same_evidence_gives_the_same_bytes() -> None:
    def once() -> bytes:
        assessment = Assessment.of(good("a", "b", "c"))
        return render(assessment, build_frames(assessment))

    assert once() == once()


def test_the_sandbox_never_passes_for_a_server() -> None:
    m = r.manifest(source_kind="sandbox")
    drill = r.run_end(
        r.run_start("drill", NOW - hours(1), source_kind="sandbox"),
        outcomes=(r.drilled(m, target_kind="sandbox"),),
    )
    sandbox = evidence({"aws": [m], "gcp": [m]}, ends=[drill], proofs=[r.proof(m)])
    assert "The source is the demonstration server" in page(sandbox).words
    assert "The source is the demonstration server" not in page(good()).words
    assert tiles_of(sandbox)["Worst recovery time"] == "not measured"


def tiles_of(of: Evidence) -> dict[str, str]:
    return {t.name: t.value for t in tiles(Assessment.of(of), ZoneInfo("UTC"))}


def test_the_summary_is_the_strictest_view() -> None:
    proven, bare = r.manifest("a"), r.manifest("b")
    held = {"aws": [proven, bare], "gcp": [proven, bare]}
    got = evidence(held, proofs=[r.proof(proven)], unreachable=["gcp"], unreadable=[
        Unreadable("aws", "x.json", RecordDamaged("cut"))
    ])  # fmt: skip
    assert tiles_of(got) == {
        "Protected": "0 of 2",
        "Worst recovery point": "none",
        "Worst recovery time": "not measured",
        "Below quorum": "2",
    }
    assert headline(Assessment.of(got)) == (
        "1 of 2 collections restorable, proven within 8 d; 2 need action; "
        "1 of 2 repositories could not be read; 1 record could not be read"
    )


def test_a_critical_finding_outside_collections_reaches_the_headline() -> None:
    m = r.manifest()
    quiet = good(
        ends=[r.run_end(seen=(r.seen("movies"),), outcomes=(r.captured(m),), verdict="failed")]
    )
    assert headline(Assessment.of(quiet)).endswith("1 critical finding")


def test_reasons_gaps_and_unreadable_records_are_printed() -> None:
    ends = [
        r.run_end(r.run_start("backup", NOW - days(n)), seen=(r.seen("tmp_a", "excluded"),))
        for n in (6, 5, 1)
    ]
    config = r.config(collections={"exclude": [{"match": "tmp_*", "reason": "rebuilt nightly"}]})
    broken = Unreadable("aws", "proofs/prod/odd.json", RecordDamaged("it is cut"))
    words = page(evidence(config=config, ends=ends, unreadable=[broken])).words
    assert "rebuilt nightly (rule tmp_*)" in words
    assert "No backup run began from" in words
    assert re.search(r"2026-11-17 12:00:00 UTC\s*2026-11-21 12:00:00 UTC\s*4 d", words)
    assert "proofs/prod/odd.json" in words
    assert "record-damaged: it is cut" in words


def test_times_are_in_the_configured_zone() -> None:
    berlin = r.config(report={"timezone": "Europe/Berlin"})
    assert "As of 2026-11-22 13:00:00 CET" in page(good(config=berlin)).words


def test_read_back_is_never_called_recovery() -> None:
    m = r.manifest()
    drill = r.run_end(r.run_start("drill", NOW - hours(1)), outcomes=(r.drilled(m, engine="edge"),))
    words = page(evidence({"aws": [m], "gcp": [m]}, ends=[drill], proofs=[r.proof(m)])).words
    assert "read-back, no recovery time" in words
    assert "No restore into a server was measured" in words


def test_a_report_without_evidence_still_renders() -> None:
    got = page(evidence(unreachable=["aws", "gcp"]))
    assert "2 of 2 repositories could not be read" in got.headings[0]
    assert "a missing one would not be noticed" in got.words


def test_long_lists_say_what_they_leave_out() -> None:
    names = [f"c{n:02}" for n in range(40)]
    words = page(good(*names)).words
    assert "25 of 40 collections shown" in words
    assert "12 of 40 collections shown" in words
    assert "The last 10 of 40" in words
    assert all(n in words for n in names)


def second_copy(depth: str, captured: float) -> str:
    """What the picture says of a copy that was proven to `depth` only, the other to its content."""
    m = r.manifest("movies", NOW - days(captured))
    proofs = [r.proof(m, "aws"), r.proof(m, "gcp", depth=depth)]
    of = evidence({"aws": [m], "gcp": [m]}, proofs=proofs)
    return render(Assessment.of(of), build_frames(Assessment.of(of))).decode()


def test_a_copy_that_is_proven_deeper_in_turn_is_not_too_shallow() -> None:
    """Each night proves one copy to its content and the others to every byte."""
    fresh = second_copy("bytes", 0.5)
    assert 'class="cell l-due"' in fresh
    assert 'class="cell l-late"' not in fresh
    assert "every byte proven; content is due by 2026-11-30" in fresh
    old = second_copy("bytes", 9)
    assert 'class="cell l-due"' not in old
    assert 'class="cell l-late"' in old
    assert 'class="cell l-late"' in second_copy("presence", 0.5)


def test_the_page_links_to_the_tables_beside_it() -> None:
    assessment = Assessment.of(good())
    frames = build_frames(assessment)
    got = Page(render(assessment, frames, [f"{name}.csv" for name in frames]).decode())
    assert got.links == [f"{name}.csv" for name in frames]
    assert page(good()).links == []


def test_the_rules_for_narrow_screens_are_not_for_paper() -> None:
    css = (Path(html.__file__).parent / "report.css").read_text()
    narrow = [q for q in re.findall(r"@media ([^{]+){", css) if "width" in q]
    assert narrow
    assert all("screen" in q for q in narrow)


class Tables(HTMLParser):
    """Caption, heads and, for each row, the labels of its cells and how many columns it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.captions: list[str] = []
        self.heads: list[list[str]] = []
        self.rows: list[tuple[int, list[str | None]]] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.captions.append("")
            self.heads.append([])
        elif tag == "tr":
            self.rows.append((len(self.heads) - 1, []))
        elif tag == "th":
            self.heads[-1].append("")
        elif tag == "td" and "colspan" not in dict(attrs):
            self.rows[-1][1].append(dict(attrs).get("data-label"))
        if tag in ("caption", "th"):
            self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, data: str) -> None:
        if self.inside == "caption":
            self.captions[-1] += data
        elif self.inside == "th":
            self.heads[-1][-1] += data


def full_page() -> str:
    """A page with every table that there is."""
    m = r.manifest("movies")
    failed = r.run_end(r.run_start("verify", NOW - hours(3)), verdict="failed", reasons=("why",))
    drill = r.run_end(r.run_start("drill", NOW - hours(1)), outcomes=(r.drilled(m),))
    early = r.run_end(r.run_start("backup", NOW - days(9)), outcomes=(r.captured(m),))
    lost = Unreadable("aws", "proofs/x.json", RecordDamaged("cut", "look."))
    of = good(ends=[failed, drill, early], unreadable=[lost])
    assessment = Assessment.of(of)
    return render(assessment, build_frames(assessment)).decode()


def test_every_table_has_a_caption_and_every_cell_the_name_of_its_column() -> None:
    """On a narrow screen a row is a list, where nothing but the name tells what a value is."""
    found = Tables(full_page())
    assert len(found.captions) >= 6
    assert all(caption.strip().endswith(".") for caption in found.captions)
    body = [(found.heads[table], labels) for table, labels in found.rows if labels]
    assert len(body) >= 6
    assert all(labels == heads for heads, labels in body)


def test_the_template_has_no_table_without_them() -> None:
    """Also the tables that this test makes no rows for."""
    text = (Path(html.__file__).parent / "template.html.j2").read_text()
    tables = re.findall(r"<table.*?</table>", text, re.DOTALL)
    assert len(tables) >= 10
    for table in tables:
        assert table.count("<caption>") == 1
        heads = [re.sub(r"<[^>]+>", "", h) for h in re.findall(r"<th\b.*?</th>", table)]
        assert set(heads) == set(re.findall(r'data-label="([^"]+)"', table))


def test_moments_have_seconds_and_a_zone() -> None:
    for moment in re.findall(r"\b\d{4}-\d\d-\d\d \d\d:\d\d\S*( \w+)?", full_page()):
        assert moment == " UTC"
    assert not re.search(r"\d\d:\d\d(?!:| UTC|\d)", Page(full_page()).words)


def test_a_sandbox_without_a_recovery_time_is_no_warning_and_a_server_is() -> None:
    def tone(kind: str) -> str:
        m = r.manifest("movies", source_kind=kind)
        start = r.run_start("drill", NOW - hours(1), source_kind=kind)
        drill = r.run_end(start, outcomes=(r.drilled(m, target_kind="sandbox"),))
        proofs = [r.proof(m, where) for where in ("aws", "gcp")]
        of = Assessment.of(evidence({"aws": [m], "gcp": [m]}, proofs=proofs, ends=[drill]))
        (tile,) = (t for t in tiles(of, ZoneInfo("UTC")) if t.name == "Worst recovery time")
        assert tile.value == "not measured"
        return tile.tone

    assert tone("sandbox") == "plain"
    assert tone("server") == "warn"


def test_only_a_command_looks_like_one() -> None:
    """What a person must decide is said in words; the commands in it stand out."""
    kinds = {"run": "qdrant-dr drill movies", "person": "by hand: free it. then `qdrant-dr check`."}
    problems = [
        Problem("notice", kind, kind, "what", None, "all", step) for kind, step in kinds.items()
    ]
    assessment = replace(Assessment.of(good()), problems=tuple(problems))
    text = render(assessment, build_frames(assessment)).decode()
    text = re.sub(r"</?span>", "", text)
    assert "<code>qdrant-dr drill movies</code>" in text
    assert "by hand: free it. then <code>qdrant-dr check</code>." in text
