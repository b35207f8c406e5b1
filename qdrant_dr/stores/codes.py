"""A table of the error codes of providers and disks: what each means, and what to do about it.

The HTTP status is used only if no code is known, because one status has many meanings (a 409 of
Azure is `BlobAlreadyExists`, an immutable blob, a container being deleted, a lease).
How often a busy cloud (503, 429) is asked again is in `retries.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from qdrant_dr.errors import (
    DRError,
    ObjectArchived,
    RepositoryDenied,
    RepositoryMissing,
    RepositoryRefuses,
    RepositoryUnreachable,
    StorageFull,
)

EXISTS: Final = frozenset({
    "PreconditionFailed",  # S3, whose only condition here is If-None-Match
    "BlobAlreadyExists",
    "conditionNotMet",  # GCS, whose only condition here is ifGenerationMatch=0
})  # fmt: skip
"""Codes of a refused create-only write: the name is taken, nothing was written."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The error of a code, its words, and its own next step if it has one."""

    kind: type[DRError]
    words: str
    hint: str | None = None


_CHECKSUMS = "config_kwargs: {request_checksum_calculation: %s}"
_REGION = (
    "set `options: {client_kwargs: {region_name: ...}}` to the bucket's region and use the "
    "`endpoint_url` of that region."
)
_CLOCK = "set this machine's clock (NTP), then run `qdrant-dr check`."
_AGAIN = "run it again; what is already complete is not sent twice."

