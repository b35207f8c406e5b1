"""Find secrets written as plain text in the configuration, by the names of their keys."""

from __future__ import annotations

import re
from collections.abc import Iterator

from qdrant_dr import secrets
from qdrant_dr.configfile.yaml_document import KeyPath, Problem, YamlDocument

_SECRET_KEY = re.compile(
    r"(^|_)(api_?key|key|secret|password|passwd|pwd|pass|token|credentials?|connection_string"
    r"|sas|signature)$|(secret|password)"
)
_NOT_SECRET = re.compile(r"_(file|path|id|name|ttl|arn|version)$")
_WAYS = frozenset({"anon", "cloud", "google_default", "browser", "cache"})
"""Values that gcsfs accepts as `token`: ways to log in, not tokens."""
_IN_URL = re.compile(
    r"//[^/@\s]*:[^/@\s]*@|[?&](sig|token|password|key|secret|X-Amz-\w+)=", re.IGNORECASE
)
REFERENCE = "must be a reference (env:NAME, file:PATH or secret:NAME), never the secret itself"


def is_secret_key(key: str) -> bool:
    """Say whether to hide a value under this key: `SSECustomerKey`, `account_key`, `token`."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|-", "_", key).lower()
    return bool(_SECRET_KEY.search(snake)) and not _NOT_SECRET.search(snake)


def plain_secrets(source: YamlDocument) -> Iterator[Problem]:
    """Yield a problem for every plain-text secret. The problem never holds the text."""
    for path, value in source.scalars():
        written = source.texts.get(path, value)
        if not isinstance(written, str):
            continue
        if _IN_URL.search(written):
            yield Problem(source.line(path), path, "a URL must not contain a password or token")
        elif path[-1] == "credentials" and written.startswith("block:"):
            if "options" in path:  # some file systems silently ignore unknown options
                yield Problem(source.line(path), path, "belongs beside `options`, not in it")
        elif _under_secret_key(path) and not _allowed(path, written):
            yield Problem(source.line(path), path, REFERENCE)


def _under_secret_key(path: KeyPath) -> bool:
    return any(is_secret_key(key) for key in path if isinstance(key, str))


def _allowed(path: KeyPath, written: str) -> bool:
    if re.match(secrets.PATTERN, written):
        return not written.startswith("file://")
    # gcsfs accepts the path of a key file as its token
    return path[-1] == "token" and (written in _WAYS or written.endswith(".json"))
