"""Every bad configuration has its line, its key path and a way on; no error holds a secret."""

from __future__ import annotations

import json
import re
import time
import typing
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml

from qdrant_dr import configfile
from qdrant_dr.config import Collections, Config, Decision
from qdrant_dr.configfile.plaintext import is_secret_key
from qdrant_dr.errors import ConfigInvalid
from qdrant_dr.quantities import cost_a_month, format_duration
from tests.support.configurations import GOOD, HUSH

SCHEMA = Path(__file__).parents[1] / "docs" / "qdrant-dr.schema.json"


def refusal(text: str) -> str:
    with pytest.raises(ConfigInvalid) as caught:
        configfile.loads(text, where="qdrant-dr.yaml")
    assert caught.value.exit_code == 2
    return caught.value.message


def line_of(text: str, fragment: str) -> int:
    assert text.count(fragment) == 1, fragment
    return text[: text.index(fragment)].count("\n") + 1


def test_the_documented_configuration_is_read_as_it_is_meant() -> None:
    config = configfile.loads(GOOD, where="good")
    assert config.cluster.timeouts.snapshot == timedelta(hours=2)
    assert [r.id for r in config.repositories] == ["7f3a9c21", "10203040", "c4410f0e"]
    assert config.repositories[0].bandwidth == 200 * 2**20
    assert config.repositories[2].options["secret"] == "env:MINIO_SECRET"
    assert config.collections.override("movies").objectives.rto == timedelta(minutes=30)
    assert config.objectives.proven.max_age == timedelta(days=8)


@pytest.mark.parametrize(
    ("name", "decided"),
    [
        ("users", Decision("included", "collections.expect")),
        ("m1", Decision("included", "m*")),
        ("m_tmp", Decision("excluded", "*_tmp", "rebuilt nightly")),
        (
            "other",
            Decision("excluded", "collections.include", "no pattern of `include` matches it"),
        ),
    ],
)
def test_one_rule_decides_and_expected_means_included(name: str, decided: Decision) -> None:
    rules = Collections.model_validate(
        {
            "include": ["m*"],
            "exclude": [{"match": "*_tmp", "reason": "rebuilt nightly"}],
            "expect": ["users"],
        }
    )
    assert rules.decide(name) == decided


# what is replaced in GOOD, by what, and what the error says on the line of the replacement
CASES = [
    ("  name: prod\n", "  name: Prod\n", "cluster.name: must be lower-case letters"),
    ("  nodes:", "  nodez:", "cluster.nodez: no such key; did you mean `nodes`?"),
    ("connect: 5s", "connect: 5", "cluster.timeouts.connect: 5 is not a duration"),
    ("snapshot: 2h", "snapshot: 2 hours", "cluster.timeouts.snapshot: '2 hours' is not a duration"),
    ("nodes: [https:", "nodes: [ftp:", "cluster.nodes[0]: a REST URL starts with http://"),
    (
        "    - {match: \"tmp_*\", reason: rebuilt nightly by etl}",
        "    - {match: \"tmp_*\"}",
        "collections.exclude[0].reason: is missing",
    ),
    ("expect: [movies, users]", "expect: movies", "collections.expect: must be a list"),
    ("expect: [movies, users]", "expect: [movies, tmp_a]",
     "collections.expect[1]: 'tmp_a' is expected here and excluded by 'tmp_*'"),
    ("criticality: high", "criticality: hihg", "did you mean `high`?"),
    ("id: 7f3a9c21", "id: 7f3a9c2", "repositories[0].id: must be 8 hex digits"),
    ("bandwidth: 200MiB/s", "bandwidth: 200", "repositories[0].bandwidth: 200 has no unit"),
    ("domain: onprem", "domian: onprem", "repositories[2].domian: no such key; did you mean `dom"),
    ("name: gcp", "name: aws", "repositories[1].name: two repositories have the same name"),
    ("gs://acme-dr/qdrant", "s3a://acme-dr/qdrant/", "repositories[1].url: is the same place as"),
    ("id: 10203040", "id: 7f3a9c21", "repositories[1].id: is also that of aws"),
    ("http://scratch:6333", "http://tok3n@scratch:6333", "drill.scratch.url: a server's URL must"),
    ("http://scratch:6333", "scratch:6333", "drill.scratch.url: a REST URL starts with http://"),
    ("http://scratch:6333", "http://", "drill.scratch.url: a REST URL is a host and its port"),
    ("http://scratch:6333", "http://scratch:port", "drill.scratch.url: a REST URL is a host and"),
    ("http://scratch:6333", "http://scratch:99999", "drill.scratch.url: a REST URL is a host and"),
    ("http://scratch:6333", "http://s:6333?a=b", "drill.scratch.url: a REST URL is a host and its"),
    ("http://scratch:6333", "HTTP://s:6333", "drill.scratch.url: a REST URL starts with http://"),
    ("memory: 8GiB", "memory: 8", "proof.memory: 8 has no unit"),
    ("quorum: 2", "quorum: 4", "copies.quorum: 4 copies need 4 repositories, not 3"),
    ("quorum: 2", "quorum: 0", "copies.quorum: must be 1 or more"),
    ("domains: 2", "domains: 4", "copies.domains: 4 domains are required, 3 configured"),
    ("method: auto", "method: ful", "capture.method: must be `auto`, `collection`, `shard`, `s"),
    ("method: auto", "method: ful", "did you mean `full`?"),
    ("max: 200GiB", "max: 200Gib", "capture.spool.max: '200Gib' is not a size"),
    ("rpo: 26h", "rpo:", "objectives.rpo: is empty: give it a value, or remove the key"),
    ("depth: content", "depth: contents", "objectives.proven.depth: must be `presence`"),
    ("engine: server", "engine: server\n  engine: edge", "drill.engine: appears twice (first on"),
    ("http://scratch:6333", "https://qdrant-0.internal:6333/", "drill.scratch.url: this is a node"),
    ("Europe/Berlin", "Europe/Berlim", "report.timezone: is not a time zone"),
    ("format: 1", "format: 2", "format: must be `1`"),
    ("pick: coverage", "pick: !!int 3", "drill.pick: tags are not used here"),
    ("report: {", "quorum: 2\nreport: {", "quorum: no such key here; did you mean `copies.quorum`"),
    ("report: {", "x: &a [*a]\nreport: {", "x[0]: an alias contains itself"),
    ("report: {", "  x\nreport: {", "not YAML"),
    ("report: {", "\treport: {", "not YAML"),
    ("report: {", "? [a, b]\n: 1\nreport: {", "a key must be a word"),
]  # fmt: skip


