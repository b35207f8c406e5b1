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
    from tasks import blocks
    from tasks.secrets import secret_block

    secrets.register_resolver(secret_block)
    monkeypatch.delenv("QDR_SECRETS_DIR", raising=False)
    monkeypatch.setattr(blocks, "FRESH", 0.0)
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


def test_a_block_is_asked_for_once_in_a_while_and_anew_by_each_run(
    in_process: PrefectServer, world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.blocks.system import Secret

    from tasks import blocks
    from tasks.config import load
    from tasks.secrets import secret_block

    made = world()
    asked = []
    read = blocks._read
    monkeypatch.setattr(blocks, "_read", lambda *block: asked.append(block) or read(*block))
    Secret(value=KEPT).save("qdr-often", overwrite=True)
    assert [secret_block("qdr-often") for _ in range(9)] == [KEPT] * 9
    assert asked == [("secret", "qdr-often")]
    Secret(value="rotated").save("qdr-often", overwrite=True)
    load(made.reference)
    assert secret_block("qdr-often") == "rotated"
    assert len(asked) == 2


@pytest.mark.parametrize("key", ["12e5", "true", '"quoted"', "007"])
def test_a_key_is_what_was_typed_in(in_process: PrefectServer, key: str) -> None:
    from prefect.blocks.system import Secret

    from tasks import blocks
    from tasks.secrets import secret_block

    Secret(value=key).save("qdr-odd", overwrite=True)
    blocks.read_anew()
    assert secret_block("qdr-odd") == key


def test_a_block_of_several_values_is_no_key(in_process: PrefectServer) -> None:
    from prefect.blocks.system import Secret

    from qdrant_dr.errors import SecretMissing
    from tasks.secrets import secret_block

    Secret(value={"user": "ada", "password": KEPT}).save("qdr-pair", overwrite=True)
    with pytest.raises(SecretMissing, match="secret:qdr-pair holds no text") as caught:
        secret_block("qdr-pair")
    assert KEPT not in str(caught.value)


def test_a_configuration_may_be_a_block(
    in_process: PrefectServer, world: Callable[..., World]
) -> None:
    from prefect import settings as s
    from prefect.blocks.system import Secret

    from qdrant_dr.errors import ConfigInvalid
    from qdrant_dr.prefect_block import ConfigBlock
    from tasks.config import load

    made = world()
    ConfigBlock(text=made.file.read_text()).save("shop", overwrite=True)
    assert load("block:shop").cluster.name == "shop"
    assert load("block:qdrant-dr/shop") == load("block:shop")
    Secret(value=KEPT).save("qdr-other-type", overwrite=True)
    for reference, said, step in (
        ("block:other", "there is no block 'other' of type qdrant-dr", "`prefect block ls`"),
        ("block:qdr-other-type", "there is no block 'qdr-other-type' of type", "--save-as NAME"),
        ("block:secret/qdr-other-type", "is of type secret, and a configuration", "write block:"),
    ):
        with pytest.raises(ConfigInvalid, match=said) as caught:
            load(reference)
        assert step in caught.value.hint
        assert KEPT not in str(caught.value)
    with (
        s.temporary_settings({s.PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(ConfigInvalid, match="block 'unread' cannot be read: ") as caught,
    ):
        load("block:unread")
    assert "PREFECT_API_URL" in caught.value.hint
    ConfigBlock(text="format: 1\n").save("broken", overwrite=True)
    with pytest.raises(ConfigInvalid, match="block:broken:1:1: "):
        load("block:broken")
