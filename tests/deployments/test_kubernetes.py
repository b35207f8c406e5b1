"""The Kubernetes samples: pinned, unprivileged, and a drill cannot reach production."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from prefect.utilities.templating import apply_values

from qdrant_dr.version import __version__
from tests.support.samples import IMAGES, KUBERNETES, PINNED, ROOT, documents, locked, said
from tests.support.stores import free_port

IMAGE = f"registry.example.com/qdrant-dr:{__version__}"
TEMPLATE = json.loads((KUBERNETES / "job-template.json").read_text())
POLICIES = [d for d in documents() if d["kind"] == "NetworkPolicy"]


def job(**chosen: str) -> dict[str, Any]:
    """The manifest that a run gets, made by Prefect's own templating."""
    properties = TEMPLATE["variables"]["properties"]
    values = {n: p["default"] for n, p in properties.items() if "default" in p}
    values |= {"command": "prefect flow-run execute", "env": {"A": "b"}, **chosen}
    manifest: dict[str, Any] = apply_values(TEMPLATE["job_configuration"], values)["job_manifest"]
    return manifest


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for document in documents():
        if document["kind"] in ("Deployment", "Job"):
            yield document["metadata"]["name"], document["spec"]["template"]
    yield "job-template", job()["spec"]["template"]


PODS = dict(pods())


def test_every_image_is_pinned_to_what_is_tested() -> None:
    images = {n: p["spec"]["containers"][0]["image"] for n, p in PODS.items()}
    for image in images.values():
        assert PINNED.match(image), image
    prefect = locked(ROOT / "requirements.lock")["prefect"]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert images == {
        "qdrant-dr-worker": f"prefecthq/prefect:{prefect}-python{python}-kubernetes",
        "scratch": "qdrant/qdrant:v1.18.3-unprivileged",
        "probe": IMAGE,
        "job-template": IMAGE,
    }


@pytest.mark.parametrize("name", PODS)
def test_no_pod_may_do_more_than_it_must(name: str) -> None:
    spec = PODS[name]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    context = container["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context.get("readOnlyRootFilesystem") is True or name == "scratch"
    assert "memory" in container["resources"]["limits"]
    mounted = {m["name"] for m in container.get("volumeMounts", ())}
    assert mounted == {v["name"] for v in spec.get("volumes", ())}
    assert PODS[name]["metadata"]["labels"]["qdrant-dr/role"] in (
        "worker",
        "work",
        "drill",
        "scratch",
    )
    if name != "qdrant-dr-worker":  # it alone speaks to Kubernetes
        assert spec["automountServiceAccountToken"] is False


def test_a_job_writes_where_the_image_says_and_finds_its_secrets() -> None:
    spec = PODS["job-template"]["spec"]
    (container,) = spec["containers"]
    places = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
    (settings,) = said("ENV")[-1:]
    environment = dict(re.findall(r"(\w+)=(\S+)", settings))
    assert places[environment["QDR_SECRETS_DIR"]] == "keys"
    assert places[environment["HOME"]] == "home"
    assert environment["QDRANT_DR_CONFIG"].startswith(
        f"{next(p for p, n in places.items() if n == 'config')}/"
    )
    assert f"{next(p for p, n in places.items() if n == 'spool')}" in " ".join(said("RUN"))
    user = said("USER")[0].split(":")
    assert [str(spec["securityContext"][k]) for k in ("runAsUser", "runAsGroup")] == user
    volume = next(v for v in spec["volumes"] if v["name"] == "spool")
    claim = volume["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert claim["resources"]["requests"]["storage"] == "100Gi"
    assert "storageClassName" not in claim  # nothing chosen: the cluster's own
    assert spec["serviceAccountName"] == "qdrant-dr-job"
    assert container["args"] == "prefect flow-run execute"
    assert container["resources"]["limits"] == {"memory": "6Gi"}
    assert job()["spec"]["parallelism"] == 1


def test_the_template_asks_for_nothing_that_it_does_not_declare() -> None:
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(TEMPLATE["job_configuration"])))
    declared = set(TEMPLATE["variables"]["properties"])
    assert used == declared
    assert all(p.get("description") for p in TEMPLATE["variables"]["properties"].values())


