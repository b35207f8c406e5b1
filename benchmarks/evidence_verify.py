"""How fast a year of ledger is verified: 36,500 signed entries, and how much memory that takes.

    python benchmarks/evidence_verify.py [--entries 36500] [--records]

A promise: under 10 s and 300 MiB. Each entry names eight records and two heads, as a run of a few
collections in three clouds does. `--records` writes the records, too, and reads each of them.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from qdrant_dr import layout
from qdrant_dr.evidence.places import in_folder
from qdrant_dr.evidence.trust import read_trust
from qdrant_dr.evidence.verify import cross_check, examine
from qdrant_dr.records.base import canonical_json
from qdrant_dr.records.ledger import FIRST, Head, LedgerEntry, Written
from qdrant_dr.records.proof import Location
from qdrant_dr.records.repository import RepositoryRecord
from qdrant_dr.signing import sshsig
from qdrant_dr.signing.allowed_signers import LEDGER, AllowedSigner
from qdrant_dr.signing.ssh_keys import new_key

RECORDS, EVERY = 8, timedelta(minutes=14)
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> int:
    """Write a ledger, then verify it in a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--entries", type=int, default=36_500)
    parser.add_argument("--records", action="store_true")
    parser.add_argument("--verify", type=Path)
    given = parser.parse_args()
    if given.verify:
        return verify(given.verify, records=given.records)
    with TemporaryDirectory(prefix="qdr-ledger-") as folder:
        write(Path(folder), given.entries, records=given.records)
        words = [sys.executable, __file__, "--verify", folder]
        words += ["--records"] * given.records
        return subprocess.run(words, check=False).returncode


def write(folder: Path, entries: int, *, records: bool) -> None:
    """Write a ledger of so many entries."""
    key = new_key()
    (folder / "trusted").write_text(AllowedSigner("ledger@year", key.public, LEDGER).line + "\n")
    there = Location(protocol="s3", endpoint="", bucket="evidence", prefix="")
    made = RepositoryRecord(id="0a0b0c0d", layout="plain", created_at=BEGAN, tool_version="1")
    (folder / layout.REPOSITORY).write_bytes(made.to_bytes())
    previous = FIRST
    for number in range(1, entries + 1):
        at = BEGAN + number * EVERY
        entry = LedgerEntry(
            repository_id=made.id,
            location=there,
            number=number,
            previous=previous,
            previous_stored_at=at - EVERY if number > 1 else None,
            at=at,
            cluster="year",
            run_id=f"{at:%Y%m%dT%H%M%SZ}-{number % 0xFFFFFF:06x}",
            job="backup",
            signer=key.public.fingerprint,
            records=tuple(record(folder, number, n, at, write=records) for n in range(RECORDS)),
            heads=tuple(
                Head(repository_id=f"{n:08x}", number=number, sha256=digest(f"{n} {number}"))
                for n in (1, 2)
            ),
        )
        data = entry.to_bytes()
        file = folder / layout.ledger_entry(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        signature = sshsig.sign(data, key, LEDGER)
        file.with_name(f"{file.name}{layout.SIGNATURE}").write_bytes(signature)
        previous = hashlib.sha256(data).hexdigest()


def record(folder: Path, number: int, n: int, at: datetime, *, write: bool) -> Written:
    """One record that an entry names; written only where it is to be read."""
    backup = f"{at:%Y%m%dT%H%M%SZ}-{n:06x}"
    path = f"proofs/year/movies-0123abcd/{backup}/{at:%Y%m%dT%H%M%SZ}-{number % 0xFFFFFF:06x}.json"
    if not write:
        return Written(path=path, sha256=digest(path), size_bytes=1500)
    body = {"kind": "proof", "format": 1, "said": path * 15}
    data = canonical_json({**body, "sha256": hashlib.sha256(canonical_json(body)).hexdigest()})
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return Written(path=path, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def digest(text: str) -> str:
    """Return the SHA-256 of a text, hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def verify(folder: Path, *, records: bool) -> int:
    """Verify it and say what that took; without records only the ledger, as of a witness."""
    began, used = time.perf_counter(), time.process_time()
    source = in_folder(folder, "year")
    (found,) = cross_check([examine(source, read_trust(folder / "trusted"), records=records)])
    seconds, busy = time.perf_counter() - began, time.process_time() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for check in found.checks:
        print(f"  {check.name}: {check.state}: {check.found}")
    entries = len(found.chain.hashes)
    print(f"{entries} entries: {seconds:.1f} s ({busy:.1f} s of processor), {memory:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
