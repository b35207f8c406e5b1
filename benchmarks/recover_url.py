"""How many bytes of an archive pass through us when the target fetches it by a signed URL: 0.

A backup in an S3 emulator is restored with `--way url` into an empty server. Proxies that count
stand between us and both: everything the store answers to us, everything we send to the server,
and what the server fetches by itself. What is left are records and calls, a few kilobytes whatever
the size of the archive.
Needs nothing but the sandbox; with `QDRANT_BIN` source and target are a real server.

BENCH_POINTS (50000, on the sandbox 5000) of 128 dimensions.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benchmarks import machine
from benchmarks.readback import make_points
from qdrant_dr.quantities import format_size
from qdrant_dr.records import Restored
from tests.support.driving import do
from tests.support.servers import qdrant_server, sandbox_server
from tests.support.spy import Spy
from tests.support.stores import s3_place
from tests.support.world import in_store


def main() -> None:
    """Back up, restore by URL, print who moved how many bytes."""
    real = bool(os.environ.get("QDRANT_BIN"))
    points = int(os.environ.get("BENCH_POINTS", "50000" if real else "5000"))
    server = qdrant_server if real else sandbox_server
    print(machine())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="qdr-bench-")))
        place = stack.enter_context(s3_place(enforce=False))
        store = stack.enter_context(Spy(str(place.options["endpoint_url"])))
        source = stack.enter_context(server(folder / "source"))
        target = stack.enter_context(server(folder / "target"))
        with httpx.Client(base_url=source.url, timeout=600) as client:
            make_points(client, points)
        world = in_store(folder / "world", source.url, place, endpoint_url=store.url)
        assert do(world, "backup").verdict == "ok"
        store.traffic.clear()
        calls = stack.enter_context(Spy(target.url))
        end = do(
            world, "restore", backups=["bench@latest-proven"], to=calls.url, way="url",
            dry_run=False,
        )  # fmt: skip
        assert end.verdict == "ok", end.reasons
    detail = end.outcomes[-1].detail
    assert isinstance(detail, Restored)
    ours = [(path, size) for path, agent, size in store.traffic if "oto" in agent]
    theirs = sum(size for _, agent, size in store.traffic if "oto" not in agent)
    archive = sum(size for path, size in ours if path.endswith(".snapshot"))
    records = sum(size for path, size in ours if not path.endswith(".snapshot"))
    said = sum(size for path, _, size in calls.traffic if "scroll" not in path)
    assert theirs >= detail.size_bytes
    print(f"  archive of {points} points                {format_size(detail.size_bytes)}")
    print(f"  fetched by the server itself              {format_size(theirs)}")
    print(f"  records between the store and us          {format_size(records)}")
    print(f"  calls between the server and us           {format_size(said)}, scrolls apart")
    met = "met" if archive == detail.sent_bytes == 0 else "MISSED"
    print(f"recover-url: {archive} bytes of the archive through our process, aim 0: {met}")


if __name__ == "__main__":
    main()
