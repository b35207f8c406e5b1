"""Where an export goes: a folder of any store, into which files are put once and never again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from qdrant_dr.cancel import stoppable
from qdrant_dr.config import Config, RepositoryConfig
from qdrant_dr.errors import BytesDiffer, Conflict, DRError, PlanRefused, UsageError
from qdrant_dr.jobs.run.progress import watched
from qdrant_dr.location_key import split_url
from qdrant_dr.records import Location
from qdrant_dr.records.export import ExportBegun, ExportManifest
from qdrant_dr.repository.open_store import location_of, open_place
from qdrant_dr.stores.base import BLOCK, Store, fill

MANIFEST, BEGUN, LOST_IDS = "manifest.json", "export.json", "lost-ids.ndjson"
ELSEWHERE = "give another `--out`: nothing is ever overwritten."


@dataclass(frozen=True, slots=True)
class Destination:
    """A folder of a store. `shown` is its address without credentials."""

    store: Store
    folder: str
    shown: str

    def files(self) -> tuple[str, ...]:
        """Return what an export that was begun there has put, besides what says so.

        Raise PlanRefused if an export is there already, or something else is, and what the store
        says to credentials that may not list."""
        there = {s.path.removeprefix(f"{self.folder}/") for s in self.store.find(self.folder)}
        if MANIFEST in there:
            raise PlanRefused(f"there is an export at {self.shown} already", ELSEWHERE)
        if there and BEGUN not in there:
            shown = ", ".join(sorted(there)[:3])
            raise PlanRefused(f"{self.shown} is not empty: {shown}", ELSEWHERE)
        return tuple(sorted(there - {BEGUN}))

    def begin(self, begun: ExportBegun) -> tuple[str, ...]:
        """Claim the folder for this export; return the files that an earlier try has left there.

        Raise PlanRefused as `files`, or if another export was begun there, and what the store says
        to credentials that may not write."""
        there = self.files()
        try:
            self.store.create(self._path(BEGUN), begun.to_bytes())
        except Conflict:
            raise PlanRefused(
                f"another export was begun at {self.shown}, and has no manifest yet: of another "
                f"backup, or in another format ({BEGUN} says which)",
                "give another `--out`, or remove what that one has left.",
            ) from None
        return there

    def put(self, file: Path, name: str, sha256: str) -> bool:
        """Put one file there, read it back, and say whether it was there already.

        Raise PlanRefused if other bytes are there, BytesDiffer if the store gives back others."""
        size, path = file.stat().st_size, self._path(name)
        there = self.store.stat(path) is not None
        if not there:
            with file.open("rb") as data:
                blocks = iter(lambda: data.read(BLOCK), b"")
                try:
                    fill(
                        self.store.sink(path, size_hint=size),
                        stoppable(watched(blocks, size)),
                    )
                except Conflict:
                    there = True
        if self._digest(path, size) != sha256:
            if there:
                raise PlanRefused(
                    f"{self.shown}/{name} is there already, with other bytes",
                    "give another `--out`, or remove what an earlier try has left.",
                )
            raise BytesDiffer(
                f"{self.shown}/{name} was written, and other bytes came back",
                "remove it and export again; if it happens again, ask whoever runs that storage.",
            )
        return there

    def commit(self, manifest: ExportManifest) -> None:
        """Write the manifest, last. Raise PlanRefused if somebody else was faster."""
        try:
            self.store.create(self._path(MANIFEST), manifest.to_bytes())
        except Conflict:
            raise PlanRefused(
                f"another run has finished an export at {self.shown} meanwhile",
                "compare its manifest with the backup that you want; nothing was overwritten.",
            ) from None

    def _digest(self, path: str, size: int) -> str:
        digest = hashlib.sha256()
        for block in stoppable(watched(self.store.read_range(path), size)):
            digest.update(block)
        return digest.hexdigest()

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}"


def open_destination(config: Config, url: str, credentials_of: str | None) -> Destination:
    """Open the folder of a URL, with the options and credentials of a repository if one is named,
    else with those of the environment.

    Raise UsageError for a URL that names no folder, PlanRefused for one inside a repository,
    ConfigInvalid, SecretMissing, StoreOverwrites, and what the store cannot be opened for."""
    if split_url(url)[0] == "file":
        url = str(Path(split_url(url)[1]).expanduser().absolute())
    base, _, folder = url.rstrip("/").rpartition("/")
    if not folder or base.endswith(":/") or not base:
        raise UsageError(f"--out {url} names no folder", "write one, such as s3://bucket/movies.")
    place = _place(config, base, credentials_of)
    where, store = open_place(place, stall_timeout=config.copies.stall_timeout, make=True)
    inside = f"{where.prefix}/{folder}".strip("/")
    for repository in _repositories(config):
        if _within(where.model_copy(update={"prefix": inside}), repository):
            raise PlanRefused(
                f"{url} lies inside a repository, where only backups belong", ELSEWHERE
            )
    return Destination(store, folder, f"{where}/{folder}")


def _place(config: Config, base: str, credentials_of: str | None) -> RepositoryConfig:
    like = {r.name: r for r in config.repositories}
    if credentials_of is not None and credentials_of not in like:
        raise UsageError(
            f"there is no repository {credentials_of!r}", f"choose from {', '.join(like)}."
        )
    more = {}
    if credentials_of is not None:
        taken = like[credentials_of]
        more = {"options": taken.options, "credentials": taken.credentials, "tls": taken.tls}
    try:
        return RepositoryConfig(name="export", url=base, domain="export", **more)
    except ValidationError as e:
        said = e.errors(include_url=False)[0]["msg"]
        raise UsageError(f"--out: {said}", "give a folder or a URL of a store.") from None


def _repositories(config: Config) -> Iterator[Location]:
    for repository in config.repositories:
        try:
            yield location_of(repository)
        except DRError:
            continue  # one that cannot be opened is told of by the run


def _within(where: Location, repository: Location) -> bool:
    same = (where.protocol, where.endpoint, where.bucket) == (
        repository.protocol, repository.endpoint, repository.bucket,
    )  # fmt: skip
    prefix = repository.prefix.strip("/")
    return same and (not prefix or f"{where.prefix}/".startswith(f"{prefix}/"))
