"""Keys reach the cluster, and nothing that Prefect keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.prefect import PrefectServer, drain
from tests.support.servers import sandbox_server
from tests.support.world import World, make_world, seed

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("in_process")]
KEY, WRONG, KEPT = "k3y-of-the-cluster", "wr0ng-key-of-nobody", "k3y-in-a-block"


def test_no_key_is_in_the_servers_database(
    in_process: PrefectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.backup import backup

    monkeypatch.setenv("QDR_TEST_KEY", KEY)
    monkeypatch.setenv("QDR_TEST_WRONG", WRONG)
    with sandbox_server(tmp_path / "source", api_key=KEY) as source:
        seed(source.url, "movies", points=20, api_key=KEY)
        for reference, expected in (
            ("env:QDR_TEST_KEY", "Completed"),
            ("env:QDR_TEST_WRONG", "Failed"),
        ):
            folder = tmp_path / expected
            folder.mkdir()
            cluster = {"name": "shop", "nodes": [source.url], "api_key": reference}
            made = make_world(folder, source.url, cluster=cluster)
            state = backup(config=made.reference, return_state=True)
            assert state.name == expected, state.message
            for secret in (KEY, WRONG):
                assert secret not in str(state.message)
    drain()
    stored = b"".join(p.read_bytes() for p in in_process.home.glob("prefect.db*"))
    assert b"capture movies" in stored, "the database was looked at"
    for secret in (KEY, WRONG):
        assert secret.encode() not in stored


def test_a_secret_block_is_found_and_outlives_the_server(
    in_process: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import settings as s
    from prefect.blocks.system import Secret

    from qdrant_dr import secrets
    from qdrant_dr.errors import SecretMissing
    from tasks.secrets import secret_block

    secrets.register_resolver(secret_block)
    monkeypatch.delenv("QDR_SECRETS_DIR", raising=False)
    Secret(value=KEPT).save("qdr-key", overwrite=True)
    assert secrets.resolve("secret:qdr-key") == KEPT
    with pytest.raises(SecretMissing):
        secrets.resolve("secret:qdr-other")
    with s.temporary_settings({s.PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert secrets.resolve("secret:qdr-key") == KEPT
        with pytest.raises(SecretMissing):
            secrets.resolve("secret:qdr-other")
    Secret(value="rotated").save("qdr-key", overwrite=True)
    assert secrets.resolve("secret:qdr-key") == "rotated"


def test_a_configuration_may_be_a_block(
    in_process: PrefectServer, world: Callable[..., World]
) -> None:
    from qdrant_dr.errors import ConfigInvalid
    from tasks.config import ConfigBlock, load

    made = world()
    ConfigBlock(text=made.file.read_text()).save("shop", overwrite=True)
    assert load("block:shop").cluster.name == "shop"
    with pytest.raises(ConfigInvalid, match="no block 'other'"):
        load("block:other")
