"""A file that a person asked for: whole under its name, or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from qdrant_dr.disk import NoSuchRename, take_name
from qdrant_dr.errors import PlanRefused, StorageFull
from qdrant_dr.quantities import format_size


@contextmanager
def new_file(path: Path, size_bytes: int) -> Iterator[BinaryIO]:
    """Yield a file that appears under its name if the block ends well; nothing is ever overwritten.

    Raise PlanRefused if the name is taken, StorageFull if there is no room for `size_bytes`.
    """
    if path.exists():
        raise PlanRefused(f"{path} exists already; nothing was written", "give another --out.")
    if not path.parent.is_dir():
        raise PlanRefused(f"there is no folder {path.parent}", "make it, or give another --out.")
    free = shutil.disk_usage(path.parent).free
    if size_bytes > free:
        raise StorageFull(
            f"{path} needs {format_size(size_bytes)}, {format_size(free)} are free",
            "give an --out on a larger disk, or name fewer backups.",
        )
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    try:
        with part.open("xb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        take_name(part, path)
    except FileExistsError:
        raise PlanRefused(f"{path} appeared meanwhile; it was left alone") from None
    except NoSuchRename:
        raise PlanRefused(
            f"the file system at {path.parent} has neither hard links nor a rename that refuses an "
            "existing name, so a file could be overwritten; nothing was written",
            "give an --out on another disk.",
        ) from None
    except OSError as e:
        raise StorageFull(
            f"{path} cannot be written: {e.strerror}", "give an --out on another disk."
        ) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
