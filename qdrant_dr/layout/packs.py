"""Paths of recipes, packs and key slots."""

from __future__ import annotations

from typing import NamedTuple

from qdrant_dr.layout.backups import folder_below
from qdrant_dr.layout.names import KEYS, PACK_FILE, PACKS, checked
from qdrant_dr.layout.shapes import is_ours


def recipe_file(part_file: str) -> str:
    """The file that says how a part is put together: `shard-0.recipe` for `shard-0.snapshot`."""
    return f"{part_file.removesuffix('.snapshot')}.recipe"


def part_file_of(recipe: str) -> str | None:
    """The file of the part that a recipe is of; None if it is no recipe."""
    name = recipe.removesuffix(".recipe")
    return f"{name}.snapshot" if name != recipe else None


def packs(cluster: str, collection: str | None = None) -> str:
    """The folder of all packs of a cluster, or of one collection."""
    return folder_below(PACKS, cluster, collection, None)


def is_pack_name(name: str) -> bool:
    """Whether a pack may be called so."""
    return PACK_FILE.fullmatch(f"{name}.pack") is not None


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
    match = PACK_FILE.fullmatch(f"{name}.pack")
    return match is not None and match[1] == backup_id


def key_slots(key_id: str | None = None) -> str:
    """The folder of the slots of all keys, or of one."""
    return KEYS if key_id is None else f"{KEYS}/{checked(key_id)}"


def key_slot(key_id: str, slot_id: str) -> str:
    """The path of one slot of a key."""
    return f"{key_slots(key_id)}/{checked(slot_id)}.json"


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
    if (
        top != PACKS
        or len(steps) != 3
        or not is_ours(path)
        or not (match := PACK_FILE.match(steps[2]))
    ):
        return None
    return InPacks(steps[0], steps[1], match[1], int(match[2]))
