"""Recipes: how a part is put together out of literal bytes and runs of blocks in packs.

    qdr recipe 1
    backup prod/movies-6a7b8c9d/20261122T101530Z-7f3a9c
    part collection.snapshot
    size 1048576
    sha256 <hex>
    packs 1
    20261121T101502Z-1a2b3c-1
    bytes <base64>
    run <pack> <first> <count> <bytes>

A pack is named without its folder, and counted from zero: so no recipe can name a pack of another
collection. A run is `count` blocks of one pack, from `first` on, which are `bytes` of the part.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from qdrant_dr.errors import RecipeDamaged, RecordUnknown
from qdrant_dr.layout import is_pack_name
from qdrant_dr.vault.box import BLOCK, MOST_BLOCKS, least_box
from qdrant_dr.vault.known_blocks import Pack

FORMAT = b"qdr recipe 1"
_FIRST = re.compile(rb"qdr recipe (\d{1,6})")
_NUMBER = rb"(0|[1-9]\d{0,18})"
_RUN = re.compile(rb"run %b %b %b %b" % ((_NUMBER,) * 4))
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Run(NamedTuple):
    """Blocks that stand side by side in a pack; `pack` counts in the recipe's list."""

    pack: int
    first: int
    blocks: int
    size: int


Step = bytes | Run


@dataclass(frozen=True, slots=True)
class Recipe:
    """What was read of a recipe, and checked."""

    folder: str
    part: str
    size_bytes: int
    sha256: str
    packs: tuple[str, ...]
    body: bytes
    """Its steps, line by line: a list of them could be large."""

    def steps(self) -> Iterator[Step]:
        """Yield what the part is made of, in order."""
        for line in _lines(self.body):
            yield _step(line)

    def least_sizes(self) -> dict[str, int]:
        """Return how many bytes each pack has at least: one that has fewer was cut."""
        last = [0] * len(self.packs)
        for step in self.steps():
            if isinstance(step, Run):
                last[step.pack] = max(last[step.pack], step.first + step.blocks)
        return {name: least_box(blocks) for name, blocks in zip(self.packs, last, strict=True)}

    def to_bytes(self) -> bytes:
        """Return the text of the recipe."""
        head = (
            f"{FORMAT.decode()}\nbackup {self.folder}\npart {self.part}\nsize {self.size_bytes}\n"
            f"sha256 {self.sha256}\npacks {len(self.packs)}\n"
        )
        return head.encode() + b"".join(f"{p}\n".encode() for p in self.packs) + self.body


class RecipeBuilder:
    """Takes literals and blocks in order; blocks that stand side by side become one run.

    A pack needs its name at the end only.
    """

    def __init__(self) -> None:
        self._packs: dict[Pack, int] = {}
        self._body = bytearray()
        self._run: Run | None = None
        self.size_bytes = 0

    @property
    def packs(self) -> tuple[Pack, ...]:
        """Return the packs so far."""
        return tuple(self._packs)

    def add_bytes(self, data: bytes) -> None:
        """Append literal bytes."""
        self._end_run()
        self._body += b"bytes " + base64.b64encode(data) + b"\n"
        self.size_bytes += len(data)

    def add_block(self, pack: Pack, number: int, size: int) -> None:
        """Append one block of a pack."""
        at = self._packs.setdefault(pack, len(self._packs))
        run = self._run
        if run is not None and run.pack == at and run.first + run.blocks == number:
            self._run = Run(at, run.first, run.blocks + 1, run.size + size)
        else:
            self._end_run()
            self._run = Run(at, number, 1, size)
        self.size_bytes += size

    def finish(self, folder: str, part: str, sha256: str) -> Recipe:
        """Return the recipe of all that was added."""
        self._end_run()
        names = tuple(pack.name for pack in self._packs)
        return Recipe(folder, part, self.size_bytes, sha256, names, bytes(self._body))

    def _end_run(self) -> None:
        if self._run is not None:
            self._body += b"run %d %d %d %d\n" % self._run
            self._run = None


