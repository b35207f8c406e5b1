"""The pages that go with a bundle: in a wheel beside this module, in a checkout among the docs."""

from __future__ import annotations

from pathlib import Path

PAGES = ("audit.md", "verify-by-hand.md")


def by_hand_pages() -> dict[str, bytes]:
    """Return how an auditor asks, and how to check everything without this program."""
    here = Path(__file__).resolve().parent
    folder = here / "pages"
    if not folder.is_dir():
        folder = here.parents[1] / "docs"
    return {name: (folder / name).read_bytes() for name in PAGES}
