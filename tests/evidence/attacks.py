"""What an adversary does to the repositories, each as a change of files on a copy of all three.

Two suites: one who may write to the bucket, and one who has the worker's key as well."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from qdrant_dr import layout
from qdrant_dr.records.base import canonical_json
from qdrant_dr.records.ledger import FIRST, LedgerEntry, Written
from qdrant_dr.signing import sshsig
from qdrant_dr.signing.allowed_signers import LEDGER
from qdrant_dr.signing.ssh_keys import PrivateKey, new_key

ATTACKED, OTHERS = "one", ("two", "three")
Entries = dict[str, list[LedgerEntry]]


@dataclass(frozen=True)
class Scene:
    """Copies of the repositories by name, an older copy of the same, and the worker's key."""

    folders: Mapping[str, Path]
    older: Mapping[str, Path]
    key: PrivateKey

    @property
    def folder(self) -> Path:
        """The repository that is attacked, where it is one alone."""
        return self.folders[ATTACKED]


@dataclass(frozen=True)
class Attack:
    """`sees` is what each way of looking must show: the checks that are not ok, in their order;
    empty where nothing can be seen."""

    name: str
    by: Literal["write access", "the worker's key"]
    do: Callable[[Scene], None]
    alone: tuple[str, ...]
    with_others: tuple[str, ...]
    with_head: tuple[str, ...]
    remark: str = ""


# on files


def entries(folder: Path) -> list[LedgerEntry]:
    files = sorted(folder.glob("evidence/*/*.json"))
    return [LedgerEntry.from_bytes(f.read_bytes(), where=str(f)) for f in files]


def place(folder: Path, number: int) -> Path:
    return folder / layout.ledger_entry(number)


def beside(file: Path, kind: str = layout.SIGNATURE) -> Path:
    return file.with_name(file.name + kind)


def put(folder: Path, entry: LedgerEntry, key: PrivateKey | None) -> None:
    """Write an entry at its place; signed, or without what signed the one before."""
    file, data = place(folder, entry.number), entry.to_bytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    beside(file).unlink(missing_ok=True)
    if key is not None:
        beside(file).write_bytes(sshsig.sign(data, key, LEDGER))


def edited(data: bytes, **changes: Any) -> bytes:
    """A record with other values and a digest that fits them: nobody sees it by itself."""
    body = json.loads(data) | changes
    body.pop("sha256")
    return canonical_json({**body, "sha256": hashlib.sha256(canonical_json(body)).hexdigest()})


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def written(folder: Path, path: str, data: bytes) -> Written:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return Written(path=path, sha256=sha256(data), size_bytes=len(data))


def some_record(folder: Path, kind: str = "runs/*/*/*.end.json") -> Path:
    return min(folder.glob(kind))


def plant(folder: Path, at: datetime) -> Written:
    """A proof that nobody made, which claims to be of then."""
    real = some_record(folder, "proofs/*/*/*/*.json")
    made_up = f"{at:%Y%m%dT%H%M%SZ}-00beef"
    data = edited(real.read_bytes(), proof_id=made_up)
    return written(folder, str(real.relative_to(folder).parent / f"{made_up}.json"), data)


# rewriting


def rewrite(
    scene: Scene,
    which: tuple[str, ...],
    key: PrivateKey | None,
    change: Callable[[str, LedgerEntry], dict[str, Any]],
) -> None:
    """Write the ledgers of these anew, consistent with each other: every hash follows from what
    changed before it."""
    old = {name: entries(scene.folders[name]) for name in which}
    names = {old[name][0].repository_id: name for name in which}
    done: dict[tuple[str, int], str] = {}

    def hash_of(name: str, number: int) -> str:
        if not number:
            return FIRST
        if (name, number) not in done:
            entry = old[name][number - 1]
            heads = tuple(
                h.model_copy(update={"sha256": hash_of(names[h.repository_id], h.number)})
                if h.repository_id in names
                else h
                for h in entry.heads
            )
            signer = {"signer": key.public.fingerprint if key else None}
            previous = hash_of(name, number - 1)
            update = {"previous": previous, "heads": heads, **signer, **change(name, entry)}
            new = entry.model_copy(update=update)
            put(scene.folders[name], new, key)
            done[name, number] = sha256(new.to_bytes())
        return done[name, number]

    for name, found in old.items():
        hash_of(name, len(found))


def forget_a_failure(scene: Scene) -> Callable[[str, LedgerEntry], dict[str, Any]]:
    """Edit one record in every repository, and let the entries name what it is now."""
    record = str(some_record(scene.folder).relative_to(scene.folder))

    def change(name: str, entry: LedgerEntry) -> dict[str, Any]:
        def renamed(w: Written) -> Written:
            if w.path != record:
                return w
            data = (scene.folders[name] / record).read_bytes()
            if "changed afterwards" not in data.decode():
                data = edited(data, reasons=["changed afterwards"])
            return written(scene.folders[name], record, data)

        return {
            "records": tuple(map(renamed, entry.records)),
            "found": tuple(map(renamed, entry.found)),
        }

    return change


