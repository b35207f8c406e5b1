"""The repositories that one backup is written to, as they fall behind one by one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from qdrant_dr.errors import BytesDiffer, DRError, QuorumMissed
from qdrant_dr.jobs.run.error_facts import error_facts
from qdrant_dr.records import BackupKey, ErrorFacts, Manifest
from qdrant_dr.repository import Repository

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Destinations:
    """The repositories that still take part in one backup, and why the others do not."""

    taking_part: dict[str, Repository]
    left_behind: dict[str, ErrorFacts] = field(default_factory=dict)

    @classmethod
    def of(cls, opened: Mapping[str, Repository], failed: Mapping[str, DRError]) -> Destinations:
        """Return the repositories that could be opened. Raise QuorumMissed if none could."""
        found = cls(dict(opened), {name: error_facts(e) for name, e in failed.items()})
        found.each(lambda _: None)
        return found

    def leave(self, name: str, error: DRError) -> None:
        """Give up one repository; the others go on."""
        self.taking_part.pop(name, None)
        self.left_behind[name] = error_facts(error, repository=name)
        log.warning("%s is left behind: %s", name, error.message)

    def each(self, act: Callable[[Repository], None]) -> None:
        """Do something in every repository; one that fails is left behind."""
        for name, repository in list(self.taking_part.items()):
            try:
                act(repository)
            except DRError as e:
                self.leave(name, e)
        if not self.taking_part:
            why = "; ".join(f"{n}: {e.message}" for n, e in self.left_behind.items())
            raise QuorumMissed(
                f"no repository can take this backup: {why}",
                "repair one of them, see `qdrant-dr check`, then back up again.",
            )

    def take_back(self, key: BackupKey, file: str) -> None:
        """Remove a part that nobody will name, where it is; what stays is swept or harmless."""
        for name, repository in list(self.taking_part.items()):
            try:
                repository.drop_part(key, file)
            except DRError as e:
                log.warning("%s keeps an unused %s: %s", name, file, e.message)

    def commit(self, manifest: Manifest) -> tuple[str, ...]:
        """Write the manifest wherever every part is durable, and read it back; name who has it."""

        def commit(repository: Repository) -> None:
            repository.commit(manifest)
            if repository.manifest_bytes(manifest.key) != manifest.to_bytes():
                raise BytesDiffer(f"{repository.name} gives another manifest back than was written")

        self.each(commit)
        return tuple(self.taking_part)
