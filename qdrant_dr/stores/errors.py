"""Translate errors of providers and disks into our own words.

Provider messages can hold signatures, keys or signed URLs. So we keep only the code, status and
request id of an answer, else the name of the error.
"""

from __future__ import annotations

import errno
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qdrant_dr.errors import DRError, RepositoryError, RepositoryUntrusted
from qdrant_dr.network import chain, tls_words
from qdrant_dr.stores.codes import (
    EXISTS,
    MISSING_PLACES,
    Meaning,
    meaning_of,
    meaning_of_status,
)

_TELLING = (
    # one code has many reasons: a phrase of the message shows which, and is not repeated
    ("InvalidRequest", "Object Lock", "MissingContentMD5"),
    ("AccessDenied", "object lock", "ObjectLocked"),
    ("AccessDenied", "cap exceeded", "QuotaExceeded"),
    ("forbidden", "KMS", "kmsKeyUnusable"),
    ("invalid", "KMS", "kmsKeyUnusable"),
    ("badRequest", "KMS", "kmsKeyUnusable"),
    ("forbidden", "billing", "billingNotEnabled"),
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer. `code` is None if it has none, like answers to HEAD."""

    code: str | None
    status: int | None
    request_id: str | None = None
    region: str | None = None
    meant: str | None = None

    def __str__(self) -> str:
        told = [self.code, None if self.status is None else str(self.status)]
        if self.request_id:
            told.append(f"request {self.request_id}")
        return ", ".join(t for t in told if t)


def translate(error: BaseException, *, repository: str, doing: str) -> DRError:
    """Return an error of the tree for whatever a store's library raised while `doing` something."""
    if isinstance(error, DRError):
        return error
    # a text with a dot is a key of the configuration, not the name of a repository
    about = repository if "." in repository else f"repository {repository}"
    if found := tls_words(error):
        return RepositoryUntrusted(f"{about}: {found[0]} while {doing}", found[1])
    links = list(chain(error))[::-1]
    if (name := _proxys(links)) and (meaning := meaning_of(name)):
        return meaning.kind(f"{about}: {meaning.words} while {doing} ({name})", meaning.hint)
    if refusal := refusal_of(error):
        return _refused(refusal, about, doing)
    if type(error).__module__ == "builtins" and isinstance(error, OSError) and error.errno:
        # a system error: the error before it in the chain is not its cause
        links = links if error.__cause__ else [error]
    # the innermost error knows most: wrappers know less than what they wrap
    for link in links:
        for name in _names(link):
            if meaning := meaning_of(name):
                said = f"{about}: {meaning.words} while {doing} ({name})"
                return meaning.kind(said, meaning.hint)
    names = " from ".join(type(link).__name__ for link in reversed(links))
    return RepositoryError(f"{about}: {doing} failed ({names})")


def refusal_of(error: BaseException) -> Refusal | None:
    """Return the answer behind an error: the innermost with a code, else with a status."""
    found = [r for link in chain(error) if (r := _refusal(link)) is not None]
    return next((r for r in reversed(found) if r.code), found[-1] if found else None)


def is_absent(error: BaseException) -> bool:
    """Say whether an error means that one object, not its bucket, is missing."""
    if refusal := refusal_of(error):
        return refusal.status == 404 and refusal.code not in MISSING_PLACES
    return any(isinstance(link, FileNotFoundError) for link in chain(error))


def is_taken(error: BaseException) -> bool:
    """Say whether an error means only that the name of a create-only write is taken."""
    if refusal := refusal_of(error):
        return refusal.code in EXISTS or (refusal.code is None and refusal.status == 412)
    return any(isinstance(link, FileExistsError) for link in chain(error))


def _refused(refusal: Refusal, about: str, doing: str) -> DRError:
    meaning: Meaning | None = None
    for name in (refusal.meant, refusal.code):
        meaning = meaning or (meaning_of(name) if name else None)
    if meaning is None and refusal.status is not None:
        meaning = meaning_of_status(refusal.status)
    if meaning is None:
        return RepositoryError(f"{about}: {doing} failed ({refusal})")
    where = f"; the bucket is in {refusal.region}" if refusal.region else ""
    return meaning.kind(f"{about}: {meaning.words} while {doing} ({refusal}){where}", meaning.hint)


def _refusal(error: BaseException) -> Refusal | None:
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        said, about = response.get("Error") or {}, response.get("ResponseMetadata") or {}
        headers = about.get("HTTPHeaders") or {}
        return _told(
            said.get("Code"), about.get("HTTPStatusCode"), str(said.get("Message", "")),
            about.get("RequestId") or headers.get("x-amz-request-id"),
            said.get("Region") or headers.get("x-amz-bucket-region"),
        )  # fmt: skip
    status = getattr(error, "status_code", None)
    if status is None:
        status = getattr(error, "status", None) or getattr(error, "code", None)
    code = getattr(error, "error_code", None)  # azure: a string, or an enumeration of strings
    code = getattr(code, "value", code)
    if code is None and not _is_status(status):
        return None
    headers = getattr(response, "headers", None)
    request = getattr(error, "request_id", None)
    if request is None and isinstance(headers, Mapping):
        request = headers.get("x-ms-request-id")
    return _told(code, status, str(error), request, None)


def _told(code: Any, status: Any, message: str, request_id: Any, region: Any) -> Refusal | None:
    """Build a refusal from plausible values only: an answer can hold anything."""
    number = int(status) if _is_status(status) else None
    name = _word(code, 64)
    if name is not None and name.isdecimal():  # botocore turns a status into a code
        number, name = number or int(name), None
    if name is None and number is None:
        return None
    meant = next((m for c, words, m in _TELLING if c == name and words in message), None)
    return Refusal(name, number, _word(request_id, 128), _word(region, 32), meant)


def _is_status(value: Any) -> bool:
    return str(value).isdecimal() and 300 <= int(value) < 600


def _word(value: Any, longest: int) -> str | None:
    text = str(value or "")
    return text if re.fullmatch(r"[\w.:/+=-]+", text, re.ASCII) and len(text) <= longest else None


def _proxys(links: list[BaseException]) -> str | None:
    """Return the class of a proxy's error, whose status is not the store's; else None."""
    names = (c.__name__ for link in links for c in type(link).__mro__)
    return next((n for n in names if "Prox" in n and meaning_of(n)), None)


def _names(error: BaseException) -> list[str]:
    """Return the name of an error's number, then those of its classes."""
    found = []
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        number = error.errno
        if isinstance(number, int):
            found.append(errno.errorcode.get(number, os.strerror(number)))
    classes = [c for c in type(error).__mro__ if not c.__module__.startswith("botocore.errorfac")]
    return found + [c.__name__ for c in classes]
