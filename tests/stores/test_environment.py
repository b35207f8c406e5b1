"""Proxies, CAs and client certificates: one rule for nodes and for every kind of store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.cluster import Node
from qdrant_dr.config import Tls
from qdrant_dr.errors import (
    ConfigInvalid,
    NodeUnreachable,
    NodeUntrusted,
    RepositoryUnreachable,
    RepositoryUntrusted,
    ServerFailed,
)
from qdrant_dr.network import CA_VARIABLES, ca_file, proxy_for, tls_context
from qdrant_dr.repository.open_store import open_store
from tests.support.certificates import Certificates, make_certificates
from tests.support.proxy import Proxy, forward_proxy
from tests.support.scripted import Store, scripted_store

STORES = ("s3", "gs", "az")
KINDS = (*STORES, "node")
VARIABLES = (
    "QDR_SECRETS_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    *CA_VARIABLES,
    "SSL_CERT_DIR",
)
HOST = "acc.store.test"
"""Nobody knows this name but the proxy: who gets an answer from it, went through the proxy."""


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with forward_proxy() as made:
        yield made


def reach(store: Store, kind: str, tls: Tls = Tls(), host: str | None = None) -> None:
    """Ask for something that is not there: an answer is an answer."""
    if kind == "node":
        url = store.url if host is None else store.url.replace("127.0.0.1", host)
        with Node(url, tls=tls) as node, pytest.raises(ServerFailed, match="404"):
            node.ask("GET", "/telemetry", "look")
        return
    config = store.config(host, tls=tls)
    assert open_store(config, stall_timeout=timedelta(seconds=30)).stat("x.json") is None


def served(kind: str, **how: Any) -> AbstractContextManager[Store]:
    return scripted_store("gs" if kind == "node" else kind, **how)


@pytest.mark.parametrize("kind", KINDS)
def test_all_go_through_the_proxy_of_the_environment(
    kind: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    with served(kind) as store:
        reach(store, kind, host=HOST)
        assert store.seen
    assert set(proxy.asked) == {HOST}


@pytest.mark.parametrize("kind", KINDS)
def test_all_go_through_a_tunnel_to_a_private_ca(
    kind: str, proxy: Proxy, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with served(kind, tls=certificates.of_server()) as store:
        reach(store, kind, certificates.trusting, host=HOST)
    assert set(proxy.asked) == {HOST}


@pytest.mark.parametrize("kind", KINDS)
def test_none_of_them_does_where_no_proxy_is_wanted(
    kind: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "elsewhere, .store.test")
    with served(kind) as store, pytest.raises((NodeUnreachable, RepositoryUnreachable)):
        reach(store, kind, host=HOST)  # a name that only the proxy would know
    assert proxy.asked == []


@pytest.mark.parametrize("kind", KINDS)
def test_this_machine_is_never_reached_through_a_proxy(
    kind: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    with served(kind) as store:
        reach(store, kind)
    assert proxy.asked == []


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_not_trusted_is_told_so_and_how_to_trust(
    kind: str, certificates: Certificates
) -> None:
    with (
        served(kind, tls=certificates.of_server()) as store,
        pytest.raises((NodeUntrusted, RepositoryUntrusted), match="not trusted") as caught,
    ):
        reach(store, kind)
    assert "tls.ca" in caught.value.hint
    assert (caught.value.exit_code, caught.value.transient) == (5, False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variable", [None, "SSL_CERT_FILE", "AWS_CA_BUNDLE"])
def test_a_private_ca_is_trusted_by_configuration_or_environment(
    kind: str,
    variable: str | None,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if variable is not None:
        monkeypatch.setenv(variable, str(certificates.ca))
    with served(kind, tls=certificates.of_server()) as store:
        reach(store, kind, certificates.trusting if variable is None else Tls())


@pytest.mark.parametrize("kind", KINDS)
def test_who_wants_to_know_us_is_shown_our_certificate(
    kind: str, certificates: Certificates
) -> None:
    with served(kind, tls=certificates.of_server(mutual=True)) as store:
        reach(store, kind, certificates.known)
        with pytest.raises((NodeUnreachable, RepositoryUnreachable)):
            reach(store, kind, certificates.trusting)


def test_who_wants_a_certificate_is_told_so(certificates: Certificates) -> None:
    with (
        served("node", tls=certificates.of_server(mutual=True)) as store,
        pytest.raises(NodeUntrusted, match="wants a certificate of ours") as caught,
    ):
        reach(store, "node", certificates.trusting)
    assert "tls.certificate" in caught.value.hint


def test_https_to_who_speaks_none_is_told_so() -> None:
    with (
        served("node") as store,
        Node(store.url.replace("http:", "https:")) as node,
        pytest.raises(NodeUntrusted, match="does not speak TLS"),
    ):
        node.ask("GET", "/telemetry", "look")


def test_a_proxy_that_is_not_there_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:hunter2@127.0.0.1:9")
    with (
        Node("http://qdrant.test:6333") as node,
        pytest.raises(NodeUnreachable, match=r"proxy http://127\.0\.0\.1:9 of") as caught,
    ):
        node.ask("GET", "/telemetry", "look")
    assert "NO_PROXY" in caught.value.hint
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda c: Tls(ca=str(c.ca) + ".gone"), "is no file"),
        (lambda c: Tls(ca=str(c.server[1])), "no certificates"),
        (lambda c: Tls(certificate=str(c.client[0]), key=f"file:{c.server[1]}"), "do not fit"),
        (lambda c: Tls(certificate=str(c.client[0]), key=f"file:{c.locked}"), "under a password"),
        (lambda c: Tls(certificate=str(c.client[0])), "no certificate with its key"),
        (lambda c: Tls(certificate=str(c.client[0]), key="secret:gone"), "no .QDR_SECRETS_DIR"),
    ],
)
def test_files_that_do_not_serve_are_named(
    make: Callable[[Certificates], Tls], says: str, certificates: Certificates
) -> None:
    with pytest.raises(ConfigInvalid, match=says):
        tls_context(make(certificates))


def test_the_first_variable_counts_and_the_configuration_before_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificates: Certificates
) -> None:
    for name in reversed(CA_VARIABLES):
        file = tmp_path / name
        file.write_text("")
        monkeypatch.setenv(name, str(file))
        assert ca_file(Tls()) == str(file)
    assert ca_file(certificates.trusting) == str(certificates.ca)


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxied"),
    [
        ("http://10.1.2.3:6333", "10.0.0.0/8", False),
        ("http://11.1.2.3:6333", "10.0.0.0/8", True),
        ("http://[fd00::1]:6333", "fd00::/8", False),
        ("http://qdrant.internal", "internal", False),
        ("http://qdrantinternal", "internal", True),
        ("http://q.test:6333", "q.test:6333", False),
        ("http://q.test:6334", "q.test:6333", True),
        ("http://q.test", "*", False),
        ("http://localhost:6333", "", False),
        ("http://127.9.9.9", "", False),
        ("http://[::1]:6333", "", False),
        ("https://q.test", "", False),
    ],
)
def test_which_urls_have_a_proxy(
    url: str, no_proxy: str, proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert proxy_for(url) == ("http://proxy.test:3128" if proxied else None)


def test_a_proxy_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy.test:1080")
    with pytest.raises(ConfigInvalid, match="HTTPS_PROXY"):
        proxy_for("https://q.test")
    assert proxy_for("http://q.test") is None


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30))
def test_no_list_of_exceptions_is_a_reason_to_fail(no_proxy: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTP_PROXY", "http://proxy.test:1")
        patch.setenv("NO_PROXY", no_proxy)
        assert proxy_for("http://q.test:6333") in (None, "http://proxy.test:1")
