"""Which names in a repository are ours, and which a stranger's."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qdrant_dr.layout.names import (
    ACKNOWLEDGED,
    ALLOWED_SIGNERS,
    BACKUPS,
    BUNDLES,
    CALL_FILE,
    EVIDENCE,
    EXPIRED,
    HOLDS,
    ID,
    KEYS,
    PACK_FILE,
    PACKS,
    PROBES,
    PROOFS,
    REPOSITORY,
    RUNS,
    SAFE_NAME,
    UNDO,
    WATCHES,
)

_PART = r"^[A-Za-z0-9][A-Za-z0-9.-]{0,99}\.(snapshot|recipe)$"
_CLUSTER = SAFE_NAME.pattern
_SLUG = r"^[a-z0-9][a-z0-9-]{0,39}-[0-9a-f]{8}$"
_RECORD = r"^\d{8}T\d{6}Z-[0-9a-f]{6}\.json$"
_YEAR, _MONTH = r"^\d{4}$", r"^\d\d$"
_SHAPES = {
    top: tuple(map(re.compile, steps))
    for top, steps in {
        BACKUPS: (
            _CLUSTER, _SLUG, ID.pattern,
            rf"{CALL_FILE.pattern}|^(manifest|seal)\.json$|{_PART}",
        ),
        PACKS: (_CLUSTER, _SLUG, PACK_FILE.pattern),
        KEYS: (r"^[0-9a-f]{16}$", _RECORD),
        PROOFS: (_CLUSTER, _SLUG, ID.pattern, _RECORD),
        HOLDS: (_CLUSTER, _SLUG, ID.pattern, _RECORD),
        EXPIRED: (_CLUSTER, _SLUG, ID.pattern, _RECORD),
        RUNS: (_YEAR, _MONTH, r"^\d{8}T\d{6}Z-[0-9a-f]{6}\.(start|end)\.json$"),
        WATCHES: (_CLUSTER, _YEAR, _MONTH, _RECORD),
        ACKNOWLEDGED: (_CLUSTER, _RECORD),
        EVIDENCE: (r"^\d{7}$", r"^\d{10}\.json(\.sig|\.tsr)?$"),
        UNDO: (
            _CLUSTER, _SLUG, ID.pattern, r"^(undo|settled|(settled|part)-[1-9]\d{0,5})\.json$",
        ),
        BUNDLES: (rf"^({BACKUPS}|{PROOFS}|{EXPIRED}|{RUNS})$", _CLUSTER, r"^[0-9a-f]{32}\.bundle$"),
    }.items()
}  # fmt: skip
"""What the steps of a path below each top folder look like."""
FOLDERS = tuple(_SHAPES)


def is_ours(path: str) -> bool:
    """Whether one of us may have written an object of this name; anything else is a stranger's."""
    top, *steps = path.split("/")
    if not steps or path == ALLOWED_SIGNERS:
        return path in (REPOSITORY, ALLOWED_SIGNERS)
    if top == PROBES:
        return True
    shape = _SHAPES.get(top, ())
    return len(steps) == len(shape) and _fit(steps, shape)


def may_hold_ours(folder: str) -> bool:
    """Whether an object of ours may lie below this folder, at any depth."""
    top, *steps = folder.split("/")
    if top == PROBES:
        return True
    shape = _SHAPES.get(top, ())
    return len(steps) < len(shape) and _fit(steps, shape)


def in_our_place(path: str) -> bool:
    """Whether an object of this name is ours, or stands where a folder of ours would (a link to one
    that was moved): what that hides is missed, so it is no stranger."""
    return is_ours(path) or may_hold_ours(path)


def _fit(steps: Sequence[str], shape: Sequence[re.Pattern[str]]) -> bool:
    return all(step.fullmatch(name) for name, step in zip(steps, shape, strict=False))
