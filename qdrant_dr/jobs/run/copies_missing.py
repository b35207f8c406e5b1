"""How many copies, in how many failure domains, make a backup a success. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from qdrant_dr.config import Copies
from qdrant_dr.records import RepositorySeen


def copies_missing(
    committed: Sequence[str], repositories: Sequence[RepositorySeen], copies: Copies
) -> str | None:
    """Say why these copies are too few: below quorum, or in too few failure domains. None if they
    are enough."""
    domains = {r.domain for r in repositories if r.name in committed}
    if len(set(committed)) < copies.quorum:
        return f"{len(set(committed))} of {copies.quorum} copies (quorum)"
    if len(domains) < copies.domains:
        return f"copies in {len(domains)} of {copies.domains} failure domains"
    return None
