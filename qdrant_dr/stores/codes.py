"""What the codes of providers and disks mean: one table, code by code, and what to do about each.

A status is asked only where no code is known: one class of answers has many meanings (a 409 of
Azure is `BlobAlreadyExists`, an immutable blob, a container in deletion, a lease).
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
"""Codes that answer a create-only write: the name is taken, nothing was written."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The error that a code is, in words, and its own next step where it has one."""

    kind: type[DRError]
    words: str
    hint: str | None = None


_CHECKSUMS = "config_kwargs: {request_checksum_calculation: %s}"
_REGION = (
    "set `options: {client_kwargs: {region_name: ...}}` to the bucket's region and take "
    "`endpoint_url` of that region."
)
_CLOCK = "set this machine's clock (NTP), then run `qdrant-dr check`."
_AGAIN = "run again; what is whole already is not sent twice."

_TABLE: Final[tuple[tuple[Meaning, str], ...]] = (
    (Meaning(StorageFull, "no space or quota is left"),
     ("QuotaExceeded XMinioStorageFull InsufficientCapacity InsufficientAccountCapacity "
     "AccountStorageLimitExceeded storage_cap_exceeded ENOSPC")),
    (Meaning(StorageFull, "the quota of this user or folder is used up",
             "raise the quota or remove files (`quota -s`), then run `qdrant-dr replicate`."),
     "EDQUOT"),
    (Meaning(StorageFull, "its file system takes no file as large",
             "use a file system without that limit, or raise `ulimit -f`."),
     "EFBIG"),
    (Meaning(RepositoryMissing, "there is no such bucket, container or folder"),
     ("NoSuchBucket ContainerNotFound bucketNotFound InvalidBucketName InvalidResourceName "
     "ENOTDIR ENODEV ENXIO")),
    (Meaning(RepositoryMissing, "the container is being deleted",
             "somebody deleted it: where soft delete is on, it can be restored there; else make "
             "another and run `qdrant-dr repository create`."),
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
             "name them in the repository's `options:` or `credentials:`, or where the provider's "
             "tools look for them, then run `qdrant-dr check -r REPOSITORY`."),
     ("NoCredentialsError PartialCredentialsError TokenRetrievalError UnauthorizedSSOTokenError "
     "SSOTokenLoadError CredentialRetrievalError DefaultCredentialsError "
     "CredentialUnavailableError")),
    (Meaning(RepositoryDenied, "the user of this process may not do it",
             "check owner and mode of the folder for the user that runs qdrant-dr "
             "(`ls -ld`, `id`)."),
     "EACCES EPERM"),
    (Meaning(RepositoryDenied, "its disk is mounted read-only",
             "a disk turns read-only after errors: look at `dmesg`, then mount it for writing."),
     "EROFS"),
    (Meaning(RepositoryDenied, "access was refused: the store does not know this access key",
             "compare the key that the configuration refers to with the store's: was it revoked, "
             "or does it belong to another endpoint?"),
     "InvalidAccessKeyId"),
    (Meaning(RepositoryDenied, "access was refused: the signature does not fit the key",
             "compare the secret that the configuration refers to; if it is right, a proxy "
             "changes the requests."),
     "SignatureDoesNotMatch"),
    (Meaning(RepositoryDenied, "access was refused: the credentials have expired",
             "fetch new ones, or use some that renew themselves (a role or an identity)."),
     "ExpiredToken ExpiredTokenException TokenRefreshRequired RequestExpired"),
    (Meaning(RepositoryDenied,
             "access was refused: this machine's clock and the store's are too far apart", _CLOCK),
     "RequestTimeTooSkewed"),
    (Meaning(RepositoryDenied, "the identity may not do this",
             "give it the role Storage Blob Data Contributor on the container; that takes some "
             "minutes to count."),
     "AuthorizationPermissionMismatch"),
    (Meaning(RepositoryDenied, "a retention rule or a hold keeps the object as it is",
             "nothing is wrong with the copy: it can be changed or deleted when that rule ends."),
     ("BlobImmutableDueToPolicy BlobImmutableDueToLegalHold retentionPolicyNotMet "
     "objectUnderActiveHold ObjectLocked")),
    (Meaning(RepositoryDenied, "a rule of the organization forbids it",
             "ask who administers the cloud which constraint it is."),
     "orgPolicyConstraintFailed"),
    (Meaning(RepositoryDenied, "the account is closed, suspended or not paid for",
             "look at the billing of the account at its provider."),
     ("accountDisabled AccountIsDisabled AccountProblem NotSignedUp UserSuspended "
     "UserProjectAccountProblem billingNotEnabled projectDisabled")),
    (Meaning(RepositoryDenied, "readers of this bucket pay, and nobody says who",
             "set `options: {requester_pays: ...}`."),
     "userProjectMissing UserProjectMissing"),
    (Meaning(ObjectArchived, "the object lies in an archive and cannot be read"),
     "InvalidObjectState BlobArchived BlobBeingRehydrated BlobNotRehydrated"),
    (Meaning(RepositoryRefuses, "the key that encrypts the bucket cannot be used",
             "enable that key in the provider's key management, and let these credentials use "
             "it."),
     ("kmsKeyUnusable KeyVaultEncryptionKeyNotFound "
     "KeyVaultAccessTokenCannotBeAcquired KeyVaultVaultNotFound")),
    (Meaning(RepositoryRefuses, "it wants a checksum with every write (Object Lock does)",
             f"set `options: {{{_CHECKSUMS % 'when_supported'}}}`."),
     "MissingContentMD5"),
    (Meaning(RepositoryRefuses, "it does not understand a part of the request, such as checksums",
             f"set `options: {{{_CHECKSUMS % 'when_required'}}}`."),
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
    (Meaning(RepositoryRefuses, "a name is longer than it takes",
             "take a shorter prefix in the repository's `url`."),
     "KeyTooLongError ENAMETOOLONG"),
    (Meaning(RepositoryRefuses, "this process has too many open files",
             "raise `ulimit -n`, then run again."),
     "EMFILE ENFILE"),
    (Meaning(RepositoryUnreachable, "it asks for fewer calls",
             "run again later, and fewer things at a time (`capture.parallel_collections`)."),
     ("SlowDown SlowDownRead SlowDownWrite ServerBusy Throttling ThrottlingException "
     "RequestLimitExceeded TooManyRequests TooManyRequestsException BandwidthLimitExceeded "
     "rateLimitExceeded userRateLimitExceeded usageLimits")),
    (Meaning(RepositoryUnreachable, "it has trouble of its own",
             "look at the provider's status page; run again later."),
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
             "look at `dmesg` and at the disk's health; copies in other repositories are good."),
     "EIO EREMOTEIO EUCLEAN"),
    (Meaning(RepositoryUnreachable, "the name of its host is not known",
             "check `endpoint_url` and the name service (DNS), then run `qdrant-dr check -r "
             "REPOSITORY`."),
     "gaierror ClientConnectorDNSError"),
    (Meaning(RepositoryUnreachable, "the proxy does not let it through",
             "check `HTTP_PROXY` and `HTTPS_PROXY`, or name the store's host in `NO_PROXY`."),
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
    """Of a provider's code, a name such as ENOSPC, or the class of an error; None: not known."""
    if re.match(r"(KMS\.|KeyVault)", code):
        return _KEY_OUT_OF_ORDER
    return _MEANINGS.get(code)


def meaning_of_status(status: int) -> Meaning | None:
    """What an answer means of which nothing else is known; None where it is none of an error."""
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
"""Codes that say that the bucket, not one object in it, is not there."""
