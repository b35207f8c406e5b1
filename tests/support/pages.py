"""A page, as text and as its parts."""

from __future__ import annotations

from html.parser import HTMLParser

from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.frames.build import build_frames
from qdrant_dr.report.page.html import render


class Page(HTMLParser):
    """Words, headings, and every address the page names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.headings: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "action")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += data
            if self.open and self.open[-1] in ("h1", "h2", "h3") and data.strip():
                self.headings.append(data.strip())


def page(of: Evidence) -> Page:
    assessment = Assessment.of(of)
    text = render(assessment, build_frames(assessment)).decode()
    parsed = Page(text)
    assert parsed.open == []
    return parsed
