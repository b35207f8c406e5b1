"""Hide secrets in text: passwords, signatures and keys in log lines, spans, messages and addresses.

The command line (`cli/logs.py`), JSON lines (`json_lines.py`, also in Prefect's runs by
`tasks/console.py`) and errors all use these. Whatever a library says in a traceback is not written
at all, and the answers of stores never are (`stores/errors.py`).
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_QUERY = re.compile(r"\?[^\s'\"]+")
_USER = re.compile(r"(?<=://)[^\s/'\"]+@")
_KEY = re.compile(
    r"\b(AccountKey|SharedAccessKey|SharedAccessSignature|sig)=[^\s;'\"]+", re.IGNORECASE
)


def redact(text: str) -> str:
    """Return the text without what in a URL may be a signature or a password, and without keys."""
    return _KEY.sub(r"\1=...", _USER.sub("...@", _QUERY.sub("?...", text)))


def without_password(url: str) -> str:
    """Return the address of a proxy as a message may show it: scheme, host and port."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def without_user_and_query(url: str) -> str:
    """Return the address of a file as a message may show it."""
    return re.sub(r"//[^/@]*@", "//", url.split("?", maxsplit=1)[0])
