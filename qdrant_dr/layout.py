"""Every path inside a repository, made and read in one place.

    repository.json
    backups/<cluster>/<collection folder>/<backup id>/{intent,snapshot,manifest,seal}.json
    backups/<cluster>/<collection folder>/<backup id>/{intent,snapshot}-<number>.json
    backups/<cluster>/<collection folder>/<backup id>/<part>.snapshot       in layout `plain`
    backups/<cluster>/<collection folder>/<backup id>/<part>.recipe         in layout `chunked`
    packs/<cluster>/<collection folder>/<backup id>-<number>.pack
    keys/<key id>/<slot id>.json
    proofs/<cluster>/<collection folder>/<backup id>/<proof id>.json
    runs/<year>/<month>/<run id>.start.json, .end.json
    watches/<cluster>/<year>/<month>/<run id>.json
    holds/<cluster>/<collection folder>/<backup id>/<hold id>.json
    expired/<cluster>/<collection folder>/<backup id>/<run id>.json
    acknowledged/<cluster>/<acknowledgement id>.json
    evidence/<number // 256, 7 digits>/<number, 10 digits>.json, .json.sig, .json.tsr
    evidence/allowed_signers
    undo/<cluster>/<collection folder>/<run id>/part-<number>.json, then undo.json, settled.json
    bundles/<folder>/<cluster>, bundles/runs/<year>-<month>: <digest>.bundle
    probes/<random>/...                                   of `check`, removed again

Only lower-case letters, digits, `-`, `.`, `T` and `Z` occur, so that no store, file system or
shell has an opinion on them. Ids begin with their time, so that names sort by it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from qdrant_dr.records import BackupKey
from qdrant_dr.records.manifest import collection_slug

REPOSITORY = "repository.json"
INTENT = "intent.json"
ANSWER = "snapshot.json"
MANIFEST = "manifest.json"
SEAL = "seal.json"
BACKUPS = "backups"
PACKS = "packs"
KEYS = "keys"
PROOFS = "proofs"
RUNS = "runs"
WATCHES = "watches"
HOLDS = "holds"
EXPIRED = "expired"
RUN_RECORDS = (".start.json", ".end.json")
ACKNOWLEDGED = "acknowledged"
UNDO = "undo"
UNDO_RECORD = "undo.json"
UNDO_SETTLED = "settled.json"
BUNDLES = "bundles"
PROBES = "probes"
EVIDENCE = "evidence"
ALLOWED_SIGNERS = f"{EVIDENCE}/allowed_signers"
"""For convenience: the file that counts is the auditor's own."""
ENTRIES_PER_FOLDER = 256
SIGNATURE, TIMESTAMP = ".sig", ".tsr"
"""What lies beside an entry."""

_CALL = re.compile(r"^(intent|snapshot)(?:-([1-9]\d{0,5}))?\.json$")
_ID = re.compile(r"^(\d{8}T\d{6}Z)-[0-9a-f]{6}$")
_SAFE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9.-]{0,99}$")

_PART = r"^[A-Za-z0-9][A-Za-z0-9.-]{0,99}\.(snapshot|recipe)$"
_PACK = re.compile(r"^(\d{8}T\d{6}Z-[0-9a-f]{6})-([1-9]\d{0,6})\.pack$")
_CLUSTER = _SAFE.pattern
_SLUG = r"^[a-z0-9][a-z0-9-]{0,39}-[0-9a-f]{8}$"
_RECORD = r"^\d{8}T\d{6}Z-[0-9a-f]{6}\.json$"
_YEAR, _MONTH = r"^\d{4}$", r"^\d\d$"
_SHAPES = {
    top: tuple(map(re.compile, steps))
    for top, steps in {
        BACKUPS: (
            _CLUSTER, _SLUG, _ID.pattern,
            rf"{_CALL.pattern}|^(manifest|seal)\.json$|{_PART}",
        ),
        PACKS: (_CLUSTER, _SLUG, _PACK.pattern),
        KEYS: (r"^[0-9a-f]{16}$", _RECORD),
        PROOFS: (_CLUSTER, _SLUG, _ID.pattern, _RECORD),
        HOLDS: (_CLUSTER, _SLUG, _ID.pattern, _RECORD),
        EXPIRED: (_CLUSTER, _SLUG, _ID.pattern, _RECORD),
        RUNS: (_YEAR, _MONTH, r"^\d{8}T\d{6}Z-[0-9a-f]{6}\.(start|end)\.json$"),
        WATCHES: (_CLUSTER, _YEAR, _MONTH, _RECORD),
        ACKNOWLEDGED: (_CLUSTER, _RECORD),
        EVIDENCE: (r"^\d{7}$", r"^\d{10}\.json(\.sig|\.tsr)?$"),
        UNDO: (
            _CLUSTER, _SLUG, _ID.pattern, r"^(undo|settled|part-[1-9]\d{0,5})\.json$",
        ),
        BUNDLES: (rf"^({BACKUPS}|{PROOFS}|{EXPIRED}|{RUNS})$", _CLUSTER, r"^[0-9a-f]{32}\.bundle$"),
    }.items()
}  # fmt: skip
"""What the steps of a path below each top folder look like."""
FOLDERS = tuple(_SHAPES)