def append(scene: Scene, key: PrivateKey | None, **changes: Any) -> None:
    """One more entry at the end of the attacked ledger."""
    last = entries(scene.folder)[-1]
    file = place(scene.folder, last.number)
    entry = last.model_copy(
        update={
            "number": last.number + 1,
            "previous": sha256(file.read_bytes()),
            "previous_stored_at": last.at,
            "at": last.at + timedelta(minutes=1),
            "records": (),
            "found": (),
            "removed": (),
            "removed_sizes": (),
            "heads": (),
            "since": None,
            "signer": key.public.fingerprint if key else None,
            **changes,
        }
    )
    put(scene.folder, entry, key)


# what is done


def edit_record(scene: Scene) -> None:
    file = some_record(scene.folder)
    file.write_bytes(edited(file.read_bytes(), reasons=["changed afterwards"]))


def edit_entry(scene: Scene) -> None:
    entry = entries(scene.folder)[1]
    file = place(scene.folder, entry.number)
    file.write_bytes(entry.model_copy(update={"records": entry.records[1:]}).to_bytes())


def delete_entry(scene: Scene) -> None:
    file = place(scene.folder, 2)
    file.unlink()
    beside(file).unlink()


def insert_record(scene: Scene) -> None:
    plant(scene.folder, entries(scene.folder)[0].at - timedelta(days=30))


def delete_record(scene: Scene) -> None:
    some_record(scene.folder, "proofs/*/*/*/*.json").unlink()


def delete_and_explain(scene: Scene) -> None:
    """Delete a backup, and append an entry without a key that names a made-up reason."""
    manifest = some_record(scene.folder, "backups/*/*/*/manifest.json")
    run_id = "20261101T000000Z-00beef"
    body = json.loads(manifest.read_bytes())
    record = canonical_json({"made": "up", "of": body["backup_id"]})
    folder = manifest.parent.relative_to(scene.folder / "backups")
    named = written(scene.folder, f"expired/{folder}/{run_id}.json", record)
    shutil.rmtree(manifest.parent)
    append(scene, None, records=(named,))


def reorder(scene: Scene) -> None:
    two, three = place(scene.folder, 2), place(scene.folder, 3)
    for a, b in ((two, three), (beside(two), beside(three))):
        first, second = a.read_bytes(), b.read_bytes()
        a.write_bytes(second)
        b.write_bytes(first)


def truncate(scene: Scene, runs: int = 2) -> None:
    """Remove the last entries and every record that only they name."""
    for entry in entries(scene.folder)[-runs:]:
        file = place(scene.folder, entry.number)
        file.unlink()
        beside(file).unlink(missing_ok=True)
        for record in (*entry.records, *entry.found):
            (scene.folder / record.path).unlink(missing_ok=True)


def truncate_one(scene: Scene) -> None:
    truncate(scene, runs=1)


def back_date(scene: Scene, key: PrivateKey | None = None) -> None:
    at = entries(scene.folder)[0].at - timedelta(days=30)
    append(scene, key, at=at, records=(plant(scene.folder, at),))


def slip_in(scene: Scene) -> None:
    """An entry without a key, and then the next run of the worker, which follows it."""
    append(scene, None, records=(plant(scene.folder, entries(scene.folder)[-1].at),))
    append(scene, scene.key)


def strip_signatures(scene: Scene) -> None:
    for file in scene.folder.glob("evidence/*/*.sig"):
        file.unlink()


def rewrite_unsigned(scene: Scene) -> None:
    rewrite(scene, (ATTACKED,), None, forget_a_failure(scene))


def rewrite_with_own_key(scene: Scene) -> None:
    rewrite(scene, (ATTACKED,), new_key(), forget_a_failure(scene))


def replay(scene: Scene) -> None:
    shutil.rmtree(scene.folder)
    shutil.copytree(scene.older[ATTACKED], scene.folder)


def swap(scene: Scene) -> None:
    other, aside = scene.folders[OTHERS[0]], scene.folder.with_name("aside")
    scene.folder.rename(aside)
    other.rename(scene.folder)
    aside.rename(other)


def delete_ledger(scene: Scene) -> None:
    shutil.rmtree(scene.folder / layout.EVIDENCE)


# with the key


def rewrite_one(scene: Scene) -> None:
    rewrite(scene, (ATTACKED,), scene.key, forget_a_failure(scene))


def rewrite_two(scene: Scene) -> None:
    rewrite(scene, (ATTACKED, OTHERS[0]), scene.key, forget_a_failure(scene))