@pytest.mark.parametrize(("good", "bad", "said"), CASES, ids=[c[1].strip()[:30] for c in CASES])
def test_a_bad_value_is_named_with_its_line(good: str, bad: str, said: str) -> None:
    assert GOOD.count(good) == 1
    text = GOOD.replace(good, bad)
    last = bad.strip("\n").count("\n") if "appears twice" in said else 0
    line = GOOD[: GOOD.index(good)].count("\n") + 1 + last
    message = refusal(text)
    assert said in message
    assert message.startswith((f"qdrant-dr.yaml:{line}:", "qdrant-dr.yaml has "))
    assert re.search(rf"qdrant-dr\.yaml:{line}:\d+: ", message)


SECRETS = [
    ("api_key: secret:qdrant-prod", f"api_key: {HUSH}"),
    ("api_key: secret:qdrant-prod", f"api_key: '{HUSH}"),
    ("api_key: secret:qdrant-prod", f"api_key: *{HUSH}"),
    ("api_key: secret:qdrant-prod", f"api_key: !{HUSH}!x y"),
    ("secret: env:MINIO_SECRET", f"secret: {HUSH}"),
    ("secret: env:MINIO_SECRET", f"secret: file://{HUSH}"),
    ("key: env:MINIO_KEY", f"key: {HUSH}"),
    ("project: acme-dr", f"token: {HUSH}"),
    ("project: acme-dr", f"account_key: {HUSH}"),
    ("project: acme-dr", f"connection_string: AccountKey={HUSH}"),
    ("project: acme-dr", f"client_kwargs: {{aws_session_token: {HUSH}}}"),
    ("project: acme-dr", f"s3_additional_kwargs: {{SSECustomerKey: {HUSH}}}"),
    ("project: acme-dr", f"token: {{private_key: {HUSH}}}"),
    ("https://minio:9000", f"https://me:{HUSH}@minio:9000"),
    ("s3://dr/qdrant", f"https://x.net/y?sig={HUSH}"),
    ("https://qdrant-0.internal", f"https://me:{HUSH}@qdrant-0.internal"),
    ("nodes: [https://qdrant-0.internal:6333]", f"nodes: ['me:{HUSH}@qdrant-0']"),
    ("api_key: secret:scratch", f"api_key: {HUSH}"),
    ("timezone: Europe/Berlin", f"options: {{password: {HUSH}}}"),
]


