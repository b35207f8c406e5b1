"""Where a recovery takes its archive from: an uploaded file, a URL, a file of the node itself.

Each source is a function that puts the extracted archive into an empty folder; refusals have the
words and codes of Qdrant 1.18.3 (read in lib/storage/src/content_manager/snapshots/download.rs and
src/common/snapshots.rs, compared with a real server).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from qdrant_dr.sandbox import files
from qdrant_dr.sandbox.archive import extract
from qdrant_dr.sandbox.http import ApiError, service_error, wrong_input

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_PRIORITIES = ("no_sync", "snapshot", "replica")
_TIMEOUT = httpx.Timeout(10, read=60)

Fetch = Callable[[Path], None]


def from_location(location: str, checksum: str | None, api_key: str | None, within: Path) -> Fetch:
    """Fetch a collection's `location`: http(s), or a file below `within`, the snapshots of the
    node."""
    scheme = urlsplit(location).scheme
    if not scheme:
        text = f'relative URL without a base: "{location}"'
        raise ApiError(400, f"Format error in JSON body: {text}")
    if scheme in ("http", "https"):
        return lambda folder: _download(location, checksum, api_key, folder)
    if scheme != "file":
        text = f"URL {location} with scheme {scheme} is not supported"
        raise ApiError(400, f"Bad request: {text}")
    path = Path(unquote(urlsplit(location).path))
    if not path.exists():
        raise ApiError(400, f'Bad request: Snapshot file "{path}" does not exist')
    if not path.resolve().is_relative_to(within.resolve()):
        text = f'Snapshot file path must be inside the snapshots directory "{within.resolve()}"'
        raise ApiError(403, f"Forbidden: {text}")
    return lambda folder: from_file(path, checksum, folder)


def from_shard_location(
    location: str, checksum: str | None, api_key: str | None, within: Path
) -> Fetch:
    """Fetch a shard's `location`: http(s), or the bare name of a snapshot of this shard."""
    scheme = urlsplit(location).scheme
    if scheme in ("http", "https"):
        return lambda folder: _download(location, checksum, api_key, folder)
    if scheme:
        text = f"Invalid snapshot URL {location}: URLs with {scheme} scheme are not supported"
        raise wrong_input(text)
    path = files.find_of_shard(within, location)
    return lambda folder: from_file(path, checksum, folder)


def from_file(path: Path, checksum: str | None, folder: Path) -> None:
    """Compare before anything is unpacked."""
    if checksum:
        _compare(checksum, files.sha256(path))
    extract(path, folder)


def _download(url: str, checksum: str | None, api_key: str | None, folder: Path) -> None:
    """The archive is unpacked before its checksum is compared, and compared before it is used."""
    archive = folder.with_name(f"{folder.name}.download")
    headers = {"accept-encoding": "identity"} | ({"api-key": api_key} if api_key else {})
    digest = hashlib.sha256()
    try:
        with (
            httpx.Client(timeout=_TIMEOUT, trust_env=False, follow_redirects=True) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            if not response.is_success:
                status = f"{response.status_code} {HTTPStatus(response.status_code).phrase}"
                raise wrong_input(f"Failed to download tar from {url}: status - {status}")
            with archive.open("wb") as out:
                for block in response.iter_raw(1 << 20):
                    digest.update(block)
                    out.write(block)
        try:
            extract(archive, folder)
        except ApiError as error:
            problem = error.text.removeprefix("Service internal error: File IO error: ")
            raise service_error(f"Failed to unpack tar archive: {problem}") from error
        if checksum:
            _compare(checksum, digest.hexdigest())
    except httpx.HTTPError as error:
        text = f"Http request error: error sending request for url ({url})"
        raise service_error(text) from error
    finally:
        archive.unlink(missing_ok=True)


def _compare(expected: str, got: str) -> None:
    if expected.strip().lower() != got:
        raise wrong_input(f"Snapshot checksum mismatch: expected {expected}, got {got}")


# What a request says of a recovery.


def check_priority(priority: str | None, where: str, *, plain: bool = False) -> None:
    """Raise ApiError 400. `where` is how Qdrant calls the place that it parsed."""
    if priority is not None and priority not in _PRIORITIES:
        known = ", ".join(f"`{p}`" for p in _PRIORITIES)
        text = f"unknown variant `{priority}`, expected one of {known}"
        raise ApiError(400, f"{where}: {text}", plain=plain)


def check_checksum(checksum: str | None, where: str) -> None:
    """Raise ApiError 422."""
    if checksum is not None and not _SHA256.fullmatch(checksum):
        problem = "invalid characters, expected 0-9, a-f, A-F"
        if len(checksum) != 64:
            told = f'"expected_length": Number(64), "value": String("{checksum}")'
            told += f', "length": Number({len(checksum)})'
            problem = f"Validation error: invalid_sha256_hash [{{{told}}}]"
        raise ApiError(422, f"Validation error in {where}: [checksum: {problem}]")


def compare_upload(sha256: str, checksum: str | None) -> None:
    """Compare the checksum of an upload; like Qdrant, swap the two in the message. Raise ApiError
    400."""
    if checksum and sha256 != checksum.strip().lower():
        raise ApiError(400, f"Checksum mismatch: expected {sha256}, actual {checksum}")
