"""Say what the lock file of the image installs, as a CycloneDX document: `make sbom`.

    python -m deployments.tools.sbom [LOCK] > qdrant-dr.cdx.json

Versions, SHA-256 and who needs what come from the lock file; licences from the installed packages,
where they are the same version. The same lock gives the same document, so there is no time in it.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from qdrant_dr.version import __version__

LOCK = Path(__file__).parents[1] / "images" / "requirements.lock"
US = "qdrant-dr"
OURSELVES = f"{US} (pyproject.toml)"
_PACKAGE = re.compile(r"^([a-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)(?: ; ([^\\\n]+?))? *\\?$")


@dataclass(frozen=True)
class Locked:
    """One package of the lock: `needed_by` are names; `marker` says on which machines."""

    name: str
    version: str
    marker: str | None
    sha256: tuple[str, ...]
    needed_by: tuple[str, ...]

    @property
    def purl(self) -> str:
        return f"pkg:pypi/{self.name}@{self.version}"


def locked(text: str) -> Iterator[Locked]:
    """Read a lock file of `uv pip compile --generate-hashes`."""
    for block in re.split(r"\n(?=[a-z0-9])", text):
        first, *rest = block.split("\n")
        if (head := _PACKAGE.match(first)) is None:
            continue
        hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", block))
        comments = [line.strip().removeprefix("#").strip() for line in rest if "#" in line]
        needed = [c.removeprefix("via").strip() for c in comments]
        parents = tuple(n for n in needed if n and not n.startswith("-"))
        yield Locked(head[1], head[2], head[3], hashes, parents)


def document(text: str) -> dict[str, Any]:
    """Build the document of a lock file."""
    packages = list(locked(text))
    root = f"pkg:pypi/{US}@{__version__}"
    needs: dict[str, list[str]] = {root: [], **{p.purl: [] for p in packages}}
    of_name: dict[str, list[str]] = {}
    for p in packages:
        of_name.setdefault(p.name, []).append(p.purl)
    for p in packages:
        for parent in p.needed_by:
            for purl in [root] if parent == OURSELVES else of_name.get(parent, []):
                needs[purl].append(p.purl)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, f'{root}#{digest}')}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": US,
                "version": __version__,
                "purl": root,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": [_component(p) for p in packages],
        "dependencies": [
            {"ref": ref, "dependsOn": sorted(set(found))} for ref, found in needs.items()
        ],
    }


def _component(of: Locked) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": of.purl,
        "name": of.name,
        "version": of.version,
        "purl": of.purl,
        # any of these files may be the installed one
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in of.sha256],
    }
    if licence := _licence(of):
        found["licenses"] = [licence]
    if of.marker:
        found["properties"] = [{"name": "python:marker", "value": of.marker}]
    return found


def _licence(of: Locked) -> dict[str, Any] | None:
    """Return what the package says itself: an SPDX expression, else its classifier."""
    try:
        about = metadata.metadata(of.name)
    except metadata.PackageNotFoundError:
        return None
    if about["Version"] != of.version:
        return None
    if "License-Expression" in about:
        return {"expression": about["License-Expression"]}
    kinds = [
        c.rpartition(" :: ")[2]
        for c in about.get_all("Classifier") or ()
        if c.startswith("License :: OSI Approved :: ")
    ]
    return {"license": {"name": kinds[0]}} if kinds else None


if __name__ == "__main__":
    lock = Path(sys.argv[1]) if len(sys.argv) > 1 else LOCK
    print(json.dumps(document(lock.read_text()), indent=2))
