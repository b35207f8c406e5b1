"""Use adlfs with a client of our own: its trust, proxy and retries are those of every store."""

from __future__ import annotations

import ssl
from typing import Any

import aiohttp
from adlfs import AzureBlobFileSystem
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import BlobServiceClient, LinearRetry

from qdrant_dr.config import Tls
from qdrant_dr.network import proxy_for, tls_context
from qdrant_dr.stores.retries import AZURE_LINEAR

_CONNECT, _READ = 5, 60  # seconds, for calls without timeouts of their own


class FileSystem(AzureBlobFileSystem):  # type: ignore[misc]  # adlfs has no types
    """The same calls as adlfs's; `tls` holds the client's trusted CAs and certificate."""

    def __init__(self, *args: Any, tls: Tls, **kwargs: Any) -> None:
        self._context = tls_context(tls)
        super().__init__(*args, **kwargs)

    def do_connect(self) -> None:
        if self.connection_string is not None:
            facts = dict(f.partition("=")[::2] for f in self.connection_string.split(";"))
            suffix = facts.get("EndpointSuffix", "core.windows.net")
            usual = f"https://{facts.get('AccountName')}.blob.{suffix}"
            self.service_client = BlobServiceClient.from_connection_string(
                self.connection_string, **self._ours(facts.get("BlobEndpoint") or usual)
            )
            return
        if self.account_name is None:
            raise ValueError("neither a connection string nor the name of an account")
        host = getattr(self, "account_host", None) or f"{self.account_name}.blob.core.windows.net"
        self.account_url = f"https://{host}"
        credential = self.account_key if self.credential is None else self.credential
        query = "" if credential or not self.sas_token else f"?{self.sas_token.lstrip('?')}"
        self.service_client = BlobServiceClient(
            self.account_url + query,
            credential=credential,
            _location_mode=self.location_mode,
            **self._ours(self.account_url),
        )

    async def _details(self, contents: Any, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """Add the tier of each blob, which adlfs leaves out: an archived one cannot be read."""
        blobs = list(contents)
        tiers = {f"{b.container}/{b.name}": b.get("blob_tier") for b in blobs if "container" in b}
        found: list[dict[str, Any]] = await super()._details(blobs, *args, **kwargs)
        for info in found:
            if tier := tiers.get(info["name"]):
                info["blob_tier"] = getattr(tier, "value", tier)
        return found

    def _ours(self, endpoint: str) -> dict[str, Any]:
        return {
            "transport": _Transport(self._context, proxy_for(endpoint)),
            "retry_policy": LinearRetry(**AZURE_LINEAR),
        }


class _Transport(AioHttpTransport):  # type: ignore[misc]  # untyped for mypy
    def __init__(self, context: ssl.SSLContext, proxy: str | None) -> None:
        super().__init__(use_env_settings=False, connection_timeout=_CONNECT, read_timeout=_READ)
        self._context, self._proxy = context, proxy

    async def open(self) -> None:
        if self.session is None and not self._has_been_opened:
            self.session: Any = aiohttp.ClientSession(  # must be created within its event loop
                connector=aiohttp.TCPConnector(ssl=self._context),
                proxy=self._proxy,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        await super().open()
