"""Say which servers are supported, and how that was tried. `docs/qdrant.md` says the same."""

from __future__ import annotations

import re
from dataclasses import dataclass

TRIED = ("1.18.3",)
"""Real servers of these versions were run, on one node, on three, and with snapshots in S3."""
TRIED_ENGINE = "0.9"
READ = (1, 20)
"""Up to here what changes for backups was read: the source of 1.19, the API of 1.20."""
OLDEST = (1, 16)
"""Storage of older servers is not read by 1.18 and later, however it was backed up."""


@dataclass(frozen=True, slots=True)
class Support:
    """What is known of one server version. `hint`: what an operator should do, if anything."""

    words: str
    hint: str | None = None


def support_of(server_version: str) -> Support:
    """Return what is known of backups of a server of this version. Pure."""
    minor = minor_of(server_version)
    if minor is None:
        return Support(
            f"{server_version!r} is no release: nothing is known of it",
            "compare a drill with the source before you rely on its backups.",
        )  # fmt: skip
    if server_version.removeprefix("v") in TRIED:
        return Support(f"{server_version} was tried with engine {TRIED_ENGINE}")
    near = next((tried for tried in TRIED if minor_of(tried) == minor), None)
    if near is not None:
        return Support(f"{server_version}: of its minor version, {near} was tried")
    if minor < OLDEST:
        return Support(
            f"{server_version} was not tried, and 1.18 and later cannot read its storage",
            "upgrade the cluster one minor version at a time, at least to 1.16.",
        )  # fmt: skip
    if minor > READ:
        return Support(
            f"{server_version} is newer than all that was tried ({TRIED[-1]}) or read",
            "look for a newer qdrant-dr; until then, rely on drills alone.",
        )  # fmt: skip
    return Support(f"{server_version} was not run with qdrant-dr, {TRIED[-1]} was: drill it first")


def minor_of(version: str) -> tuple[int, int] | None:
    """Parse major and minor of a version such as `1.18.3`; None if the text is no version."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None
