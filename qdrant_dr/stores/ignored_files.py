"""Files that storages, desktops and consoles make by themselves; listings leave them out."""

from __future__ import annotations

import re
from fnmatch import translate

from qdrant_dr.layout import in_our_place

_KNOWN = (
    # network storages: Synology, QNAP, NetApp, ZFS
    "@eaDir", "@tmp", "*@SynoEAStream", "*@SynoResource", "#recycle", "#snapshot", "@Recycle",
    "@Recently-Snapshot", ".@__thumb", ".snapshot", ".snapshots", "~snapshot", ".zfs",
    # file systems
    "lost+found", ".nfs*", ".fuse_hidden*", ".Trash-*", ".directory",
    # macOS
    ".DS_Store", "._*", ".AppleDouble", ".AppleDB", ".apdisk", ".fseventsd", ".Spotlight-V100",
    ".TemporaryItems", ".Trashes", ".DocumentRevisions-V100",
    # Windows
    "Thumbs.db", "ehthumbs.db", "desktop.ini", "$RECYCLE.BIN", "System Volume Information",
    # tools that copy and synchronise
    ".stfolder", ".stversions", ".stignore", ".syncthing.*.tmp", "~syncthing~*.tmp", ".rsync-tmp",
    # empty objects by which consoles and Hadoop mark folders
    "*_$folder$",
)  # fmt: skip


_STEP = re.compile("|".join(translate(name) for name in _KNOWN), re.IGNORECASE)


def is_known(path: str, size_bytes: int = 0) -> bool:
    """Say whether a storage, a desktop or a console made the file by itself."""
    if in_our_place(path):
        return False
    if path.endswith("/") and not size_bytes:
        return True
    return any(_STEP.match(step) for step in path.split("/"))