@pytest.mark.parametrize(("good", "bad"), SECRETS, ids=[b[:24] for _, b in SECRETS])
def test_a_secret_in_plain_text_is_refused_and_not_repeated(good: str, bad: str) -> None:
    line = GOOD[: GOOD.index(good)].count("\n") + 1
    with pytest.raises(ConfigInvalid) as caught:
        configfile.loads(GOOD.replace(good, bad, 1), where="qdrant-dr.yaml")
    assert HUSH not in str(caught.value)
    assert caught.value.__cause__ is None
    if not bad.startswith(("api_key: '", "api_key: !", "api_key: *")):
        assert f"qdrant-dr.yaml:{line}:" in caught.value.message


def test_a_secret_of_digits_is_found_too() -> None:
    message = refusal(GOOD.replace("secret: env:MINIO_SECRET", "secret: 8675309"))
    assert "repositories[2].options.secret: must be a reference" in message
    assert "8675309" not in message


@pytest.mark.parametrize(
    "key",
    [
        "key",
        "secret",
        "password",
        "token",
        "api_key",
        "apiKey",
        "account_key",
        "connection_string",
        "SSECustomerKey",
        "sas_token",
        "aws_secret_access_key",
        "client-secret",
        "credential",
    ],
)
def test_keys_that_hold_secrets(key: str) -> None:
    assert is_secret_key(key)


@pytest.mark.parametrize(
    "key",
    [
        "project",
        "endpoint_url",
        "key_file",
        "SSEKMSKeyId",
        "anon",
        "account_name",
        "monkey",
        "secret_name",
        "token_path",
    ],
)
def test_keys_that_do_not(key: str) -> None:
    assert not is_secret_key(key)


@pytest.mark.parametrize("token", ["google_default", "anon", "/etc/gcs/key.json", "env:TOKEN"])
def test_ways_to_log_in_to_google_are_not_secrets(token: str) -> None:
    text = GOOD.replace("project: acme-dr", f"token: {token}")
    assert configfile.loads(text, where="x").repositories[1].options["token"] == token


def test_all_errors_are_listed_in_the_order_of_lines() -> None:
    text = GOOD.replace("rpo: 26h", "rpo: 26").replace("name: prod", "nme: prod")
    message = refusal(text)
    lines = message.splitlines()
    assert lines[0] == "qdrant-dr.yaml has 3 errors"
    numbers = [int(line.split(":")[1]) for line in lines if "qdrant-dr.yaml:" in line]
    assert len(numbers) == 3
    assert numbers == sorted(numbers)
    assert "cluster.name: is missing" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "qdrant-dr.yaml:1:1: the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- a\n- b\n", "the file is not a mapping"),
        ("a: 1\n---\nb: 2\n", "qdrant-dr.yaml:2:1: not YAML"),
        ("format: 1\ncluster: {name: a\n", "not YAML"),
        ("format: 1\nx: \x07\n", "qdrant-dr.yaml:2:4: not YAML"),
        ("format: 1\n", "cluster: is missing"),
    ],
)
def test_what_is_no_configuration_at_all(text: str, said: str) -> None:
    assert said in refusal(text)


def test_yaml_words_stay_text() -> None:
    text = GOOD.replace("owner: search-team", "owner: no").replace("[movies, users]", "[on, 2026]")
    config = configfile.loads(text, where="x")
    assert config.collections.expect == ("on", "2026")
    assert config.collections.override("movies").owner == "no"


def test_relative_paths_count_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "c.yaml").write_text(configfile.init_text("http://localhost:6333"))
    monkeypatch.chdir(tmp_path)
    config = configfile.load("there/c.yaml")
    assert config.repositories[0].url == str(tmp_path / "there" / "backups")
    assert config.report.url == str(tmp_path / "there" / "reports")
    assert config.capture.spool.path == str(tmp_path / "there" / "spool")
    assert config.sha256 == configfile.load(tmp_path / "there" / "c.yaml").sha256


def test_where_the_configuration_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(configfile.VARIABLE, raising=False)
    with pytest.raises(ConfigInvalid, match="no -c and no"):
        configfile.find()
    (tmp_path / "qdrant-dr.yaml").write_text(GOOD)
    assert configfile.find() == "qdrant-dr.yaml"
    monkeypatch.setenv(configfile.VARIABLE, "elsewhere.yaml")
    assert configfile.find() == "elsewhere.yaml"
    assert configfile.find("mine.yaml") == "mine.yaml"


