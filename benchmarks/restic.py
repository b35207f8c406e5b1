"""restic, the peer of `vault`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path


class Restic:
    """A repository in a folder."""

    VERSION = ("--repository-version", "2")

    def __init__(self, path: str, version: str, environment: Mapping[str, str]) -> None:
        self.path, self.version, self.environment = path, version, environment

    @classmethod
    def find(cls) -> Restic | None:
        """The one in PATH, if it compresses."""
        if (path := shutil.which("restic")) is None:
            return None
        said = subprocess.run([path, "version"], capture_output=True, text=True, check=True).stdout
        found = re.match(r"restic (\d+)\.(\d+)", said)
        if found is None or (int(found[1]), int(found[2])) < (0, 14):
            return None
        return cls(path, said.split(" compiled")[0].strip(), {})

    def at(self, repository: Path, folder: Path) -> Restic:
        """The same with this repository, and nothing of it outside a folder."""
        told = {
            "RESTIC_REPOSITORY": str(repository),
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(folder / "restic-cache"),
        }
        return Restic(self.path, self.version, {**os.environ, **told})

    def run(self, *words: str) -> None:
        """Run one command."""
        command = [self.path, *words]
        subprocess.run(command, env=self.environment, check=True, capture_output=True)

    def dump(self, archive: Path, out: Path) -> None:
        """Write a file of the newest snapshot."""
        with out.open("wb") as file:
            command = [self.path, "dump", "latest", str(archive)]
            subprocess.run(command, env=self.environment, check=True, stdout=file)