def rewrite_all(scene: Scene) -> None:
    rewrite(scene, (ATTACKED, *OTHERS), scene.key, forget_a_failure(scene))


def fork(scene: Scene) -> None:
    """Cut the tail, and go on with other entries of the same numbers."""
    truncate(scene)
    append(scene, scene.key)
    append(scene, scene.key)


def back_date_signed(scene: Scene) -> None:
    back_date(scene, scene.key)


def lie(scene: Scene) -> None:
    """Sign a proof that nobody made, at the time at which it says that it was made."""
    at = entries(scene.folder)[-1].at
    append(scene, scene.key, records=(plant(scene.folder, at),))


def hand_over(scene: Scene) -> None:
    """Name a key of one's own as the next one, and sign with that."""
    own = new_key()
    append(scene, scene.key, next_key=own.public.line)
    append(scene, own)


WRITE, KEY = "write access", "the worker's key"
_UNSIGNED = ("signatures", "unsigned tail")
_LATE = ("insertions", "times")
ATTACKS = (
    Attack("edit a record, with a digest of itself that fits", WRITE, edit_record,
           ("records",), ("records",), ("records",)),
    Attack("edit an entry", WRITE, edit_entry,
           ("chain", "signatures", "unnamed"), ("chain", "signatures", "unnamed", "anchors"),
           ("chain", "signatures", "unnamed")),
    Attack("delete an entry", WRITE, delete_entry,
           ("chain", "unnamed"), ("chain", "unnamed"), ("chain", "unnamed")),
    Attack("insert a proof that claims to be a month old", WRITE, insert_record,
           ("unnamed",), ("unnamed",), ("unnamed",),
           "until a run lists it as found; then `insertions` is a doubt, whatever its date"),
    Attack("delete a record", WRITE, delete_record, ("absences",), ("absences",), ("absences",)),
    Attack("delete a backup, and make a reason up", WRITE, delete_and_explain,
           ("unsigned tail", "records", "absences", "insertions"),
           ("unsigned tail", "records", "absences", "insertions"),
           ("unsigned tail", "records", "absences", "insertions")),
    Attack("put two entries into each other's place", WRITE, reorder,
           ("chain",), ("chain", "anchors"), ("chain",)),
    Attack("cut off the last two entries with their records", WRITE, truncate,
           (), ("anchors",), ("anchors",)),
    Attack("cut off the last entry with its records", WRITE, truncate_one,
           (), (), ("anchors",),
           "the others see the head that it followed; from their next run on they see this one"),
    Attack("append a back-dated entry with a made-up proof", WRITE, back_date,
           ("unsigned tail", *_LATE), ("unsigned tail", *_LATE), ("unsigned tail", *_LATE)),
    Attack("append an entry with a made-up proof, which the next run follows", WRITE, slip_in,
           ("signatures",), ("signatures",), ("signatures",)),
    Attack("remove all signatures", WRITE, strip_signatures, _UNSIGNED, _UNSIGNED, _UNSIGNED),
    Attack("rewrite the history, unsigned", WRITE, rewrite_unsigned,
           _UNSIGNED, (*_UNSIGNED, "anchors"), (*_UNSIGNED, "anchors")),
    Attack("rewrite the history, signed with a key of one's own", WRITE, rewrite_with_own_key,
           _UNSIGNED, (*_UNSIGNED, "anchors"), (*_UNSIGNED, "anchors")),
    Attack("put an older copy of the bucket back", WRITE, replay, (), ("anchors",), ("anchors",)),
    Attack("swap two repositories", WRITE, swap,
           ("repository",), ("repository",), ("repository", "anchors"),
           "of a downloaded copy, only the location that its row names tells"),
    Attack("delete the ledger", WRITE, delete_ledger,
           ("chain",), ("chain", "anchors"), ("chain", "anchors")),
    Attack("rewrite the history in one of three clouds", KEY, rewrite_one,
           (), ("anchors",), ("anchors",)),
    Attack("rewrite the history in two of three clouds", KEY, rewrite_two,
           (), ("anchors",), ("anchors",)),
    Attack("rewrite the history in all three clouds", KEY, rewrite_all, (), (), ("anchors",),
           "only what lies outside of all of them tells: a noted head, a time stamp, a report"),
    Attack("cut the tail off and go on differently", KEY, fork,
           (), ("anchors",), ("anchors",)),
    Attack("append a back-dated entry with a made-up proof, signed", KEY, back_date_signed,
           _LATE, _LATE, _LATE),
    Attack("name a key of one's own as the next one", KEY, hand_over,
           ("signatures",), ("signatures",), ("signatures",)),
    Attack("sign a new entry with a proof that is a lie", KEY, lie, (), (), (),
           "a ledger tells who said something and when, not whether it is true: verify with "
           "another key, on another machine"),
)  # fmt: skip
