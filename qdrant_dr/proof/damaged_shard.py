"""Open what can be opened of a damaged shard: whole, else without the segments that cannot be read.

Nothing here proves anything: it reads for a salvage, and says what it left out.
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
from qdrant_dr.proof.engine import Engine, EngineLimits
from qdrant_dr.proof.layout import LaidShard
from qdrant_dr.proof.readback import copy_tree
from qdrant_dr.records import Fingerprint

PAGE = 500
IDS_PAGE = 20_000


@dataclass(frozen=True)
class OpenShard:
    """A shard that an engine holds open, every point of which was read once already.

    `dropped` are the segments that could not be read, each with the ids of points it is known to
    have held, None where not even those can be read. `logged` is whether the write-ahead log was
    replayed, None where there is none. `notes` say what was wrong.
    """

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
        """Every point with payload and vectors, as a server's scroll would give it."""
        yield from _pages(self.engine, PAGE, whole=True)

    def ids(self) -> Iterator[int | str]:
        """The id of every point."""
        for page in _pages(self.engine, IDS_PAGE, whole=False):
            yield from page


@contextmanager
def open_pieces(
    shard: LaidShard, scratch: Path, limits: EngineLimits
) -> Iterator[OpenShard | None]:
    """Open a laid out shard as whole as it will; None if no segment of it can be read.

    The laid out files stay as they are: every try is made on a copy below `scratch`, in a process
    of its own, for a broken segment may end it. Raise StorageFull.
    """
    notes = [f"segment {uuid} of shard {shard.shard} is cut or damaged" for uuid in shard.broken]
    dropped: dict[str, tuple[int | str, ...] | None] = dict.fromkeys(shard.broken)
    wanted = sorted(shard.segments.keys() - shard.broken)
    has_log = wal.last_operation(shard.folder / "wal") is not None
    with ExitStack() as stack:
        tries = _Tries(shard, scratch, limits)
        # as it is, or, where a segment is missing, with a log that brings back what it can
        for use_log in (True, False) if has_log else (False,):
            try:
                engine, read = stack.enter_context(tries.opened(wanted, use_log=use_log))
            except ProofError as e:
                notes.append(f"shard {shard.shard} {_as_tried(wanted, use_log)}: {_why(e)}")
                if use_log == has_log:  # once: which of them can be read at all?
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
    """What was wrong; and what to do where it was this machine: a second salvage brings more."""
    return error.message if error.blames_copy else f"{error.message}; {error.hint}"


class _Tries:
    """Copies of some segments of a shard, each opened by an engine of its own."""

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
        """Which segments can be read alone; and of the others the ids, where those can."""
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
            # `applied_seq.json` lets a replay begin behind what segments hold: all of them must be
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
