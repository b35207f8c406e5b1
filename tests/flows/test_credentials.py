"""Repositories whose keys come from credentials blocks of a real Prefect server."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from qdrant_dr import secrets
from qdrant_dr.config import Config, RepositoryConfig
from qdrant_dr.errors import ConfigInvalid, RepositoryDenied, SecretMissing
from qdrant_dr.repository import Repository, create_repository, open_repository, read_catalog
from tests.support.deployed import ask_for_run, deploy, ended, worker
from tests.support.prefect import PrefectServer, drain
from tests.support.stores import Place, azure_place, gcs_place, s3_place
from tests.support.thorough import thorough

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(170)]
PATIENCE = timedelta(seconds=60)


@dataclass
class TokenServer:
    """Google's, on loopback: it gives a token for every signed assertion, and remembers them."""

    url: str
    assertions: list[str] = field(default_factory=list)


@contextmanager
def token_server() -> Iterator[TokenServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            made.assertions += urllib.parse.parse_qs(form)["assertion"]
            body = json.dumps({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Silence."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = TokenServer(f"http://127.0.0.1:{server.server_port}/token")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join(10)


def private_key() -> str:
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()).decode()


@dataclass
class Clouds:
    """The emulators, the blocks for them on the server, and every secret text in those."""

    s3: Place
    places: dict[str, Place]
    blocks: dict[str, str]
    hush: set[str]
    tokens: TokenServer


def save_aws(place: Place, name: str, **changed: Any) -> None:
    prefect_aws = pytest.importorskip("prefect_aws")
    given = {
        "aws_access_key_id": place.options["key"],
        "aws_secret_access_key": place.options["secret"],
        "aws_client_parameters": {"endpoint_url": place.options["endpoint_url"]},
        "region_name": "us-east-1",
        **changed,
    }
    prefect_aws.AwsCredentials(**given).save(name, overwrite=True)


@pytest.fixture
def clouds(in_process: PrefectServer) -> Iterator[Clouds]:
    prefect_gcp = pytest.importorskip("prefect_gcp")
    prefect_azure = pytest.importorskip("prefect_azure")
    with ExitStack() as stack:
        s3 = stack.enter_context(s3_place())
        gcs = stack.enter_context(gcs_place())
        azure = stack.enter_context(azure_place())
        tokens = stack.enter_context(token_server())
        save_aws(s3, "qdr-clouds")
        pem = private_key()
        info = {
            "type": "service_account",
            "project_id": "acme",
            "private_key_id": "1",
            "private_key": pem,
            "client_email": "dr@acme.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": tokens.url,
        }
        prefect_gcp.GcpCredentials(service_account_info=info).save("qdr-clouds", overwrite=True)
        prefect_azure.AzureBlobStorageCredentials(
            connection_string=azure.options["connection_string"]
        ).save("qdr-clouds", overwrite=True)
        key = azure.options["connection_string"].partition("AccountKey=")[2].partition(";")[0]
        yield Clouds(
            s3,
            {"s3": s3, "gcs": gcs, "azure": azure},
            {
                "s3": "block:aws-credentials/qdr-clouds",
                "gcs": "block:gcp-credentials/qdr-clouds",
                "azure": "block:azure-blob-storage-credentials/qdr-clouds",
            },
            {s3.options["secret"], key, pem.splitlines()[1], pem.splitlines()[9]},
            tokens,
        )


def configuration(folder: Path, source: str, entries: list[dict[str, Any]]) -> Path:
    """A configuration of these repositories, which are made; written to a file."""
    from tasks.config import load

    body = {
        "format": 1,
        "cluster": {"name": "shop", "nodes": [source]},
        "repositories": entries,
        "copies": {"quorum": len(entries), "domains": len(entries), "stall_timeout": "60s"},
        "capture": {"spool": {"path": str(folder / "spool"), "max": "1GiB"}},
        "report": {"url": str(folder / "reports")},
    }
    file = folder / "qdrant-dr.yaml"
    file.write_text(yaml.safe_dump(body))
    for entry, made in zip(entries, load(str(file)).repositories, strict=True):
        entry["id"] = create_repository(made, datetime.now(UTC))
    file.write_text(yaml.safe_dump(body))
    return file


def entry(name: str, place: Place, block: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": name, "url": place.config(name).url, "domain": name, "credentials": block,
    }  # fmt: skip
    if name == "gcs":  # its block knows no endpoint
        found["options"] = {"endpoint_url": place.options["endpoint_url"]}
    return found


def everything_in(repository: Repository) -> Iterator[bytes]:
    for top in ("backups", "proofs", "runs"):
        for there in repository.find(top):
            yield repository.store.read(there.path)


def test_three_clouds_with_keys_from_blocks_and_no_key_anywhere(
    clouds: Clouds,
    in_process: PrefectServer,
    source: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.backup import backup
    from qdrant_dr.prefect_block import ConfigBlock
    from tasks.config import load

    made = [entry(name, place, clouds.blocks[name]) for name, place in clouds.places.items()]
    file = configuration(tmp_path, source, made)
    ConfigBlock(text=file.read_text()).save("qdr-clouds", overwrite=True)
    state = backup(config="block:qdr-clouds", collections=["users"], return_state=True)
    assert state.name == "Completed", state.message

    config: Config = load("block:qdr-clouds")
    opened = [open_repository(r, stall_timeout=PATIENCE) for r in config.repositories]
    (kept,) = read_catalog(opened, cluster="shop").backups
    assert {c.repository for c in kept.copies if c.state == "present" and c.proofs} == {
        "s3", "gcs", "azure",
    }  # fmt: skip
    assert clouds.tokens.assertions, "the key of the block signed for it"
    assert opened[0].location.endpoint == clouds.s3.options["endpoint_url"].partition("//")[2]

    # where there is no Prefect, a file stands for the block
    with monkeypatch.context() as without:
        without.setattr(secrets, "_block_readers", [])
        without.setenv("QDR_SECRETS_DIR", str(tmp_path / "secrets"))
        with pytest.raises(SecretMissing, match="no Prefect is loaded here"):
            open_repository(config.repositories[0], stall_timeout=PATIENCE)
        (tmp_path / "secrets/aws-credentials").mkdir(parents=True)
        (tmp_path / "secrets/aws-credentials/qdr-clouds").write_text(json.dumps(clouds.s3.options))
        again = open_repository(config.repositories[0], stall_timeout=PATIENCE)
        assert again.location == opened[0].location

    # a key that was replaced counts in the next run, in this very process, and shows nowhere either
    wrong = "wr0ng-secret-of-nobody"
    save_aws(clouds.s3, "qdr-clouds", aws_secret_access_key=wrong)
    state = backup(config="block:qdr-clouds", collections=["users"], return_state=True)
    assert state.name == "Failed"
    assert "repository s3: access was refused" in str(state.message)

    drain()
    said = "".join(capfd.readouterr()) + caplog.text + str(state.message)
    stored = b"".join(p.read_bytes() for p in in_process.home.glob("prefect.db*"))
    assert b"block:qdr-clouds" in stored, "the database was looked at"
    kept_bytes = b"".join(block for r in opened[1:] for block in everything_in(r))
    assert b'"shop"' in kept_bytes
    for secret in (*clouds.hush, wrong):
        assert secret not in said
        assert secret.encode() not in stored
        assert secret.encode() not in kept_bytes


@thorough  # the sibling above replaces a key between two runs of one process
def test_a_rotated_key_needs_no_redeployment(
    in_process: PrefectServer, source: str, tmp_path: Path
) -> None:
    import boto3

    with s3_place() as place:
        if "key" not in place.options:
            pytest.skip("its keys are the machine's own")
        save_aws(place, "qdr-rotated")
        block = "block:aws-credentials/qdr-rotated"
        file = configuration(tmp_path, source, [entry("s3", place, block)])
        deployments = deploy(in_process, tmp_path, "rotation", {"rotated": str(file)})
        with worker(in_process, "rotation", tmp_path / "worker.log") as running:
            first = ended(in_process, ask_for_run(in_process, deployments["rotated"]))
            assert first["state_name"] == "Completed", running.log.read_text()

            old = {n: place.options[n] for n in ("key", "secret")}
            iam = boto3.client(
                "iam",
                endpoint_url=place.options["endpoint_url"],
                region_name="us-east-1",
                aws_access_key_id=old["key"],
                aws_secret_access_key=old["secret"],
            )
            new = iam.create_access_key(UserName="qdr")["AccessKey"]
            save_aws(
                place, "qdr-rotated",
                aws_access_key_id=new["AccessKeyId"],
                aws_secret_access_key=new["SecretAccessKey"],
            )  # fmt: skip
            iam.delete_access_key(UserName="qdr", AccessKeyId=old["key"])
            with pytest.raises(RepositoryDenied):
                open_repository(
                    RepositoryConfig(
                        name="s3", url=f"{place.base}/x", domain="s3", options=place.options
                    ),
                    stall_timeout=PATIENCE,
                )
            second = ended(in_process, ask_for_run(in_process, deployments["rotated"]))
            log = running.log.read_text()
        assert second["state_name"] == "Completed", log
        assert first["deployment_version"] == second["deployment_version"]
        for secret in (old["secret"], new["SecretAccessKey"]):
            assert secret not in log


def test_what_is_wrong_with_a_block_is_said_with_the_next_step(
    in_process: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import settings as s

    from tasks import blocks, credentials

    prefect_aws = pytest.importorskip("prefect_aws")
    monkeypatch.delenv("QDR_SECRETS_DIR", raising=False)
    monkeypatch.setattr(blocks, "FRESH", 0.0)
    secrets.register_block_reader(credentials.credentials_block)
    with pytest.raises(SecretMissing, match="no block 'none' of type aws-credentials") as absent:
        secrets.block_options("block:aws-credentials/none")
    assert "prefect block ls" in absent.value.hint
    with pytest.raises(ConfigInvalid, match="block:secret/x holds no keys of a storage"):
        secrets.block_options("block:secret/x")
    role = prefect_aws.AwsCredentials(
        aws_access_key_id="AKIA",
        aws_secret_access_key="hunter2",
        assume_role_arn="arn:aws:iam::1:role/dr",
    )
    role.save("qdr-role", overwrite=True)
    with pytest.raises(ConfigInvalid, match="sets assume_role_arn") as refused:
        secrets.block_options("block:aws-credentials/qdr-role")
    assert "hunter2" not in str(refused.value) + repr(refused.value)

    prefect_aws.AwsCredentials(aws_access_key_id="AKIA", aws_secret_access_key="hunter2").save(
        "qdr-kept", overwrite=True
    )
    kept = {"key": "AKIA", "secret": "hunter2"}
    assert secrets.block_options("block:aws-credentials/qdr-kept") == kept
    with s.temporary_settings({s.PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert secrets.block_options("block:aws-credentials/qdr-kept") == kept, "read before"
        with pytest.raises(SecretMissing, match="cannot be read: ") as away:
            secrets.block_options("block:aws-credentials/qdr-never-read")
        assert "is the Prefect API up" in away.value.hint
    minio = prefect_aws.MinIOCredentials(minio_root_user="root", minio_root_password="hunter2")
    minio.save("qdr-minio", overwrite=True)
    assert secrets.block_options("block:minio-credentials/qdr-minio") == {
        "key": "root", "secret": "hunter2",
    }  # fmt: skip
