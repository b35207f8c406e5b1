"""May this backup be restored? What speaks against it, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from qdrant_dr.config import Config
from qdrant_dr.repository import Backup, Copy, open_failures, proven_copies


def trust_reasons(
    config: Config,
    backup: Backup,
    sources: Sequence[Copy],
    *,
    allow_unproven: bool,
    now: datetime,
    accepted: bool = False,
    frozen: Sequence[str] = (),
) -> tuple[list[str], list[str]]:
    """Return refusals because of this backup; and as warnings the seal's remarks, which hold for
    the source as well, and the refusals that `--allow-unproven` overrides.

    `accepted`: somebody acknowledged that a suspect backup is as intended. `frozen`: why copies in
    an archive storage class cannot be read.
    """
    key = backup.key
    if backup.conflict is not None:
        return [f"{backup.conflict.message}; {backup.conflict.hint}"], []
    if not sources:
        nowhere = f"no readable repository has a complete copy of {key}"
        return list(frozen) or [f"{nowhere}: see `qdrant-dr show {key}`"], []
    doubts = []
    wanted = config.objectives.proven
    # one proven copy is enough: every byte that is read is compared with the manifest
    if not proven_copies(backup, depth=wanted.depth, max_age=wanted.max_age, now=now):
        failed = [c.repository for c in sources if open_failures(c.proofs)]
        more = f"; failed proofs are open in {', '.join(failed)}" if failed else ""
        doubts.append(
            f"no copy of {key} is currently proven to {wanted.depth}{more}: "
            f"run `qdrant-dr verify {key}`, or restore it anyway with `--allow-unproven`"
        )
    if backup.seal is not None and backup.seal.suspect and not accepted:
        doubts.append(
            f"{key} is suspect ({'; '.join(backup.seal.suspect)}): take an older backup, or this "
            f"one anyway with `--allow-unproven`; if its content is as intended, accept it first: "
            f"`qdrant-dr acknowledge {key} --reason WHY`"
        )
    remarks = [f"{key}: {remark}" for remark in (backup.seal.remarks if backup.seal else ())]
    return ([], doubts + remarks) if allow_unproven else (doubts, remarks)
