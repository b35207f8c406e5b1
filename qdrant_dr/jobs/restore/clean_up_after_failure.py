"""What becomes of a target where a restore failed: what is removed, what stays there, and why."""

from __future__ import annotations

from qdrant_dr.cancel import stopping
from qdrant_dr.cluster.target import clean_failed
from qdrant_dr.errors import DRError, PlanRefused, RecoverUnanswered
from qdrant_dr.jobs.restore.ownership import why_kept
from qdrant_dr.jobs.restore.refusals import how_to_remove
from qdrant_dr.jobs.restore.state import Work
from qdrant_dr.jobs.target.node_for_shard import TargetNodes


def clean_up(work: Work, error: DRError, nodes: TargetNodes) -> None:
    """Take back what is half-made and ours, for it can keep a server from starting, or say why
    it stays. What was restored in whole always does, whatever was found of it."""
    name, now = work.unit.name, work.begun
    where = f"{name!r} on {work.node.url}"
    if not now.created and not now.whole:
        work.result.notes.append(
            f"{where} was there before and is not removed; it may be half overwritten"
        )
    if now.proven is not None and isinstance(error, PlanRefused):
        work.journal.drop()
        return
    if now.complete and now.proven is None and error.blames_copy:
        _stays(work, error, where)
        return
    try:
        later = error.transient or isinstance(error, RecoverUnanswered)
        if stopping.is_set() or later or now.whole:
            work.result.notes.append(_unfinished(work, where))
            return
        kept = None
        if now.created:
            asked = "as asked: it is NOT what was backed up" if work.unit.keep_failed else None
            kept = why_kept(now, nodes, error, resumed=work.result.resumed) or asked
        ours = now.created and kept is None
        removed = clean_failed(work.node, name, created=ours, uploads=now.uploads)
    except DRError as e:
        work.result.notes.append(
            f"what was made of {where} could not be removed now ({e.message}): the same "
            "command does it, and begins again"
        )
        return
    work.result.removed += removed
    if removed:
        work.result.notes.append(f"removed from {work.node.url}: {', '.join(removed)}")
    if kept is not None:
        work.result.notes.append(f"{where} is kept: {kept}")
    work.journal.drop()


def _stays(work: Work, error: DRError, where: str) -> None:
    """It came back in whole and is something else: the journal tells whoever comes next."""
    since = " (it was begun by an earlier run and may be in use since)"
    work.result.stays = True
    work.result.notes.append(
        f"{where} stays{since * work.result.resumed}: it was "
        f"{'restored' if work.begun.created else 'there before, and overwritten'} in whole, "
        f"and is NOT what was backed up: {how_to_remove(work.node.url, work.unit.name)}"
    )
    try:
        work.journal.differ(error.message)
        work.result.removed += clean_failed(
            work.node, work.unit.name, created=False, uploads=work.begun.uploads
        )
    except DRError as e:
        work.result.notes.append(f"a file that was uploaded may be left there: {e.message}")


def _unfinished(work: Work, where: str) -> str:
    if work.begun.complete:
        return f"{where} is there in whole, and is not compared: the same command does it"
    if work.unit.route != "salvage":
        return f"{where} is unfinished: the same command continues it"
    return (
        f"{where} may hold half a salvage, which is neither continued nor removed: delete it, "
        "then the same command begins again, or give another name with `--as`"
    )