def test_a_url_is_a_reference(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(GOOD)
    assert configfile.load((tmp_path / "c.yaml").as_uri()).cluster.name == "prod"
    with pytest.raises(ConfigInvalid, match="cannot be read: FileNotFoundError"):
        configfile.load((tmp_path / "d.yaml").as_uri())
    with pytest.raises(ConfigInvalid) as caught:
        configfile.load(f"nope://me:{HUSH}@host/c.yaml?sig={HUSH}")
    assert HUSH not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: None, "there is no"),
        (lambda p: p.mkdir(), "cannot be read: Is a directory"),
        (lambda p: p.write_bytes(b"\xff\xfe\x00"), "c.yaml:1:1: it is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, make: object, said: str) -> None:
    make(tmp_path / "c.yaml")  # type: ignore[operator]
    with pytest.raises(ConfigInvalid, match=said):
        configfile.load(tmp_path / "c.yaml")


def test_blocks_come_through_a_loader_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configfile, "_block_loaders", [])
    with pytest.raises(ConfigInvalid, match="block:prod is a Prefect block"):
        configfile.load("block:prod")
    configfile.register_block_loader({"prod": GOOD}.__getitem__)
    assert configfile.load("block:prod").cluster.name == "prod"


def test_init_writes_what_load_reads_and_never_twice(tmp_path: Path) -> None:
    path = tmp_path / "qdrant-dr.yaml"
    configfile.init(path, "http://localhost:6333")
    config = configfile.load(path)
    assert (config.copies.quorum, len(config.repositories)) == (1, 1)
    assert config.cluster.nodes == ("http://localhost:6333",)
    with pytest.raises(ConfigInvalid, match="already exists"):
        configfile.init(path, "http://other:6333")
    assert "other" not in path.read_text()


def test_the_published_schema_is_the_model() -> None:
    assert SCHEMA.read_text() == configfile.schema(), "run: qdrant-dr schema config"


@pytest.mark.parametrize("text", [GOOD, configfile.init_text("http://localhost:6333")])
def test_the_schema_accepts_what_the_model_accepts(text: str) -> None:
    schema = json.loads(configfile.schema())
    value = yaml.safe_load(text.replace("10203040", '"10203040"'))
    jsonschema.validate(value, schema)
    value["nonsense"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, schema)


def test_every_key_is_documented() -> None:
    page = (SCHEMA.parent / "configuration.md").read_text()
    for name, field in Config.model_fields.items():
        kinds = [k for k in typing.get_args(field.annotation) if isinstance(k, type)]
        section = kinds[0] if kinds else field.annotation
        for key in getattr(section, "model_fields", {}):
            known = (f"`{name}.{key}`", f"`{name}[].{key}`", f"{key}: ", f"`{key}`")
            assert any(words in page for words in known), f"{name}.{key}"


def test_the_documented_defaults_are_those_of_the_model() -> None:
    page = (SCHEMA.parent / "configuration.md").read_text()
    config = configfile.loads(configfile.init_text("http://localhost:6333"), where="x")
    for key, value in (("rpo", config.objectives.rpo), ("rto", config.objectives.rto)):
        assert f"| `objectives.{key}` | `{format_duration(value)}` |" in page


def test_a_report_that_is_not_configured_lies_beside_the_file_too(tmp_path: Path) -> None:
    """A worker's working directory is a temporary one: what is written there is lost."""
    file = tmp_path / "qdrant-dr.yaml"
    configfile.init(file, "http://127.0.0.1:6333")
    bare = "\n".join(
        line
        for line in file.read_text().splitlines()
        if not line.startswith(("report:", "  url: ./rep"))
    )
    file.write_text(bare)
    assert configfile.load(file).report.url == str(tmp_path / "reports")


BLOCKS = [
    ("bandwidth: 200MiB/s", "credentials: block:aws-credentials/prod"),
    ("bandwidth: 200MiB/s", "credentials: block:minio-credentials/prod"),
    ("options: {project: acme-dr}",
     "options: {project: acme-dr}\n    credentials: block:gcp-credentials/prod"),
    ("read_api_key: null",
     "snapshots_s3: {url: 's3://b/s', credentials: block:aws-credentials/prod}"),
    ("timezone: Europe/Berlin",
     "credentials: block:aws-credentials/prod"),
]  # fmt: skip


@pytest.mark.parametrize(("here", "block"), BLOCKS)
def test_a_block_may_hold_the_keys(here: str, block: str) -> None:
    text = GOOD.replace(here, block)
    found = configfile.loads(text, where="x").model_dump_json()
    assert block.rpartition("block:")[2].rstrip("}") in found


