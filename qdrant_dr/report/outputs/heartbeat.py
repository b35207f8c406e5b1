"""Send the heartbeat and metrics of a watch. A failure to send is only a warning."""

from __future__ import annotations

import http.client
import logging
import urllib.error
import urllib.request
from collections.abc import Callable

from qdrant_dr import secrets
from qdrant_dr.config import Config, Tls
from qdrant_dr.errors import ConfigInvalid, DRError
from qdrant_dr.network import proxy_for, tls_context
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.outputs.metrics import prometheus

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 10
SCHEMES = ("http://", "https://")


def signal(config: Config, assessed: Assessment) -> tuple[str, ...]:
    """Push the metrics; ping the heartbeat unless the verdict is `failed`. Return what did not
    work, in words, without URLs, which are often secrets.

    The heartbeat means that the watch runs and no objective is missed. So whoever waits for it
    learns of a dead watch and of a missed objective, even if Prefect is gone.
    """
    to, lost = config.watch, []
    if to.push is not None:
        path = f"/metrics/job/qdrant-dr/cluster/{config.cluster.name}"
        body = prometheus(assessed).encode()
        lost += _tried("metrics were not pushed", to.push, lambda url: _put(url + path, body))
    if to.heartbeat is not None and assessed.verdict != "failed":
        lost += _tried("the heartbeat was not sent", to.heartbeat, _get)
    return tuple(lost)


def _tried(what: str, reference: str, send: Callable[[str], None]) -> list[str]:
    try:
        send(_url(reference).rstrip("/"))
    except DRError as e:
        why = e.message
    except urllib.error.HTTPError as e:
        why = f"the answer was {e.code}"
    except (OSError, http.client.HTTPException, ValueError) as e:
        # its text may contain part of the URL
        reason = getattr(e, "reason", None)
        why = type(reason if isinstance(reason, Exception) else e).__name__
    else:
        return []
    log.warning("%s: %s", what, why)
    return [f"{what}: {why}"]


def _url(reference: str) -> str:
    url = reference if reference.startswith(SCHEMES) else secrets.resolve(reference)
    if not url.startswith(SCHEMES):
        raise ConfigInvalid(f"the value of {reference} is not an http(s):// URL")
    return url


def _get(url: str) -> None:
    _send(urllib.request.Request(url))  # noqa: S310  the scheme was looked at


def _put(url: str, body: bytes) -> None:
    headers = {"Content-Type": "text/plain; version=0.0.4"}
    _send(urllib.request.Request(url, data=body, headers=headers, method="PUT"))  # noqa: S310


def _send(request: urllib.request.Request) -> None:
    # httpx is not used here because it logs every URL that it calls
    proxy = proxy_for(request.full_url)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({request.type: proxy} if proxy else {}),
        urllib.request.HTTPSHandler(context=tls_context(Tls())),
    )
    with opener.open(request, timeout=PATIENCE_SECONDS) as answer:
        answer.read(1 << 16)