_TABLE: Final[tuple[tuple[Meaning, str], ...]] = (
    (Meaning(StorageFull, "no space or quota is left"),
     ("QuotaExceeded XMinioStorageFull InsufficientCapacity InsufficientAccountCapacity "
     "AccountStorageLimitExceeded storage_cap_exceeded ENOSPC")),
    (Meaning(StorageFull, "the quota of this user or folder is used up",
             "raise the quota or remove files (`quota -s`), then run `qdrant-dr replicate`."),
     "EDQUOT"),
    (Meaning(StorageFull, "its file system does not allow a file that large",
             "use a file system without that limit, or raise `ulimit -f`."),
     "EFBIG"),
    (Meaning(RepositoryMissing, "there is no such bucket, container or folder"),
     ("NoSuchBucket ContainerNotFound bucketNotFound InvalidBucketName InvalidResourceName "
     "ENOTDIR ENODEV ENXIO")),
    (Meaning(RepositoryMissing, "the container is being deleted",
             "somebody deleted it: restore it there if soft delete is on, else make another and "
             "run `qdrant-dr repository create`."),
     "ContainerBeingDeleted"),
    (Meaning(RepositoryDenied, "access was refused"),
     ("AccessDenied AllAccessDisabled InvalidToken AuthenticationFailed AuthorizationFailure "
     "InsufficientAccountPermissions AuthorizationProtocolMismatch AuthorizationSourceIPMismatch "
     "AuthorizationServiceMismatch AuthorizationResourceTypeMismatch NoAuthenticationInformation "
     "InvalidAuthenticationInfo PublicAccessNotPermitted UnauthorizedBlobOverwrite authError "
     "forbidden insufficientPermissions "
     "AuthorizationRequired ClientAuthenticationError AzureSigningError PermissionError "
     "RefreshError GoogleAuthError UserProjectAccessDenied")),
    (Meaning(RepositoryDenied, "access was refused: no usable credentials were found",
             "set them in the repository's `options:` or `credentials:`, or where the provider's "
             "tools look for them, then run `qdrant-dr check -r REPOSITORY`."),
     ("NoCredentialsError PartialCredentialsError TokenRetrievalError UnauthorizedSSOTokenError "
     "SSOTokenLoadError CredentialRetrievalError DefaultCredentialsError "
     "CredentialUnavailableError")),
    (Meaning(RepositoryDenied, "the user of this process does not have permission",
             "check owner and mode of the folder for the user that runs qdrant-dr "
             "(`ls -ld`, `id`)."),
     "EACCES EPERM"),
    (Meaning(RepositoryDenied, "its disk is mounted read-only",
             "a disk turns read-only after errors: read `dmesg`, then mount it for writing."),
     "EROFS"),
    (Meaning(RepositoryDenied, "access was refused: the store does not know this access key",
             "compare the key that the configuration refers to with the store's: it may have been "
             "revoked, or belong to another endpoint."),
     "InvalidAccessKeyId"),
    (Meaning(RepositoryDenied, "access was refused: the signature does not match the key",
             "compare the secret that the configuration refers to; if it is right, a proxy "
             "changes the requests."),
     "SignatureDoesNotMatch"),
    (Meaning(RepositoryDenied, "access was refused: the credentials have expired",
             "get new ones, or use some that renew themselves (a role or an identity)."),
     "ExpiredToken ExpiredTokenException TokenRefreshRequired RequestExpired"),
    (Meaning(RepositoryDenied,
             "access was refused: this machine's clock and the store's are too far apart", _CLOCK),
     "RequestTimeTooSkewed"),
    (Meaning(RepositoryDenied, "the identity does not have permission",
             "give it the role Storage Blob Data Contributor on the container; that takes effect "
             "after some minutes."),
     "AuthorizationPermissionMismatch"),
    (Meaning(RepositoryDenied, "a retention rule or a hold keeps the object as it is",
             "the copy is not at fault: it can be changed or deleted when that rule ends."),
     ("BlobImmutableDueToPolicy BlobImmutableDueToLegalHold retentionPolicyNotMet "
     "objectUnderActiveHold ObjectLocked")),
    (Meaning(RepositoryDenied, "a rule of the organization forbids it",
             "ask the cloud's administrators which constraint it is."),
     "orgPolicyConstraintFailed"),
    (Meaning(RepositoryDenied, "the account is closed, suspended or not paid for",
             "check the billing of the account at its provider."),
     ("accountDisabled AccountIsDisabled AccountProblem NotSignedUp UserSuspended "
     "UserProjectAccountProblem billingNotEnabled projectDisabled")),
    (Meaning(RepositoryDenied, "readers of this bucket pay, and no payer is configured",
             "set `options: {requester_pays: ...}`."),
     "userProjectMissing UserProjectMissing"),
    (Meaning(ObjectArchived, "the object is in an archive and cannot be read"),
     "InvalidObjectState BlobArchived BlobBeingRehydrated BlobNotRehydrated"),
    (Meaning(RepositoryRefuses, "the key that encrypts the bucket cannot be used",
             "enable that key in the provider's key management, and let these credentials use "
             "it."),
     ("kmsKeyUnusable KeyVaultEncryptionKeyNotFound "
     "KeyVaultAccessTokenCannotBeAcquired KeyVaultVaultNotFound")),
    (Meaning(RepositoryRefuses, "it requires a checksum with every write (as for Object Lock)",
             f"set `options: {{{_CHECKSUMS % 'when_supported'}}}`."),
     "MissingContentMD5"),
    (Meaning(RepositoryRefuses,
             "it does not support part of the request, such as checksums or create-only writes",
             f"set `options: {{{_CHECKSUMS % 'when_required'}}}`; if that is not it, it has no "
             "If-None-Match and cannot hold a repository (see docs/stores.md)."),
     "XAmzContentSHA256Mismatch NotImplemented UnsupportedHeader"),
    (Meaning(RepositoryRefuses, "the request was signed for another region", _REGION),
     "AuthorizationHeaderMalformed IllegalLocationConstraintException"),
    (Meaning(RepositoryRefuses, "the bucket is at another endpoint", _REGION),
     "PermanentRedirect TemporaryRedirect Redirect"),
    (Meaning(RepositoryRefuses, "somebody holds a lease on it",
             "break the lease there (`az storage blob lease break`) when nobody needs it."),
     ("LeaseIdMissing LeaseIdMismatchWithBlobOperation LeaseIdMismatchWithLeaseOperation "
     "LeaseNotPresentWithBlobOperation LeaseAlreadyPresent")),
    (Meaning(RepositoryRefuses, "a blob of another kind has this name",
             "a page or append blob is not ours: find out who wrote it, and move it away."),
     "InvalidBlobType BlobTypeNotSupported"),
    (Meaning(RepositoryRefuses, "a name is longer than it allows",
             "use a shorter prefix in the repository's `url`."),
     "KeyTooLongError ENAMETOOLONG"),
    (Meaning(RepositoryRefuses, "this process has too many open files",
             "raise `ulimit -n`, then run it again."),
     "EMFILE ENFILE"),
    (Meaning(RepositoryUnreachable, "it asks for fewer calls",
             "run it again later, with fewer things at a time (`capture.parallel_collections`)."),
     ("SlowDown SlowDownRead SlowDownWrite ServerBusy Throttling ThrottlingException "
     "RequestLimitExceeded TooManyRequests TooManyRequestsException BandwidthLimitExceeded "
     "rateLimitExceeded userRateLimitExceeded usageLimits")),
    (Meaning(RepositoryUnreachable, "it has an internal error",
             "check the provider's status page; run it again later."),
     ("InternalError ServiceUnavailable OperationTimedOut backendError internalError "
     "XMinioServerNotInitialized XMinioReadQuorum XMinioWriteQuorum")),
    (Meaning(RepositoryUnreachable, "bytes were lost or changed on the way", _AGAIN),
     ("RequestTimeout IncompleteBody BadDigest Md5Mismatch Crc64Mismatch IncompleteReadError "
     "ClientPayloadError")),
    (Meaning(RepositoryUnreachable, "another write of the same name is under way", _AGAIN),
     "ConditionalRequestConflict OperationAborted"),
    (Meaning(RepositoryUnreachable, "its network mount is stale",
             "mount it again (`umount -f`, `mount`), then run `qdrant-dr check -r REPOSITORY`."),
     "ESTALE ENOTCONN"),
    (Meaning(RepositoryUnreachable, "its disk has errors",
             "check `dmesg` and the disk's health; copies in other repositories are not affected."),
     "EIO EREMOTEIO EUCLEAN"),
    (Meaning(RepositoryUnreachable, "the name of its host is not known",
             "check `endpoint_url` and the name service (DNS), then run `qdrant-dr check -r "
             "REPOSITORY`."),
     "gaierror ClientConnectorDNSError"),
    (Meaning(RepositoryUnreachable, "the proxy does not let it through",
             "check `HTTP_PROXY` and `HTTPS_PROXY`, or add the store's host to `NO_PROXY`."),
     ("ClientHttpProxyError ClientProxyConnectionError ProxyConnectionError ProxyError "
     "InvalidProxiesConfigError")),
    (Meaning(RepositoryUnreachable, "it does not answer"),
     ("ECONNREFUSED ECONNRESET EHOSTUNREACH EHOSTDOWN ENETUNREACH ENETDOWN ETIMEDOUT EPIPE EBUSY "
     "TimeoutError FSTimeoutError ConnectionError ClientConnectionError "
     "SSLEOFError SSLZeroReturnError HTTPClientError ServiceRequestError ServiceResponseError "
     "TransportError RequestException")),
)  # fmt: skip