@pytest.mark.parametrize(
    ("here", "wrong", "said"),
    [
        ("bandwidth: 200MiB/s", "credentials: block:gcp-credentials/prod",
         "credentials: must be block:aws-credentials/NAME or block:minio-credentials/NAME for"),
        ("bandwidth: 200MiB/s", "credentials: block:secret/prod", "must be block:aws-credentials"),
        ("bandwidth: 200MiB/s", "credentials: env:KEY",
         "must be block:TYPE/NAME, such as block:aws-credentials/prod"),
        ("bandwidth: 200MiB/s", "credentials: block:prod", "must be block:TYPE/NAME, such as"),
        ("bandwidth: 200MiB/s", f"credentials: {HUSH}", "must be"),
        ("url: s3://acme-dr/qdrant", "url: ./x\n    credentials: block:aws-credentials/prod",
         "repositories[0].credentials: is for az://, gs://, s3:// only"),
        ("bandwidth: 200MiB/s",
         "options: {key: env:K, region: x}\n    credentials: block:aws-credentials/prod",
         "repositories[0].credentials: and `options.key`: use one of the two"),
        ("bandwidth: 200MiB/s",
         "options: {client_kwargs: {endpoint_url: x}}\n    credentials: block:aws-credentials/prod",
         "use `options.endpoint_url`"),
        ("bandwidth: 200MiB/s", "options: {credentials: block:aws-credentials/prod}",
         "repositories[0].options.credentials: belongs beside `options`, not in it"),
    ],
)  # fmt: skip
def test_a_block_that_does_not_fit_is_refused(here: str, wrong: str, said: str) -> None:
    message = refusal(GOOD.replace(here, wrong))
    assert said in message
    assert HUSH not in message
    assert message.startswith("qdrant-dr.yaml:"), "one error, with its line"


# what is made to hurt whoever reads it


def billion_laughs(levels: int, of: str = "[{0}, {0}, {0}]") -> str:
    lines = ['a0: &a0 ["lol"]']
    lines += [f"a{n}: &a{n} " + of.format(f"*a{n - 1}") for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (billion_laughs(40), "more than 50,000 values"),
        (billion_laughs(40, "{{p: {0}, q: {0}, r: {0}}}"), "more than 50,000 values"),
        ("format: 1\nx: " + "[" * 100_000, "nested too deeply"),
        ("format: 1\nx: " + "[" * 40 + "]" * 40, "nested too deeply"),
        ("format: 1\nx: " + "{a: " * 40 + "1" + "}" * 40, "nested too deeply"),
        ("format: 1\nx:\n" + "- " * 5000, "nested too deeply"),
        ("format: 1\nx: '" + "y" * 2**20 + "'", "characters"),
        ("format: 1\ncopies: {quorum: " + "9" * 5000 + "}", "copies.quorum"),
        ("format: 1\nx: &x\n  y: *x\n", "an alias contains itself"),
    ],
)
def test_what_would_fill_memory_or_never_end_is_refused(text: str, said: str | None) -> None:
    began = time.monotonic()
    with pytest.raises(ConfigInvalid, match=said) as refused:
        configfile.loads(text, where="c.yaml")
    assert time.monotonic() - began < 20
    assert len(refused.value.message) < 5000


def test_a_file_without_end_is_read_up_to_a_bound(tmp_path: Path) -> None:
    endless = tmp_path / "c.yaml"
    endless.symlink_to("/dev/zero")
    with pytest.raises(ConfigInvalid, match="characters"):
        configfile.load(endless)
    large = tmp_path / "large.yaml"
    with large.open("wb") as out:
        out.truncate(2**40)
    with pytest.raises(ConfigInvalid, match="characters"):
        configfile.load(large)
    with pytest.raises(ConfigInvalid, match="characters"):
        configfile.load(large.as_uri())


def test_thousands_of_collections_fit() -> None:
    rules = "\n".join(f"    - {{match: c{n:05d}, owner: team-{n % 7}}}" for n in range(5000))
    text = GOOD.replace("  overrides:\n", f"  overrides:\n{rules}\n")
    assert len(configfile.loads(text, where="c.yaml").collections.overrides) == 5001


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        (0, "0.00 a month"),
        (0.004, "less than 0.01 a month"),
        (0.005, "0.01 a month"),
        (7.126, "7.13 a month"),
    ],
)
def test_what_costs_something_never_costs_nothing(cost: float, words: str) -> None:
    assert cost_a_month(cost) == words