def intent_file(number: int = 1) -> str:
    """The file of the intent of the `number`-th create call of a backup."""
    return INTENT if number == 1 else f"intent-{number}.json"


def answer_file(number: int = 1) -> str:
    """The file of what that call was answered."""
    return ANSWER if number == 1 else f"snapshot-{number}.json"


def call_of(file: str) -> tuple[str, int] | None:
    """`intent` or `snapshot` and the number of its call; None for any other file."""
    match = _CALL.match(file)
    return (match[1], int(match[2] or 1)) if match else None


def new_id(now: datetime) -> str:
    """An id of a backup or proof: its second in UTC and 6 random hex digits."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def time_of(identifier: str) -> datetime:
    """The second that an id was made in. Raise ValueError if it is no id."""
    if not (match := _ID.match(identifier)):
        raise ValueError(f"{identifier!r} is not an id like 20261122T101530Z-7f3a9c")
    return datetime.fromisoformat(match[1][:-1]).replace(tzinfo=UTC)  # a ledger has many


def time_if_id(identifier: str) -> datetime | None:
    """The same; None if it is no id."""
    return time_of(identifier) if _ID.match(identifier) else None


def checked(name: str) -> str:
    """The name, if it is safe as one step of a path. Raise ValueError if it is not."""
    if not _SAFE.match(name):
        raise ValueError(f"{name!r} cannot be part of a path in a repository")
    return name


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


def backups(cluster: str, collection: str | None = None, backup_id: str | None = None) -> str:
    """The folder of all backups of a cluster, of a collection, or of one backup."""
    return _below(BACKUPS, cluster, collection, backup_id)


def proofs(cluster: str, collection: str | None = None, backup_id: str | None = None) -> str:
    """The folder of all proofs of a cluster, of a collection, or of one backup."""
    return _below(PROOFS, cluster, collection, backup_id)


def _below(top: str, cluster: str, collection: str | None, backup_id: str | None) -> str:
    folder = f"{top}/{checked(cluster)}"
    if collection is None:
        return folder
    folder += f"/{collection_slug(collection)}"
    return folder if backup_id is None else f"{folder}/{checked(backup_id)}"


def in_backup(key: BackupKey, file: str) -> str:
    """The path of a record or part of one backup."""
    checked(key.cluster)
    return f"{BACKUPS}/{key.folder}/{checked(file)}"


def recipe_file(part_file: str) -> str:
    """The file that says how a part is put together: `shard-0.recipe` for `shard-0.snapshot`."""
    return f"{part_file.removesuffix('.snapshot')}.recipe"


def part_file_of(recipe: str) -> str | None:
    """The file of the part that a recipe is of; None if it is no recipe."""
    name = recipe.removesuffix(".recipe")
    return f"{name}.snapshot" if name != recipe else None


def packs(cluster: str, collection: str | None = None) -> str:
    """The folder of all packs of a cluster, or of one collection."""
    return _below(PACKS, cluster, collection, None)


def is_pack_name(name: str) -> bool:
    """Whether a pack may be called so."""
    return _PACK.fullmatch(f"{name}.pack") is not None


def pack(cluster: str, collection: str, name: str) -> str:
    """The path of a pack of one collection, by its name."""
    if not is_pack_name(name):
        raise ValueError(f"{name!r} is no name of a pack")
    return f"{packs(cluster, collection)}/{name}.pack"


REPAIR_PACKS = 10**6
"""What a repair writes for a backup is numbered from here on, what a capture writes below."""


def is_repair_pack(path: str, backup_id: str) -> bool:
    """Whether a pack at this path was written by a repair of that backup."""
    at = read_pack_path(path)
    return at is not None and at.backup_id == backup_id and at.number >= REPAIR_PACKS


def pack_name(backup_id: str, number: int) -> str:
    """The name of the `number`-th pack that was written for a backup."""
    return f"{backup_id}-{number}"


def is_pack_of(name: str, backup_id: str) -> bool:
    """Whether a pack of this name was written for that backup."""
    match = _PACK.fullmatch(f"{name}.pack")
    return match is not None and match[1] == backup_id


def key_slots(key_id: str | None = None) -> str:
    """The folder of the slots of all keys, or of one."""
    return KEYS if key_id is None else f"{KEYS}/{checked(key_id)}"


def key_slot(key_id: str, slot_id: str) -> str:
    """The path of one slot of a key."""
    return f"{key_slots(key_id)}/{checked(slot_id)}.json"


def proof(key: BackupKey, proof_id: str) -> str:
    """The path of one proof."""
    checked(key.cluster)
    return f"{PROOFS}/{key.folder}/{checked(proof_id)}.json"


def hold(key: BackupKey, hold_id: str) -> str:
    """The path of one hold."""
    checked(key.cluster)
    return f"{HOLDS}/{key.folder}/{checked(hold_id)}.json"


def holds(cluster: str) -> str:
    """The folder of all holds of a cluster."""
    return f"{HOLDS}/{checked(cluster)}"


def expired(key: BackupKey, run_id: str) -> str:
    """The path of the record that a run deletes a copy."""
    checked(key.cluster)
    return f"{EXPIRED}/{key.folder}/{checked(run_id)}.json"


def all_expired(cluster: str, collection: str | None = None, backup_id: str | None = None) -> str:
    """The folder of those records, of a cluster, a collection or one backup."""
    return _below(EXPIRED, cluster, collection, backup_id)


def acknowledgement(cluster: str, acknowledgement_id: str) -> str:
    """The path of one acknowledgement."""
    return f"{acknowledgements(cluster)}/{checked(acknowledgement_id)}.json"


def acknowledgements(cluster: str) -> str:
    """The folder of all acknowledgements of a cluster."""
    return f"{ACKNOWLEDGED}/{checked(cluster)}"


def in_undo(cluster: str, collection: str, run_id: str, file: str) -> str:
    """The path of one file of the undo record of a run."""
    return f"{undos(cluster, collection)}/{checked(run_id)}/{checked(file)}"


def undos(cluster: str, collection: str | None = None) -> str:
    """The folder of all undo records of a cluster, or of one collection."""
    return _below(UNDO, cluster, collection, None)


def is_boxed(path: str) -> bool:
    """Whether an encrypted repository has this record in a box: it holds values or ids of
    points."""
    top, _, _ = path.partition("/")
    return top == UNDO or (top == BACKUPS and path.endswith(f"/{SEAL}"))


def run_start(run_id: str, started_at: datetime) -> str:
    """The path of the record that a run began."""
    return f"{_month(started_at)}/{checked(run_id)}.start.json"


def run_end(run_id: str, started_at: datetime) -> str:
    """The path of the record of how a run ended; beside its start."""
    return f"{_month(started_at)}/{checked(run_id)}.end.json"


def watch(cluster: str, run_id: str, started_at: datetime) -> str:
    """The path of the record of a look; ids sort by time."""
    return f"{watches(cluster, started_at)}/{checked(run_id)}.json"


def watches(cluster: str, month: datetime) -> str:
    """The folder of all looks of a month."""
    return f"{WATCHES}/{checked(cluster)}/{month.astimezone(UTC):%Y/%m}"


def bundles_of(folder: str) -> str | None:
    """The folder of the bundles of what lies below a folder of a whole cluster, or of the runs of
    one month; None for any other folder."""
    top, *steps = folder.split("/")
    if top == RUNS and len(steps) == 2:
        return f"{BUNDLES}/{top}/{'-'.join(steps)}"
    if top in (BACKUPS, PROOFS, EXPIRED) and len(steps) == 1:
        return f"{BUNDLES}/{top}/{steps[0]}"
    return None


def may_be_bundled(path: str) -> bool:
    """Whether a look reads this record, so that a bundle may have it."""
    top, _, below = path.partition("/")
    read = top in (PROOFS, EXPIRED, RUNS) or (
        top == BACKUPS and below.endswith((f"/{MANIFEST}", f"/{SEAL}"))
    )
    return read and is_ours(path)


def ledger_folder(number: int) -> str:
    """The folder of the entry of this number, and of its neighbours."""
    return f"{EVIDENCE}/{number // ENTRIES_PER_FOLDER:07d}"


def ledger_entry(number: int) -> str:
    """The path of the entry of this number; its signature and timestamp lie beside it."""
    return f"{ledger_folder(number)}/{number:010d}.json"


def entry_number(path: str) -> int | None:
    """The number of the entry that lies at this path; None if none may."""
    name = path.rpartition("/")[2].removesuffix(".json")
    if not (path.endswith(".json") and name.isdecimal()):
        return None
    return number if path == ledger_entry(number := int(name)) else None


def in_ledger(path: str) -> bool:
    """Whether the ledger names it: every record of ours but for the ledger itself, and for looks of
    `watch`, from which nothing is derived."""
    top, file = path.partition("/")[0], path.rpartition("/")[2]
    return top not in (EVIDENCE, PROBES, WATCHES) and file.endswith(".json") and is_ours(path)


def stem(path: str) -> str:
    """The name of a record without its folders and `.json`: for looks, the id of their run."""
    return path.rpartition("/")[2].removesuffix(".json")


def months_around(now: datetime) -> tuple[datetime, datetime, datetime]:
    """A moment in the month before, in this one and in the next one, in UTC."""
    middle = now.astimezone(UTC).replace(day=15)
    month = timedelta(days=30)
    return (middle - month, middle, middle + month)


def run_months(since: datetime, until: datetime) -> Iterator[str]:
    """The folders of every month that the period touches."""
    at = since.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while at <= until:
        yield _month(at)
        at = at.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)


def run_of(path: str) -> tuple[str, datetime] | None:
    """Month folder and time of the run that a record below `runs/` is of; None if it is none."""
    month, _, file = path.rpartition("/")
    began = time_if_id(file.partition(".")[0])
    return (month, began) if began is not None and file.endswith(RUN_RECORDS) else None


def _month(at: datetime) -> str:
    return f"{RUNS}/{at.astimezone(UTC):%Y/%m}"


class InBackup(NamedTuple):
    """What a path below `backups/` names."""

    folder: str
    cluster: str
    collection_folder: str
    backup_id: str
    file: str


def read_backup_path(path: str) -> InBackup | None:
    """Take a path below `backups/`, `proofs/` or `expired/` apart; None if it is not ours."""
    steps = path.split("/")
    if len(steps) != 5 or steps[0] not in (BACKUPS, PROOFS, EXPIRED) or not _ID.match(steps[3]):
        return None
    return InBackup("/".join(steps[1:4]), *steps[1:])


class InPacks(NamedTuple):
    """What a path below `packs/` names."""

    cluster: str
    collection_folder: str
    backup_id: str
    number: int

    @property
    def name(self) -> str:
        """The name that recipes call it by."""
        return pack_name(self.backup_id, self.number)


def read_pack_path(path: str) -> InPacks | None:
    """Take the path of a pack apart; None if it is none of ours."""
    top, *steps = path.split("/")
    if top != PACKS or len(steps) != 3 or not is_ours(path) or not (match := _PACK.match(steps[2])):
        return None
    return InPacks(steps[0], steps[1], match[1], int(match[2]))