PRODUCTION = {"namespace": "qdrant", "labels": {"app": "qdrant"}, "ip": "10.1.2.3", "port": 6333}
PLACES: dict[str, dict[str, Any]] = {
    "production": PRODUCTION,
    "production behind TLS": {**PRODUCTION, "port": 443},
    "production's service": {"namespace": None, "labels": {}, "ip": "172.20.0.9", "port": 443},
    "scratch": {
        "namespace": "qdrant-dr",
        "labels": {"qdrant-dr/role": "scratch"},
        "ip": "10.1.9.9",
        "port": 6333,
    },
    "store": {"namespace": None, "labels": {}, "ip": "52.218.1.1", "port": 443},
    "prefect": {
        "namespace": "prefect",
        "labels": {"app": "prefect"},
        "ip": "10.1.4.4",
        "port": 4200,
    },
    "names": {
        "namespace": "kube-system",
        "labels": {"k8s-app": "kube-dns"},
        "ip": "10.1.0.2",
        "port": 53,
    },
}


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    plain = all(labels.get(k) == v for k, v in selector.get("matchLabels", {}).items())
    return plain and all(
        labels.get(e["key"]) in e["values"] for e in selector.get("matchExpressions", ())
    )


def peer(rule: dict[str, Any], place: dict[str, Any]) -> bool:
    """Kubernetes' rule of one `to`: an address block, or pods by their namespace and labels."""
    if block := rule.get("ipBlock"):
        address = ip_address(place["ip"])
        return address in ip_network(block["cidr"]) and not any(
            address in ip_network(e) for e in block.get("except", ())
        )
    namespace = {"kubernetes.io/metadata.name": place["namespace"] or ""}
    inside = (
        selects(rule["namespaceSelector"], namespace)
        if "namespaceSelector" in rule
        else place["namespace"] == "qdrant-dr"
    )
    return inside and selects(rule.get("podSelector", {}), place["labels"])


def reaches(role: str, place: dict[str, Any]) -> bool:
    mine = [
        p["spec"] for p in POLICIES if selects(p["spec"]["podSelector"], {"qdrant-dr/role": role})
    ]
    assert any("Egress" in p["policyTypes"] for p in mine), "nothing holds it back"
    return any(
        any(p["port"] == place["port"] for p in rule["ports"])
        and any(peer(to, place) for to in rule["to"])
        for policy in mine
        for rule in policy.get("egress", ())
    )


@pytest.mark.parametrize(
    ("role", "there"),
    [
        ("drill", {"scratch", "store", "prefect", "names"}),
        (
            "work",
            {
                "production",
                "production behind TLS",
                "production's service",
                "store",
                "prefect",
                "names",
            },
        ),
        ("worker", {"production behind TLS", "production's service", "store", "prefect", "names"}),
        ("scratch", set()),
        ("something without a role", set()),
    ],
)
def test_network_policies_allow_only_intended_connections(role: str, there: set[str]) -> None:
    assert {name for name, place in PLACES.items() if reaches(role, place)} == there


def test_only_drills_come_in_to_the_scratch_server() -> None:
    allowing = [p for p in POLICIES if p["spec"].get("ingress")]
    (policy,) = allowing
    assert policy["spec"]["podSelector"] == {"matchLabels": {"qdrant-dr/role": "scratch"}}
    ((rule,),) = [policy["spec"]["ingress"]]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"qdrant-dr/role": "drill"}}}]


def test_a_run_says_its_role() -> None:
    labels = job(role="drill")["spec"]["template"]["metadata"]["labels"]
    assert labels["qdrant-dr/role"] == "drill"
    role = TEMPLATE["variables"]["properties"]["role"]
    assert (role["enum"], role["default"]) == (["work", "drill"], "work")
    assert "--job-variable role=drill" in (KUBERNETES / "README.md").read_text()


def probe(*places: str) -> int:
    (container,) = PODS["probe"]["spec"]["containers"]
    command = [sys.executable, *container["command"][1:3], *places]
    return subprocess.run(command, timeout=60, capture_output=True, check=False).returncode


def test_the_probe_fails_unless_production_is_out_of_reach_and_scratch_is_not() -> None:
    gone = f"127.0.0.1:{free_port()}"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        there = f"127.0.0.1:{listening.getsockname()[1]}"
        assert probe(gone, there) == 0
        assert probe(there, there) == 1
        assert probe(gone, gone) == 1
        assert probe("no.such.host.invalid:6333", there) == 1


def test_the_files_that_the_readme_applies_are_there() -> None:
    text = (KUBERNETES / "README.md").read_text()
    named = set(re.findall(r"deployments/kubernetes/([\w.-]+)", text))
    there = {f.name for f in KUBERNETES.iterdir()} - {"README.md"}
    assert named == there
    assert all(f"({name})" in text for name in there)
    assert "(../kubernetes/README.md)" in (IMAGES / "README.md").read_text()