def read_recipe(path: str, text: bytes, *, folder: str, part: str) -> Recipe:
    """Parse a recipe and check that it is the one of this part, and adds up.

    Raise RecipeDamaged, or RecordUnknown for a later format.
    """
    try:
        found = _parse(path, text)
    except (ValueError, IndexError, UnicodeDecodeError) as e:
        raise RecipeDamaged(f"{path} is no recipe: {e}") from None
    if (found.folder, found.part) != (folder, part):
        raise RecipeDamaged(f"{path} is the recipe of {found.part} of {found.folder}: misplaced")
    return found


def _parse(path: str, text: bytes) -> Recipe:
    lines, at = [], 0
    for _ in range(6):
        end = text.index(b"\n", at)
        lines.append(text[at:end])
        at = end + 1
    later = _FIRST.fullmatch(lines[0])
    if later and lines[0] != FORMAT:
        raise RecordUnknown(f"{path} is a recipe of format {later[1].decode()}")
    if lines[0] != FORMAT:
        raise ValueError("it does not begin as one")
    folder, part, size, sha256, count = (
        _value(line, name)
        for line, name in zip(lines[1:], ("backup", "part", "size", "sha256", "packs"), strict=True)
    )
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256[:70]!r} is no SHA-256")
    packs = []
    for _ in range(_whole(count)):
        end = text.index(b"\n", at)
        packs.append(text[at:end].decode("ascii"))
        at = end + 1
    if len(set(packs)) != len(packs):
        raise ValueError("it names a pack twice")
    if wrong := [name for name in packs if not is_pack_name(name)]:
        raise ValueError(f"{wrong[0][:60]!r} is no name of a pack")
    found = Recipe(folder, part, _whole(size), sha256, tuple(packs), bytes(text[at:]))
    _check_steps(found)
    return found


def _check_steps(recipe: Recipe) -> None:
    """Raise ValueError unless every step may be, every pack is used, and all adds up."""
    if recipe.body and not recipe.body.endswith(b"\n"):
        raise ValueError("its last line is cut")
    total, used = 0, bytearray(len(recipe.packs))
    for step in recipe.steps():
        if isinstance(step, bytes):
            if not 0 < len(step) <= BLOCK:
                raise ValueError(f"{len(step)} literal bytes in one step")
            total += len(step)
            continue
        if step.pack >= len(used):
            raise ValueError(f"it has {len(used)} packs, and no pack {step.pack}")
        if not step.blocks or step.first + step.blocks > MOST_BLOCKS:
            raise ValueError(f"a run of {step.blocks} blocks from {step.first} on")
        if not step.blocks <= step.size <= step.blocks * BLOCK:
            raise ValueError(f"a run of {step.blocks} blocks with {step.size} bytes")
        used[step.pack] = 1
        total += step.size
    if total != recipe.size_bytes:
        raise ValueError(f"its steps make {total} bytes, not {recipe.size_bytes}")
    if not all(used):
        raise ValueError("it names a pack that it does not use")


def _lines(body: bytes) -> Iterator[bytes]:
    at = 0
    while (end := body.find(b"\n", at)) >= 0:
        yield body[at:end]
        at = end + 1


def _step(line: bytes) -> Step:
    if match := _RUN.fullmatch(line):
        return Run(*map(int, match.groups()))
    kind, _, data = line.partition(b" ")
    if kind != b"bytes":
        raise ValueError(f"{line[:40]!r} is no step")
    try:
        literal = base64.b64decode(data, validate=True)
    except binascii.Error:
        raise ValueError("literal bytes that cannot be decoded") from None
    if base64.b64encode(literal) != data:
        raise ValueError("literal bytes in another form than they are written in")
    return literal


def _value(line: bytes, name: str) -> str:
    label, _, value = line.decode("ascii").partition(" ")
    if label != name:
        raise ValueError(f"{label[:20]!r} stands where {name!r} should")
    return value


def _whole(text: str) -> int:
    if not re.fullmatch(_NUMBER, text.encode()):
        raise ValueError(f"{text[:20]!r} is no number")
    return int(text)