_MEANINGS: Final = {code: meaning for meaning, codes in _TABLE for code in codes.split()}
_KEY_OUT_OF_ORDER: Final = _MEANINGS["kmsKeyUnusable"]
_REFUSED: Final = Meaning(RepositoryRefuses, "it refused")

_BY_STATUS: Final = {
    401: _MEANINGS["AccessDenied"],
    403: _MEANINGS["AccessDenied"],
    407: _MEANINGS["ProxyError"],
    408: _MEANINGS["RequestTimeout"],
    429: _MEANINGS["SlowDown"],
    501: _MEANINGS["NotImplemented"],
    507: _MEANINGS["QuotaExceeded"],
}


def meaning_of(code: str) -> Meaning | None:
    """Return the meaning of a provider's code, a name such as ENOSPC, or an error class; else
    None."""
    if re.match(r"(KMS\.|KeyVault)", code):
        return _KEY_OUT_OF_ORDER
    return _MEANINGS.get(code)


def meaning_of_status(status: int) -> Meaning | None:
    """Return the meaning of a status without a known code; None if it is not an error."""
    if found := _BY_STATUS.get(status):
        return found
    if 300 <= status < 400:
        return _MEANINGS["PermanentRedirect"]
    if 400 <= status < 500:
        return _REFUSED
    return _MEANINGS["InternalError"] if status >= 500 else None


MISSING_PLACES: Final = frozenset(
    code for code, meaning in _MEANINGS.items() if meaning.kind is RepositoryMissing
)
"""Codes which say that the bucket, not one object in it, is missing."""
