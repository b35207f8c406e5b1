"""One archive for an auditor: report, frames, records, ledgers, signatures, and how to check them.

    qdrant-dr-evidence/bundle.json, SHA256SUMS         the digest of every other file
    qdrant-dr-evidence/verify-by-hand.md, audit.md
    qdrant-dr-evidence/allowed_signers                 if one is configured: a convenience
    qdrant-dr-evidence/report/...                      page and frames
    qdrant-dr-evidence/repositories/<name>/...         each repository, without its archives, the
                                                       slots of its key, and undo records (points)

Equal records and an equal moment give equal bytes: files are sorted, and have the moment's time.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Final

from qdrant_dr import layout
from qdrant_dr.errors import DRError, EvidenceError, RecordError, UsageError
from qdrant_dr.evidence.check import Check, Examples
from qdrant_dr.evidence.ledger_reader import in_batches, list_ledger
from qdrant_dr.evidence.verify import Source
from qdrant_dr.records.evidence_bundle import Bundled, EvidenceBundle
from qdrant_dr.records.ledger import Head, Written
from qdrant_dr.records.repository import RepositoryRecord
from qdrant_dr.stores.local import LocalStore
from qdrant_dr.version import __version__

ROOT = "qdrant-dr-evidence"
CONTENTS, SUMS = "bundle.json", "SHA256SUMS"
REPOSITORIES = "repositories"
LEFT_OUT: Final = (f"{layout.KEYS}/", f"{layout.UNDO}/")
"""Folders whose records are no evidence of backups, and are nobody else's: who may try to guess the
secret of a key, and what was in points."""
_BLOCK = 2**20


@dataclass(slots=True)
class _Archive:
    """The archive while it is written."""

    tar: tarfile.TarFile
    at: datetime
    files: list[Written] = field(default_factory=list)

    def add(self, path: str, data: bytes) -> None:
        info = tarfile.TarInfo(f"{ROOT}/{path}")
        info.size, info.mtime, info.mode = len(data), int(self.at.timestamp()), 0o644
        self.tar.addfile(info, io.BytesIO(data))
        digest = hashlib.sha256(data).hexdigest()
        self.files.append(Written(path=path, sha256=digest, size_bytes=len(data)))


def write_bundle(
    out: IO[bytes],
    sources: Sequence[Source],
    pages: Mapping[str, bytes],
    *,
    cluster: str,
    as_of: datetime,
    period: timedelta,
) -> EvidenceBundle:
    """Write the archive and return what is in it. A repository that cannot be read to its end is
    named in it with its error."""
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        archive = _Archive(tar, as_of)
        for path in sorted(pages):
            archive.add(path, pages[path])
        bundled = [_add(archive, source) for source in sorted(sources, key=lambda s: s.name)]
        contents = EvidenceBundle(
            cluster=cluster,
            as_of=as_of,
            period_seconds=int(period.total_seconds()),
            tool_version=__version__,
            repositories=tuple(bundled),
            files=tuple(archive.files),
            left_out=LEFT_OUT,
        )
        archive.add(CONTENTS, contents.to_bytes())
        archive.add(SUMS, "".join(f"{f.sha256}  {f.path}\n" for f in archive.files).encode())
    return contents


def _add(archive: _Archive, source: Source) -> Bundled:
    """Add what a repository holds, but for its archives: it is listed first, so that every record
    that an entry names was there already."""
    assert source.location is not None
    reader, written = source.reader, len(archive.files)
    try:
        ledger = list_ledger(reader)
        paths = [s.path for s in reader.find("")]
        wanted = sorted(p for p in paths if _belongs(p, max(ledger.entries, default=0)))
        for path, data in zip(wanted, in_batches(reader.read, wanted), strict=True):
            archive.add(f"{REPOSITORIES}/{source.name}/{path}", data)
        head = _head(source, max(ledger.entries, default=0))
        error = None
    except DRError as e:
        head, error = None, e.message
    return Bundled(
        name=source.name,
        location=source.location,
        head=head,
        files_count=len(archive.files) - written,
        error=error,
    )


def _belongs(path: str, last: int) -> bool:
    """Whether it is evidence: a record, or of an entry that was there when the look began."""
    if path.startswith(LEFT_OUT):
        return False
    if layout.in_ledger(path) or path == layout.ALLOWED_SIGNERS:
        return True
    number = layout.number_beside(path)
    return number is not None and number <= last


def _head(source: Source, number: int) -> Head | None:
    if not number:
        return None
    data = source.reader.read(layout.REPOSITORY)
    entry = source.reader.read(layout.ledger_entry(number))
    return Head(
        repository_id=RepositoryRecord.from_bytes(data, where=layout.REPOSITORY).id,
        number=number,
        sha256=hashlib.sha256(entry).hexdigest(),
    )


def left_out_of(contents: EvidenceBundle) -> tuple[str, ...]:
    """Return the folders that it may lack, whatever else it says that it leaves out."""
    return tuple(folder for folder in LEFT_OUT if folder in contents.left_out)


@contextmanager
def in_bundle(file: Path) -> Iterator[list[Source]]:
    """Unpack an archive, compare it with its list of digests, and give its repositories. Raise
    UsageError if it is none of ours, EvidenceError if it is cut."""
    with TemporaryDirectory(prefix="qdr-evidence-") as folder:
        found = _unpack(file, Path(folder))
        root = Path(folder) / ROOT
        try:
            contents = EvidenceBundle.from_bytes((root / CONTENTS).read_bytes(), where=CONTENTS)
        except FileNotFoundError:
            raise UsageError(
                f"{file} holds no {ROOT}/{CONTENTS}: it is no bundle, or is cut",
                "name a file that `qdrant-dr evidence bundle --out FILE` wrote, and fetch "
                "it whole.",
            ) from None
        except RecordError as e:
            raise EvidenceError(
                f"{file}: {e.message}", "get the bundle again from whoever made it."
            ) from None
        known: tuple[Check, ...] = (_judge(contents, found),)
        sources = []
        for bundled in contents.repositories:
            below = root / REPOSITORIES / bundled.name
            if bundled.error is None and below.is_dir():
                store = LocalStore(bundled.name, below)
                left_out = left_out_of(contents)
                sources.append(
                    Source(bundled.name, str(file), store, checks=known, left_out=left_out)
                )
                known = ()
        if not sources:
            raise EvidenceError(
                f"{file} holds no repository", "make it again where repositories can be reached."
            )
        yield sources


def _unpack(file: Path, folder: Path) -> dict[str, str]:
    """Unpack plain files with plain names, nothing else; their digests by path."""
    found: dict[str, str] = {}
    try:
        with tarfile.open(file, "r:gz") as tar:
            for member in tar:
                steps = PurePosixPath(member.name).parts
                plain = member.isfile() and steps[:1] == (ROOT,) and ".." not in steps
                source = tar.extractfile(member) if plain else None
                if source is None:
                    found[member.name] = ""
                    continue
                target = folder.joinpath(*steps)
                target.parent.mkdir(parents=True, exist_ok=True)
                digest = hashlib.sha256()
                with target.open("wb") as written:
                    while block := source.read(_BLOCK):
                        digest.update(block)
                        written.write(block)
                found["/".join(steps[1:])] = digest.hexdigest()
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, OSError) as e:
        raise EvidenceError(
            f"{file} cannot be unpacked: {e}", "fetch it again, whole, from whoever made it."
        ) from None
    return found


def _judge(contents: EvidenceBundle, found: Mapping[str, str]) -> Check:
    """Compare the files with the list of digests, and say what the bundle lacks."""
    wrong = Examples()
    listed = {f.path: f.sha256 for f in contents.files}
    for path in sorted(listed.keys() | found.keys() - {CONTENTS, SUMS}):
        if path not in found:
            wrong.add(f"{path} is missing")
        elif path not in listed:
            wrong.add(f"{path} is not listed")
        elif listed[path] != found[path]:
            wrong.add(f"{path} was changed")
    for folder in sorted(set(contents.left_out) - set(LEFT_OUT)):
        wrong.add(f"it leaves out {folder}, which is evidence")
    said = f"of {contents.cluster} as of {contents.as_of:%Y-%m-%d %H:%M:%S.%f} UTC"
    if wrong:
        return Check("bundle", "failed", f"{said}: {wrong}", "get it again from whoever made it.")
    if away := [f"{b.name} ({b.error})" for b in contents.repositories if b.error is not None]:
        return Check(
            "bundle",
            "doubt",
            f"{said}, without {', '.join(away)}: what is in here of it is not whole",
            "by hand: ask for a bundle that has all repositories.",
        )
    return Check("bundle", "ok", f"{said}, {len(listed)} files as listed")
