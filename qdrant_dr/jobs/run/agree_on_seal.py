"""Which proof of an unsealed backup becomes its seal, and whether one may be made now."""

from __future__ import annotations

import logging

from qdrant_dr.errors import DRError, RepositoryUnreachable, SealConflict
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.records import Seal

log = logging.getLogger(__name__)


def agree_on_seal(found: Found, seal: Seal) -> Seal:
    """Put the seal beside every manifest, and return the one that holds.

    Two proofs of an unsealed backup may run at once: the first repository that has the backup
    decides, and who comes second takes the seal it finds there. A repository that cannot take
    it now gets it from `replicate`; if none can, that error is raised, for a proof that
    compared with a seal nobody has would prove nothing. Raise SealConflict if another one lies
    elsewhere.
    """
    holders = [c.repository for c in found.backup.copies if c.committed]
    taken: list[str] = []
    why: DRError = RepositoryUnreachable("no repository with this backup can be reached")
    for name in (n for n in holders if n in found.opened):
        try:
            found.opened[name].put_seal(seal)
            taken.append(name)
        except SealConflict:
            standing = found.opened[name].read_seal(found.backup.key)
            if name != holders[0] or standing is None:
                raise
            seal = standing
            taken.append(name)
        except DRError as e:
            why = e
            log.warning("%s could not take the seal of %s: %s", name, seal.backup_id, e.message)
    if not taken:
        raise why
    return seal


def seal_may_be_hidden(found: Found) -> str | None:
    """Say why no seal may be made now, or None: there may be one that cannot be read."""
    away = [*found.failed, *(r.name for r in found.catalog.unreachable if r.name in found.opened)]
    hidden = [f"{u.repository}/{u.path}" for u in found.catalog.unreadable]
    if not away and not hidden:
        return None
    return f"its seal may lie in what cannot be read now: {', '.join([*away, *hidden])}"
