"""The end of the demo: a stranger verifies who wrote what, with a public key and stock tools."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path


def signatures_by_hand(folder: Path, trusted: Path) -> Iterator[str]:
    """Check the signature of every entry of a ledger with `ssh-keygen`, at the entry's time."""
    if shutil.which("ssh-keygen") is None:
        yield "ssh-keygen is not installed here: nothing was checked by it"
        return
    who = trusted.read_text().split()[0]
    entries = sorted(folder.glob("evidence/*/*.json"))
    good, last = 0, ""
    for entry in entries:
        when = "".join(c for c in json.loads(entry.read_bytes())["at"][:19] if c.isdigit())
        of_then = ["-O", f"verify-time={when}Z", "-s", f"{entry}.sig"]
        words = ["ssh-keygen", "-Y", "verify", "-f", str(trusted), "-I", who,
                 "-n", "ledger@qdrant-dr", *of_then]  # fmt: skip
        with entry.open("rb") as data:
            done = subprocess.run(words, stdin=data, capture_output=True, text=True, check=False)
        good += done.returncode == 0
        last = done.stdout.strip() or done.stderr.strip()
    yield last
    yield f"a good signature of {who} on {good} of {len(entries)} entries"


def evidence(config: str, trusted: Path) -> Iterator[tuple[str, bool]]:
    """Verify all repositories, each with the others as witnesses: a line of each, and whether it is
    well."""
    from qdrant_dr.configfile import load
    from qdrant_dr.evidence.places import configured
    from qdrant_dr.evidence.trust import read_trust
    from qdrant_dr.evidence.verify import cross_check, examine

    found, trust = load(config), read_trust(trusted)
    stall = found.copies.stall_timeout
    seen = [examine(configured(cfg, stall), trust) for cfg in found.repositories]
    for one in cross_check(seen):
        wrong = [f"{c.name}: {c.found}" for c in one.checks if c.state in ("doubt", "failed")]
        entries, checks = len(one.chain.hashes), len(one.checks)
        said = "; ".join(wrong) or f"{entries} entries, {checks} checks, all well"
        yield f"{one.source.name}: {said}", not wrong
