"""`key list|add|remove|rotate|export`: who can open an encrypted repository."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from qdrant_dr import layout
from qdrant_dr.cli.exit_codes import Verdict
from qdrant_dr.cli.session import Column, Given, Reply, Session
from qdrant_dr.cli.words import moment
from qdrant_dr.errors import DRError, NothingSelected, UsageError
from qdrant_dr.jobs.run.ledger import change_in_ledger
from qdrant_dr.repository import open_repository, read_repository
from qdrant_dr.repository.keyrings import (
    add_slots,
    opening_slots,
    read_slots,
    remove_slot,
)
from qdrant_dr.repository.keyrings import rotate as rotate_key
from qdrant_dr.secrets import resolve_text
from qdrant_dr.vault.key_secret import KINDS, parse_secret
from qdrant_dr.vault.key_slots import export_text, slots_in_words

if TYPE_CHECKING:
    from qdrant_dr.config import RepositoryConfig
    from qdrant_dr.records.key_slot import KeySlot
    from qdrant_dr.repository import Repository

SLOTS = (
    Column("slot", "SLOT"),
    Column("key", "KEY"),
    Column("locked_by", "LOCKED BY", lambda kind: KINDS.get(kind, kind)),
    Column("made_at", "MADE", moment),
    Column("label", "LABEL", lambda label: label or "-"),
    Column("opens", "OPENS", lambda opens: {True: "yes", False: "no"}.get(opens, "?")),
)


def list_slots(name: str, /, *, session: Given) -> Reply:
    """List the slots of an encrypted repository. No secret is needed, but only with the configured
    one it is known what it opens.

    Parameters
    ----------
    name
        Name of the repository in the configuration.
    """
    cfg = _configured(session, name)
    found = read_repository(cfg, stall_timeout=session.config.copies.stall_timeout)
    if found.record.key_id is None:
        raise NothingSelected(f"repository {name} is not encrypted: it has no slots")
    slots = read_slots(found)
    errors: list[DRError] = [u.error for u in slots.unreadable]
    opens: set[str] | None = None
    try:
        opens = {s.slot_id for s in opening_slots(slots.records, cfg)}
    except DRError as e:
        errors.append(e)
    return Reply(
        rows=[_row(s, None if opens is None else s.slot_id in opens) for s in slots.records],
        columns=SLOTS,
        verdict="degraded" if errors or not opens else "ok",
        errors=errors,
        remarks=[] if opens or errors else ["the configured secret opens none of them"],
    )


def add(
    name: str,
    /,
    *,
    secret: str | None = None,
    recipient: str | None = None,
    label: str = "",
    session: Given,
) -> Reply:
    """Lock every master key by one more secret, so that it, too, opens the repository.

    Parameters
    ----------
    name
        Name of the repository in the configuration.
    secret
        Where the secret is, env:NAME, file:PATH or secret:NAME: a key file (64 hex digits, made by
        `openssl rand -hex 32`), a passphrase or an age identity. Never the secret itself.
    recipient
        Public key of age or SSH: whoever has the identity can open it.
    label
        Where the secret is kept, in words: an error about a lost key names it.
    """
    if (secret is None) == (recipient is None):
        raise UsageError("one more secret is needed", "give either --secret or --recipient.")
    _, found = _opened(session, name)
    opener = recipient or parse_secret(resolve_text(secret or ""), "the new secret")
    with change_in_ledger(session.config, {name: found}, "key-add") as unlisted:
        slots = add_slots(found, opener, datetime.now(UTC), label=label)
    remarks = [] if slots else ["it opens every key already: nothing was added"]
    return _changed([_row(s, None) for s in slots], remarks, unlisted)


def remove(
    name: str,
    slot: str,
    /,
    *,
    execute: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> Reply:
    """Remove a slot: its secret opens the repository no more. Without --execute only say so.

    Refused for the last slot of a key, and for the last one that the configured secret opens.

    Parameters
    ----------
    name
        Name of the repository in the configuration.
    slot
        Its id, as `key list` prints it.
    execute
        Remove it.
    """
    cfg, found = _opened(session, name)
    with change_in_ledger(session.config, {name: found}, "key-remove") as unlisted:
        gone = remove_slot(found, cfg, slot, execute=execute)
    kept = found.store.deletion(layout.key_slot(gone.key_id, gone.slot_id)).hidden
    remarks = [f"{_MAY_BE_KEPT}, run `qdrant-dr key rotate {name}`"]
    if kept:
        remarks.append(f"the store keeps the removed slot: {kept}")
    if not execute:
        remarks.insert(0, "nothing was removed; add --execute")
    return _changed([_row(gone, None)], remarks, unlisted)


def rotate(
    name: str, /, *, save: Annotated[bool, Parameter(negative=())] = False, session: Given
) -> Reply:
    """Make a new master key: from now on everything is encrypted with it.

    What was encrypted before stays readable with the old key, which goes with the last backup that
    needs it. The configured secret and every age recipient get a slot of the new key.

    Parameters
    ----------
    name
        Name of the repository in the configuration.
    save
        Also write the id of the new key into the configuration file.
    """
    cfg, found = _opened(session, name)
    with change_in_ledger(session.config, {name: found}, "key-rotate") as unlisted:
        done = rotate_key(found, cfg, datetime.now(UTC))
    remarks, errors = _pin(session, name, done.slots[0].key_id, save=save)
    if done.left_out:
        remarks.append(
            f"these open the old key only: {slots_in_words(done.left_out)}; for each of them run "
            f"`qdrant-dr key add {name} --secret REFERENCE`"
        )
    return Reply(
        rows=[_row(s, None) for s in done.slots],
        columns=SLOTS[:-1],
        verdict="failed" if errors else "degraded" if unlisted else "ok",
        exit_code=errors[0].exit_code if errors else None,
        errors=[*errors, *unlisted.values()],
        remarks=remarks,
    )


def _pin(
    session: Session, name: str, key_id: str, *, save: bool
) -> tuple[list[str], list[DRError]]:
    """Write the id of a new key into the configuration file, or say what to write there: the key is
    made, whatever becomes of that."""
    said = [_PIN.format(key_id=key_id, name=name)]
    if not save:
        return said, []
    from qdrant_dr import configfile

    try:
        reference = configfile.find(session.reference)
        configfile.save_ids(Path(reference), {}, {name: key_id})
    except DRError as e:
        return said, [e]
    return [f"wrote its id into {reference}; put it into that of every other worker, too"], []


def export(name: str, /, *, out: Path, session: Given) -> Reply:
    """Write the master keys as text into a new file that only you can read, for a safe.

    As `key: file:PATH` it opens the repository without any slot, even if all of them are gone.

    Parameters
    ----------
    name
        Name of the repository in the configuration.
    out
        The file; it must not exist.
    """
    _, found = _opened(session, name)
    if found.keys is None:
        raise NothingSelected(f"repository {name} is not encrypted: it has no keys")
    try:
        file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as e:
        raise UsageError(f"{out} cannot be made: {e.strerror}", "name a new file.") from None
    with os.fdopen(file, "w") as opened:
        opened.write(export_text(found.keys))
    return Reply(
        rows=[{"key": key, "file": str(out)} for key in found.keys.ids],
        columns=(Column("key", "KEY"), Column("file", "FILE")),
        remarks=[f"{out} opens everything in {name}: move it to a safe, off this machine"],
    )


_PIN = (
    'put `key_id: "{key_id}"` below `name: {name}` where the new key is open: then nobody who has '
    "the old one can bring it back"
)
_MAY_BE_KEPT = (
    "whoever opened it before may have kept the master key: if its secret is in wrong hands"
)


def _configured(session: Session, name: str) -> RepositoryConfig:
    if (cfg := session.config.repository(name)) is None:
        names: Sequence[str] = [r.name for r in session.config.repositories]
        raise NothingSelected(f"no repository is called {name}", f"choose from {', '.join(names)}.")
    return cfg


def _opened(session: Session, name: str) -> tuple[RepositoryConfig, Repository]:
    cfg = _configured(session, name)
    return cfg, open_repository(cfg, stall_timeout=session.config.copies.stall_timeout)


def _changed(
    rows: Sequence[dict[str, Any]], remarks: Sequence[str], unlisted: Mapping[str, DRError]
) -> Reply:
    errors = list(unlisted.values())
    verdict: Verdict = "degraded" if errors else "ok"
    return Reply(rows, SLOTS[:-1], verdict=verdict, errors=errors, remarks=remarks)


def _row(slot: KeySlot, opens: bool | None) -> dict[str, Any]:
    return {
        "slot": slot.slot_id,
        "key": slot.key_id,
        "locked_by": slot.locked_by,
        "made_at": slot.made_at,
        "label": slot.label,
        "recipient": slot.recipient,
        "opens": opens,
    }
