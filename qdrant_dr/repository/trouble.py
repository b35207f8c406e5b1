"""What providers and disks raise, in our words: one table, and never their text.

Messages of providers can hold signatures, keys or signed URLs. So only the kind of an error is
kept: its class, its code, its status.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from qdrant_dr.errors import (
    DRError,
    RepositoryDenied,
    RepositoryError,
    RepositoryMissing,
    RepositoryUnreachable,
    StorageFull,
)

_TABLE: tuple[tuple[type[DRError], str, frozenset[str]], ...] = (
    (StorageFull, "no space or quota is left", frozenset({
        "ENOSPC", "EDQUOT", "EFBIG", "507", "QuotaExceeded", "XMinioStorageFull",
        "InsufficientCapacity", "InsufficientAccountCapacity", "AccountStorageLimitExceeded",
    })),
    (RepositoryMissing, "there is no such bucket, container or folder", frozenset({
        "NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "InvalidBucketName",
        "InvalidResourceName", "ENOTDIR",
    })),
    (RepositoryDenied, "access was refused", frozenset({
        "401", "403", "EACCES", "EPERM", "EROFS", "PermissionError",
        "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken",
        "InvalidToken", "AuthenticationFailed", "AuthorizationFailure",
        "AuthorizationPermissionMismatch", "ClientAuthenticationError", "AzureSigningError",
        "NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError",
        "UnauthorizedSSOTokenError", "CredentialRetrievalError", "DefaultCredentialsError",
        "RefreshError", "GoogleAuthError", "CredentialUnavailableError",
    })),
    (RepositoryUnreachable, "it does not answer", frozenset({
        "408", "429", "500", "502", "503", "504", "SlowDown", "ServerBusy", "InternalError",
        "EIO", "EREMOTEIO", "ESTALE", "ENOTCONN", "ECONNREFUSED", "ECONNRESET", "EHOSTUNREACH",
        "ENETUNREACH", "ETIMEDOUT", "EPIPE", "EBUSY",
        "TimeoutError", "FSTimeoutError", "ConnectionError", "gaierror", "ClientConnectorError",
        "ClientError", "HTTPClientError", "ServiceRequestError", "ServiceResponseError",
        "IncompleteReadError", "TransportError",
    })),
)  # fmt: skip


def translate(error: BaseException, *, repository: str, doing: str) -> DRError:
    """An error of the tree for whatever a store's library raised while `doing` something."""
    if isinstance(error, DRError):
        return error
    links = list(_chain(error))
    # the most telling link is the innermost: wrappers know less than what they wrap
    for kind, words, tokens in _TABLE:
        for link in links:
            if found := next((t for t in _tokens(link) if t in tokens), None):
                return kind(f"repository {repository}: {words} while {doing} ({found})")
    names = " from ".join(type(link).__name__ for link in links)
    return RepositoryError(f"repository {repository}: {doing} failed ({names})")


def is_absent(error: BaseException) -> bool:
    """Whether an error says that one object, not its bucket, is not there."""
    if not any(
        isinstance(link, FileNotFoundError) or "404" in _tokens(link) for link in _chain(error)
    ):
        return False
    gone = next(tokens for kind, _, tokens in _TABLE if kind is RepositoryMissing)
    return not any(gone.intersection(_tokens(link)) for link in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and len(seen) < 8:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _tokens(error: BaseException) -> list[str]:
    """Codes of an error, the most particular first: provider's code, status, errno, classes."""
    found: list[str] = []
    response = getattr(error, "response", None)  # botocore
    if isinstance(response, dict):
        found.append(str(response.get("Error", {}).get("Code", "")))
        found.append(str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")))
    code = getattr(error, "error_code", None)  # azure: a string, or an enumeration of strings
    found.append(str(getattr(code, "value", code)))
    found.extend(str(getattr(error, n, "")) for n in ("code", "status", "status_code"))
    if isinstance(error, OSError) and isinstance(error.errno, int):
        found.append(errno.errorcode.get(error.errno, os.strerror(error.errno)))
    if isinstance(error, OSError) and str(error).startswith("Forbidden: "):
        found.append("403")  # gcsfs says it in no other way
    # `ClientError` of botocore says nothing; that of aiohttp is a connection
    classes = [c for c in type(error).__mro__ if not c.__module__.startswith("botocore.errorfac")]
    if not isinstance(response, dict):
        found.extend(c.__name__ for c in classes)
    return [code for code in found if code not in ("", "None")]
