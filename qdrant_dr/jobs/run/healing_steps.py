"""What becomes of a copy that is not whole: pure, and the same words for all who find one."""

from __future__ import annotations

from datetime import datetime

from qdrant_dr.hints import BY_HAND, DECIDE, command, filled
from qdrant_dr.repository import Backup, Copy, healing_sources, open_failures, proof_of
from qdrant_dr.text import digest

DAMAGED = "copy-damaged"
"""The finding that tells of a damaged copy."""


def thaw_step(backup: Backup, copy: Copy, then: str = "") -> str:
    """Return the next step for what lies in an archive: its provider must bring it back."""
    shown = command("show", str(backup.key))
    after = f", then run `{then}`" if then else ""
    where = f"the archive in {copy.repository}"
    return f"{BY_HAND}`{shown}` prints what brings it back from {where}{after}."


def damage(copy: Copy) -> str:
    """Tell this damage of a copy from the next."""
    return digest([*copy.lacks, *(f.proof_id for f in open_failures(copy.proofs))])


def damage_scope(backup: Backup, copy: Copy) -> str:
    """Name the copy as its finding does."""
    return f"{backup.key} in {copy.repository}"


def heal_step(
    backup: Backup,
    copy: Copy,
    *,
    now: datetime,
    proven: Backup | None = None,
    gone: bool = False,
) -> str:
    """Return the next step for a copy that is not whole.

    From a good copy it is healed. Without one nothing brings it back: then a new backup is made,
    and what is to become of this one is for a person. `proven` is the newest proven backup of the
    collection; `gone`: the cluster has the collection no more.
    """
    if (choice := doubt_step(backup)) is not None:
        return choice
    if [s for s in healing_sources(backup, now) if s != copy.repository]:
        return command("replicate", str(backup.key), "-r", copy.repository)
    if copy.archived:
        return thaw_step(backup, copy)
    if (frozen := _frozen(backup, but=copy.repository)) is not None:
        again = command("replicate", str(backup.key), "-r", copy.repository)
        return thaw_step(backup, frozen, again)
    newer = proven is not None and proven.manifest.captured_at > backup.manifest.captured_at
    away = next((c.repository for c in backup.copies if c.state == "unreachable"), None)
    if not newer and not gone:
        return command("backup", backup.key.collection)
    if away is not None:
        check = command("check", "-r", away)
        return f"{BY_HAND}bring {away} back, which may have a good copy, then run `{check}`."
    return nothing_heals(backup, copy, proven if newer else None)


def _frozen(backup: Backup, *, but: str = "") -> Copy | None:
    """A whole copy that could be read, were it not in an archive."""
    return next(
        (c for c in backup.copies if c.archived and c.state == "archived" and c.repository != but),
        None,
    )


def doubt_step(backup: Backup) -> str | None:
    """Return the decision that comes first if it is not known what this backup is, or whose."""
    if backup.conflict is not None:
        return filled(
            backup.conflict.hint, backup=str(backup.key), collection=backup.key.collection
        )
    away = any(c.state == "unreachable" for c in backup.copies)  # it may know of this one
    if backup.witness == "nobody" and not away:
        ours = command("replicate", str(backup.key), "--vouch")
        theirs = command("expire", str(backup.key), "--execute")
        return f"{DECIDE}is it yours? then `{ours}`; if not, `{theirs}`, and change the keys."
    return None


def nothing_heals(backup: Backup, copy: Copy, newer: Backup | None) -> str:
    """Return the decision that is left if no copy is good and no new backup makes up for it."""
    instead = f"{newer.key} is newer and proven" if newer else "the cluster has it no more"
    scope = f"{DAMAGED}:{damage_scope(backup, copy)}"
    keep = command("acknowledge", scope, "--reason", "WHY")
    saved = command("restore", str(backup.key), "--to", "TARGET", "--as", "NAME", "--salvage",
                    "--allow-unproven")  # fmt: skip
    return (
        f"{DECIDE}no good copy of {backup.key} is left, and {instead}: keep this one as it is, and "
        f"quiet, with `{keep}`; or read what is left of it with `{saved}`."
    )


def verify_step(
    newest: Backup, *, depth: str, now: datetime, proven: Backup | None, gone: bool
) -> str:
    """Return the next step for a newest backup that is not proven: prove it, if a copy may be
    good."""
    if (choice := doubt_step(newest)) is not None:
        return choice
    if healing_sources(newest, now) or not newest.copies:
        return command("verify", str(newest.key), "--depth", depth)
    if (frozen := _frozen(newest)) is not None:
        return thaw_step(newest, frozen, command("verify", str(newest.key), "--depth", depth))
    worst = next((c for c in newest.copies if c.state == "damaged"), newest.copies[0])
    return heal_step(newest, worst, now=now, proven=proven, gone=gone)


def quorum_step(backup: Backup, *, now: datetime) -> str:
    """Return the next step for a proven backup of which too few copies count."""
    if (choice := doubt_step(backup)) is not None:
        return choice
    if (frozen := next((c for c in backup.copies if not c.within_reach), None)) is not None:
        return thaw_step(backup, frozen)
    reachable = [c for c in backup.copies if c.state != "unreachable"]
    if any(c.state in ("missing", "behind", "damaged") for c in reachable):
        return command("replicate", str(backup.key))
    if any(proof_of(c, depth="bytes", now=now) is None for c in reachable) or any(
        c.unread or open_failures(c.proofs) for c in reachable
    ):
        return command("verify", str(backup.key))
    away = next((c.repository for c in backup.copies if c.state == "unreachable"), None)
    if away is not None:
        check = command("check", "-r", away)
        return f"{BY_HAND}bring {away} back, then run `{check}`."
    return command("backup", backup.key.collection)
