"""`python -m benchmarks.detection [--mutations 300]`: what share of damage each depth catches.

Seeded mutations of real archives. `bytes` compares with the manifest of the undamaged archive;
all other depths run alone, on a manifest recomputed for the mutant, as if the damage had happened
before it was written: so SHA-256 is silent, and only what a depth itself sees counts. `before` is
the first reading, without a seal but with a live sample of the source; the others have the seal
of the undamaged archive. `restore` is a real server (QDRANT_BIN) on `--restores` of the mutants:
it refuses them, or serves other points, loses payload indexes, or answers searches worse.
A mutant that no depth but `bytes` catches is named, with whether its points are all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from benchmarks import machine
from qdrant_dr.cluster import (
    Node,
    collection_facts,
    drop_target,
    recover_by_upload,
    scroll_points,
    wait_ready,
)
from qdrant_dr.cluster.collection_config import differences
from qdrant_dr.errors import ClusterError, ProofError
from qdrant_dr.jobs.target.search import search_served
from qdrant_dr.proof import (
    LiveSample,
    compare_served,
    digest_point,
    engine_version,
    plan_seal,
    prove,
)
from qdrant_dr.records import Depth, Manifest, Seal
from tests.support import records
from tests.support.archives import (
    END,
    MemoryReader,
    RawMember,
    archive,
    backup,
    put_together,
    take_apart,
)
from tests.support.replay import truth
from tests.support.servers import qdrant_server

MUTANTS = 300
RESTORES = 60
SEED = 20261122
SETS = ("basic", "rich", "sharded", "busy")
STALE = {"basic": "single", "rich": "basic", "sharded": "basic", "busy": "motion"}
LIVE = 64
COLUMNS = ("bytes", "structure", "load", "before", "content", "search")


@dataclass(frozen=True)
class Mutant:
    """A damaged archive, and in words what was done to it."""

    kind: str
    set_name: str
    what: str
    data: bytes


def flip(data: bytes, rng: random.Random, _: str) -> tuple[bytes, str]:
    at = rng.randrange(len(data))
    out = bytearray(data)
    out[at] ^= 1 << rng.randrange(8)
    return bytes(out), f"bit in byte {at}, {where(data, at)}"


def truncate(data: bytes, rng: random.Random, _: str) -> tuple[bytes, str]:
    at = rng.randrange(len(data))
    return data[:at], f"cut at byte {at}, {where(data, at)}"


def cut_clean(data: bytes, rng: random.Random, _: str) -> tuple[bytes, str]:
    """What an unpacker takes for a whole archive: cut behind a member, proper end."""
    members = take_apart(data)
    keep = rng.randrange(len(members))
    return put_together(members[:keep]), f"nothing behind member {keep}"


def drop(data: bytes, rng: random.Random, _: str) -> tuple[bytes, str]:
    def edit(members: list[RawMember]) -> tuple[list[RawMember], str]:
        at = rng.randrange(len(members))
        return members[:at] + members[at + 1 :], f"without {members[at].name}"

    return edited(data, rng, edit)


def swap(data: bytes, rng: random.Random, _: str) -> tuple[bytes, str]:
    def edit(members: list[RawMember]) -> tuple[list[RawMember], str]:
        one, two = rng.sample(range(len(members)), 2)
        out = list(members)
        out[one] = members[one].with_data(members[two].data)
        out[two] = members[two].with_data(members[one].data)
        return out, f"{members[one].name} and {members[two].name}"

    return edited(data, rng, edit)


def stale(data: bytes, rng: random.Random, set_name: str) -> tuple[bytes, str]:
    """Members of another archive under the same position."""
    others = take_apart(archive(f"{STALE[set_name]}/collection"))
    members = take_apart(data)
    at = rng.randrange(len(members))
    kind = members[at].name.rsplit("/", 2)[-2:][0]
    same = [m for m in others if m.name.rsplit("/", 2)[-2:][0] == kind] or others
    other = rng.choice(same)
    members[at] = members[at].with_data(other.data) if plain(members[at], other) else other
    return put_together(members), f"{members[at].name} from {STALE[set_name]}"


def zero_page(data: bytes, rng: random.Random, _: str) -> tuple[bytes, str]:
    pages = [at for at in range(0, len(data) - 4096, 4096) if any(data[at : at + 4096])]
    at = rng.choice(pages)
    return data[:at] + bytes(4096) + data[at + 4096 :], f"page at byte {at}, {where(data, at)}"


KINDS: dict[str, Callable[[bytes, random.Random, str], tuple[bytes, str]]] = {
    "bit flip": flip,
    "truncation": truncate,
    "clean cut": cut_clean,
    "dropped member": drop,
    "swapped members": swap,
    "stale member": stale,
    "zeroed page": zero_page,
}


def edited(
    data: bytes,
    rng: random.Random,
    edit: Callable[[list[RawMember]], tuple[list[RawMember], str]],
) -> tuple[bytes, str]:
    """Edit the members of the archive, or those of one of its segments."""
    members = take_apart(data)
    segments = [n for n, m in enumerate(members) if m.name.endswith(".tar")]
    if rng.random() < 0.5:
        changed, what = edit(members)
        return put_together(changed), what
    at = rng.choice(segments)
    inner, what = edit(take_apart(members[at].data))
    members[at] = members[at].with_data(put_together(inner, end=b""))
    return put_together(members), f"{what} in {members[at].name}"


def plain(one: RawMember, two: RawMember) -> bool:
    return b"S" not in (one.header[156:157], two.header[156:157])


def where(data: bytes, at: int) -> str:
    """The member that a byte belongs to."""
    position = 0
    for member in take_apart(data):
        end = position + len(member.to_bytes())
        if at < end:
            inside = at - position - len(member.header)
            if inside >= 0 and member.name.endswith(".tar"):
                return where(member.data, inside)
            return member.name if inside >= 0 else f"header of {member.name}"
        position = end
    return "the end" if at >= len(data) - len(END) else "padding"


def mutants(count: int) -> list[Mutant]:
    """The same ones for the same count, each different from what it was made of."""
    rng, made = random.Random(SEED), []
    while len(made) < count:
        kind = list(KINDS)[len(made) % len(KINDS)]
        set_name = rng.choice(SETS)
        whole = archive(f"{set_name}/collection")
        data, what = KINDS[kind](whole, rng, set_name)
        if data != whole:
            made.append(Mutant(kind, set_name, what, data))
    return made


def seals(folder: Path) -> dict[str, Seal]:
    made = {}
    for set_name in SETS:
        manifest, reader = backup(set_name)
        read = prove(manifest, reader, depth="content", folder=folder).read_back
        assert read is not None
        made[set_name] = plan_seal(manifest, read, None, None, drift_limit=1, now=records.NOW)
    return made


def caught(mutant: Mutant, seal: Seal, folder: Path) -> tuple[set[str], bool]:
    """Columns that see the damage, and whether the engine still reads every point unchanged."""
    whole, _ = backup(mutant.set_name)
    manifest, reader = backup(mutant.set_name, data={"collection": mutant.data or b"\0"})
    found = set()
    if not prove(whole, reader, depth="bytes", folder=folder).passed:
        found.add("bytes")
    for depth in ("structure", "load", "content", "search"):
        if not alone(manifest, reader, depth, seal, folder):
            found.add(depth)
    points = random.Random(SEED).sample(truth(mutant.set_name), LIVE)
    live = LiveSample({p["id"]: digest_point(p) for p in points})
    try:
        first = prove(
            manifest, reader, depth="content", folder=folder, alone=True,
            sampled_ids=list(live.points),
        )  # fmt: skip
    except ProofError:
        return found | {"before"}, False
    if first.read_back is None or not first.passed:
        return found | {"before"}, False
    try:
        plan_seal(manifest, first.read_back, live, None, drift_limit=1, now=records.NOW)
    except ProofError:
        found.add("before")
    return found, first.read_back.total == seal.total


def alone(manifest: Manifest, reader: MemoryReader, depth: Depth, seal: Seal, folder: Path) -> bool:
    """Whether it passes; what keeps a depth from looking is no pass either."""
    try:
        return prove(manifest, reader, depth=depth, folder=folder, alone=True, seal=seal).passed
    except ProofError:
        return False


class Scratch:
    """A real server that mutants are restored into; a new one where one did not survive."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, 0
        self.stack = ExitStack()
        self.node = self.start()

    def start(self) -> Node:
        self.stack.close()
        self.started += 1
        server = self.stack.enter_context(qdrant_server(self.folder / f"server-{self.started}"))
        return self.stack.enter_context(Node(server.url))

    def catches(self, mutant: Mutant, seal: Seal) -> bool:
        """Whether a restore refuses it, or shows that it is not what was sealed."""
        name = "qdr-drill-mutant"
        manifest, _ = backup(mutant.set_name, data={"collection": mutant.data or b"\0"})
        (part,) = manifest.parts
        try:
            recover_by_upload(
                self.node, name, [mutant.data or b"\0"], size=part.size_bytes, sha256=part.sha256
            )
            wait_ready(self.node, name, timeout=timedelta(seconds=30))
            served = compare_served(scroll_points(self.node, name), seal.shards)
            info = collection_facts(self.node, name).info
            unlike = differences(json.loads(manifest.collection_info), info)
            lost = any(words.startswith("payload index ") for words in unlike)
            return not served.equal or lost or bool(search_served(self.node, name, seal)[0])
        except ClusterError:
            return True
        finally:
            try:
                drop_target(self.node, name)
            except ClusterError:
                self.node = self.start()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    default = int(os.environ.get("BENCH_MUTANTS", str(MUTANTS)))
    parser.add_argument("--mutations", type=int, default=default)
    parser.add_argument("--restores", type=int, default=RESTORES)
    asked = parser.parse_args()
    print(machine(engine_version()))
    made = mutants(asked.mutations)
    with tempfile.TemporaryDirectory(prefix="qdr-bench-") as name, ThreadPoolExecutor(2) as pool:
        folder = Path(name)
        sealed = seals(folder)
        results = list(pool.map(lambda m: caught(m, sealed[m.set_name], folder), made))
        show(made, results)
        if "QDRANT_BIN" not in os.environ:
            print("  restore: not measured: it needs a server, set QDRANT_BIN")
            return
        scratch = Scratch(folder)
        with scratch.stack:
            chosen = range(0, len(made), max(1, len(made) // max(1, asked.restores)))
            served = {n: scratch.catches(made[n], sealed[made[n].set_name]) for n in chosen}
        show_restores(made, results, served)


def show_restores(
    made: Sequence[Mutant], results: Sequence[tuple[set[str], bool]], served: Mapping[int, bool]
) -> None:
    """What a real server makes of some of them, and where it and the engine disagree."""
    print(f"  restore: {sum(served.values())} of {len(served)} mutants caught by a real server")
    for n, seen in served.items():
        engine = bool(results[n][0] - {"bytes"})
        if seen != engine:
            who = "by the server alone" if seen else "by the engine alone"
            print(f"    {who}: {made[n].kind} of {made[n].set_name}: {made[n].what}")


def show(made: Sequence[Mutant], results: Sequence[tuple[set[str], bool]]) -> None:
    """The table, and every mutant that nothing but SHA-256 catches."""
    totals, seen = Counter(m.kind for m in made), Counter[tuple[str, str]]()
    for mutant, (found, _) in zip(made, results, strict=True):
        seen.update((mutant.kind, column) for column in found)
        seen.update([(mutant.kind, "deep")] if found - {"bytes"} else [])
    columns = (*COLUMNS, "deep")
    print(f"detection: {len(made)} mutants of real archives, share caught by each depth alone")
    print(f"  {'':16} {'mutants':>7} " + " ".join(f"{c:>9}" for c in columns))
    for kind in [*totals, "all"]:
        total = len(made) if kind == "all" else totals[kind]
        shares = (
            sum(n for (k, c), n in seen.items() if c == column and kind in (k, "all")) / total
            for column in columns
        )
        print(f"  {kind:16} {total:7} " + " ".join(f"{share:9.0%}" for share in shares))
    print("  before: first reading, no seal yet; content: with the seal; deep: any but `bytes`")
    others = {"structure", "load", "before", "content"}
    kinds = Counter(
        m.kind
        for m, (found, _) in zip(made, results, strict=True)
        if "search" in found and not found & others
    )
    told = ", ".join(f"{count} of {kind}" for kind, count in sorted(kinds.items())) or "none"
    print(f"  caught by search and no depth before but `bytes`: {told}")
    missed = [
        (m, same) for m, (found, same) in zip(made, results, strict=True) if not found - {"bytes"}
    ]
    apart = sum(not same for _, same in missed)
    print(f"  caught by SHA-256 alone: {len(missed)}, {apart} of them with points that differ")
    for mutant, same in missed:
        state = "every point is unchanged" if same else "POINTS DIFFER"
        print(f"    {mutant.kind} of {mutant.set_name}: {mutant.what}: {state}")
    for mutant, (found, _) in zip(made, results, strict=True):
        if "bytes" not in found:
            print(f"    NOT EVEN BY SHA-256: {mutant.kind} of {mutant.set_name}: {mutant.what}")


if __name__ == "__main__":
    main()
