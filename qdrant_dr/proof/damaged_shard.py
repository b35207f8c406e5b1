"""Open as much of a damaged shard as possible: all of it, else without the unreadable segments.

Nothing here proves anything: it reads for a salvage, and reports what it left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qdrant_dr.errors import EngineFailed, ProofError
from qdrant_dr.proof import wal
from qdrant_dr.proof.copied_tree import copy_tree
from qdrant_dr.proof.engine import Engine, EngineLimits
from qdrant_dr.proof.unpack import LaidShard
from qdrant_dr.records import Fingerprint

PAGE = 500
IDS_PAGE = 20_000


@dataclass(frozen=True)
class OpenShard:
    """A shard that an engine holds open, of which every point was already read once.

    `dropped` are the unreadable segments, each with the ids of points that it is known to have
    held, None if not even those can be read. `logged` says whether the write-ahead log was
    replayed, None if there is none. `notes` say what was wrong."""

    shard: int
    engine: Engine
    fingerprint: Fingerprint
    logged: bool | None
    dropped: dict[str, tuple[int | str, ...] | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def points(self) -> int:
        return self.fingerprint.points

    def pages(self) -> Iterator[list[dict[str, Any]]]:
        """Yield every point with payload and vectors, in the form of a server's scroll."""
        yield from _pages(self.engine, PAGE, whole=True)

    def ids(self) -> Iterator[int | str]:
        """Yield the id of every point."""
        for page in _pages(self.engine, IDS_PAGE, whole=False):
            yield from page


@contextmanager
def open_pieces(
    shard: LaidShard, scratch: Path, limits: EngineLimits
) -> Iterator[OpenShard | None]:
    """Open as much of an unpacked shard as possible; None if no segment of it can be read.

    The unpacked files stay unchanged: every try uses a copy below `scratch` and its own process,
    because a broken segment may crash it. Raise StorageFull.
    """
    notes = [
        f"segment {uuid} of shard {shard.shard} is truncated or damaged" for uuid in shard.broken
    ]
    dropped: dict[str, tuple[int | str, ...] | None] = dict.fromkeys(shard.broken)
    wanted = sorted(shard.segments.keys() - shard.broken)
    has_log = wal.last_operation(shard.folder / "wal") is not None
    with ExitStack() as stack:
        tries = _Tries(shard, scratch, limits)
        # as it is or, if a segment is missing, with a log that restores what it can
        for use_log in (True, False) if has_log else (False,):
            try:
                engine, read = stack.enter_context(tries.opened(wanted, use_log=use_log))
            except ProofError as e:
                notes.append(f"shard {shard.shard} {_as_tried(wanted, use_log)}: {_why(e)}")
                if use_log == has_log:  # find out once which of them can be read at all
                    wanted, lost = tries.readable(wanted)
                    dropped |= lost
                    notes += tries.hindered
                    try:
                        engine, read = stack.enter_context(tries.opened(wanted, use_log=use_log))
                    except ProofError as again:
                        notes.append(
                            f"shard {shard.shard} {_as_tried(wanted, use_log)}: {_why(again)}"
                        )
                        continue
                else:
                    continue
            logged = use_log if has_log else None
            yield OpenShard(shard.shard, engine, read, logged, dropped, tuple(notes))
            return
        yield None


def _as_tried(segments: Sequence[str], use_log: bool) -> str:
    return f"with {len(segments)} segments and {'its' if use_log else 'no'} log"


def _why(error: ProofError) -> str:
    """Say what was wrong; if it was this machine, also what to do: a second salvage brings more."""
    return error.message if error.blames_copy else f"{error.message}; {error.hint}"


class _Tries:
    """Copies of some segments of a shard, each opened by its own engine."""

    def __init__(self, shard: LaidShard, scratch: Path, limits: EngineLimits) -> None:
        self.shard, self.scratch, self.limits = shard, scratch, limits
        self.hindered: list[str] = []
        self._count = 0

    @contextmanager
    def opened(
        self, segments: Collection[str], *, use_log: bool
    ) -> Iterator[tuple[Engine, Fingerprint]]:
        """Raise unless these segments load and every point is read."""
        with self._engine(segments, use_log=use_log) as engine:
            engine.ask("read")
            read, _ = engine.wait_read()
            yield engine, read

    def readable(
        self, segments: Sequence[str]
    ) -> tuple[list[str], dict[str, tuple[int | str, ...] | None]]:
        """Find the segments that can be read alone, and the ids of the others if possible."""
        good: list[str] = []
        lost: dict[str, tuple[int | str, ...] | None] = {}
        for uuid in segments:
            try:
                with self.opened([uuid], use_log=False):
                    good.append(uuid)
            except ProofError as e:
                if not e.blames_copy:
                    self.hindered.append(f"segment {uuid} could not be read here: {_why(e)}")
                lost[uuid] = self._ids(uuid)
        return good, lost

    def _ids(self, uuid: str) -> tuple[int | str, ...] | None:
        try:
            with self._engine([uuid], use_log=False) as engine:
                return tuple(i for page in _pages(engine, IDS_PAGE, whole=False) for i in page)
        except ProofError:
            return None

    @contextmanager
    def _engine(self, segments: Collection[str], *, use_log: bool) -> Iterator[Engine]:
        if not segments:
            raise EngineFailed(f"no segment of shard {self.shard.shard} can be read")
        self._count += 1
        folder = self.scratch / f"try-{self.shard.shard}-{self._count}"
        try:
            with Engine(self.scratch, self.limits) as engine:
                self._copy(folder, segments, use_log=use_log)
                loaded = engine.load(folder)
                if missing := set(segments) - loaded.segments.keys():
                    raise EngineFailed(f"the engine dropped {', '.join(sorted(missing))}")
                yield engine
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _copy(self, folder: Path, segments: Collection[str], *, use_log: bool) -> None:
        for uuid in segments:
            copy_tree(self.shard.folder / "segments" / uuid, folder / "segments" / uuid)
        if use_log:
            copy_tree(self.shard.folder / "wal", folder / "wal")
        if len(segments) == len(self.shard.segments):
            # `applied_seq.json` starts a replay after what the segments hold, if all are present
            for state in self.shard.folder.glob("*.json"):
                shutil.copyfile(state, folder / state.name)


def _pages(engine: Engine, limit: int, *, whole: bool) -> Iterator[list[Any]]:
    offset: int | str | None = None
    while True:
        engine.ask("page", offset=offset, limit=limit, whole=whole)
        answer = engine.wait()
        if answer["points"]:
            yield answer["points"]
        offset = answer["next"]
        if offset is None:
            return
