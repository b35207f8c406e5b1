"""Classes and tiers that providers keep objects in: which of them cannot be read at once.

A listing tells the class. Of S3's archives it does not tell whether somebody has had a copy brought
back for some days, nor of `INTELLIGENT_TIERING` whether the object was moved to an archive tier:
that is asked of the object itself. Every class of GCS, and S3's GLACIER_IR, is read like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

ARCHIVES_S3: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_MOVING: Final = "INTELLIGENT_TIERING"
_MONITORED = 128 * 1024  # bytes: smaller objects are never moved to another of its tiers


@dataclass(frozen=True, slots=True)
class Storage:
    """How a store keeps an object: class or tier in its own words; empty where it has none.

    `archived`: its bytes cannot be read before they are brought back; `thawing`: that is under way.
    """

    name: str = ""
    archived: bool = False
    thawing: bool = False

    def __str__(self) -> str:
        return self.name + ", being brought back" * self.thawing


AT_HAND: Final = Storage()


def listed(kind: str, info: Mapping[str, Any]) -> Storage:
    """What a listing says, as a file system of this kind gives it."""
    if kind == "s3":
        name = str(info.get("StorageClass") or "")
        return Storage(name, archived=name in ARCHIVES_S3)
    if kind == "az":
        name = str(info.get("blob_tier") or "")
        thawing = name == "Archive" and bool(info.get("archive_status"))
        return Storage(name, archived=name == "Archive", thawing=thawing)
    return Storage(str(info.get("storageClass") or ""))


def tells_more(kind: str, storage: Storage, size_bytes: int) -> bool:
    """Whether the object itself says more of it than a listing does."""
    if kind != "s3":
        return False
    return storage.archived or (storage.name == _MOVING and size_bytes >= _MONITORED)


def asked(storage: Storage, head: Mapping[str, Any]) -> Storage:
    """What S3 answers to a HEAD, laid over what was listed."""
    restore = str(head.get("Restore") or "")
    thawing = 'ongoing-request="true"' in restore
    if tier := head.get("ArchiveStatus"):
        return Storage(f"{storage.name}/{tier}", archived=True, thawing=thawing)
    name = str(head.get("StorageClass") or storage.name)
    archived = name in ARCHIVES_S3 and 'ongoing-request="false"' not in restore
    return replace(storage, name=name, archived=archived, thawing=archived and thawing)
