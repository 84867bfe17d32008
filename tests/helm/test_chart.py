"""The chart renders what it should, the tools that judge manifests find nothing, and what cannot work is refused."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from monitor.metrics import GatewayMetrics, Metrics
from tests.helm.chart import CHART, GOLDEN, MATRIX, ROOT, SCHEMA, helm, readme, render, schema

#: Kinds that their operators define: kubeconform has no schema of theirs.
CUSTOM = "ScaledObject,TriggerAuthentication,ServiceMonitor,PrometheusRule"
#: What kube-score wants and we do not: the tag or the digest says when to pull; replicas are spread by constraints that
#: it does not know; `bare` asks for no network policy.
IGNORED = ("container-image-pull-policy", "deployment-has-host-podantiaffinity", "statefulset-has-host-podantiaffinity")
WRITE = "run make chart"


def needs(program: str) -> None:
    """Skip where a program is not at hand; fail where the tests must run."""
    if shutil.which(program) is None:
        told = f"{program} is not on the PATH: the chart is not checked"
        pytest.fail(told) if os.environ.get("TOCSIN_REQUIRE_HELM") == "1" else pytest.skip(told)


def objects(manifests: str) -> Iterator[dict[str, Any]]:
    yield from filter(None, yaml.safe_load_all(manifests))


def pods(manifests: str) -> Iterator[dict[str, Any]]:
    """Yield the spec of every pod, whatever makes it."""
    for made in objects(manifests):
        spec = made.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if made["kind"] == "Pod":
            yield spec
        elif "template" in spec:
            yield spec["template"]["spec"]


@pytest.mark.parametrize("name", MATRIX)
def test_manifests_are_those_of_the_golden_render(name: str) -> None:
    needs("helm")
    assert render(MATRIX[name]) == (GOLDEN / f"{name}.yaml").read_text(), f"{WRITE}, and look at what changes"


def test_lint_finds_nothing() -> None:
    needs("helm")
    for values in MATRIX.values():
        helm("lint", "--strict", CHART, "--values", values)


@pytest.mark.parametrize("name", MATRIX)
def test_manifests_are_what_kubernetes_accepts(name: str) -> None:
    needs("kubeconform")
    where = os.environ.get("KUBECONFORM_SCHEMAS", "default")
    judge = ["kubeconform", "-strict", "-schema-location", where, "-skip", CUSTOM, GOLDEN / f"{name}.yaml"]
    judged = subprocess.run(judge, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


@pytest.mark.parametrize("name", sorted(MATRIX.keys() - {"bare"}))
def test_kube_score_finds_nothing(name: str) -> None:
    needs("kube-score")
    ignored = [word for test in IGNORED for word in ("--ignore-test", test)]
    judge = ["kube-score", "score", "--kubernetes-version", "v1.34", "--exit-one-on-warning", *ignored]
    judged = subprocess.run([*judge, GOLDEN / f"{name}.yaml"], capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


def test_schema_knows_every_setting() -> None:
    assert schema() == SCHEMA.read_text(), WRITE


def test_readme_is_what_helm_docs_makes_of_the_values() -> None:
    needs("helm-docs")
    assert readme() == (CHART / "README.md").read_text(), WRITE


def test_version_is_the_projects() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version is not None
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == version[1]


@pytest.mark.parametrize("name", MATRIX)
def test_every_pod_keeps_to_the_restricted_standard(name: str) -> None:
    found = list(pods((GOLDEN / f"{name}.yaml").read_text()))
    assert found
    for spec in found:
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        drain_s = next(float(one["value"]) for one in container["env"] if one["name"] == "TOCSIN_DRAIN_TIMEOUT_S")
        assert spec["terminationGracePeriodSeconds"] > drain_s


def test_keda_has_the_replicas_to_itself() -> None:
    made = {one["kind"]: one for one in objects((GOLDEN / "gpu.yaml").read_text())}
    assert "replicas" not in made["StatefulSet"]["spec"]
    assert made["ScaledObject"]["spec"]["maxReplicaCount"] == 12


def rendered(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the spec of each object that a release of these values has, by kind; of several the last."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    return {one["kind"]: one.get("spec") for one in objects(render(path))}


def test_keda_is_let_in_as_workers_are(tmp_path: Path) -> None:
    needs("helm")
    made = rendered({"keda": {"enabled": True}, "config": {"security_protocol": "SSL"}}, tmp_path)
    assert "authenticationRef" not in made["ScaledObject"]["triggers"][0]
    assert "TriggerAuthentication" not in made  # an empty one is none
    config = {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER", "sasl_username": "me"}
    config |= {"sasl_token_url": "https://idp/token", "sasl_scope": "kafka"}
    secret = {"existingSecret": "a", "keys": {"password": "p"}}
    made = rendered({"keda": {"enabled": True}, "config": config, "kafka": secret}, tmp_path)
    assert [one["parameter"] for one in made["TriggerAuthentication"]["env"]] == [
        *("username", "oauthTokenEndpointUri", "scopes"),
    ]


def test_brokers_without_a_port_open_none_but_kafkas_own(tmp_path: Path) -> None:
    needs("helm")
    made = rendered({"config": {"bootstrap": "kafka"}}, tmp_path)
    assert {"port": 9092, "protocol": "TCP"} in made["NetworkPolicy"]["egress"][1]["ports"]


def test_rules_and_dashboard_ask_for_metrics_that_are_there() -> None:
    def names(registry: CollectorRegistry) -> set[str]:
        return {sample.name for family in registry.collect() for sample in family.samples} | {
            name for family in registry.collect() for name in (family.name, f"{family.name}_total")
        }

    known = names(Metrics().registry) | names(GatewayMetrics().registry)
    asked = set(re.findall(r"\btocsin_\w+", (GOLDEN / "full.yaml").read_text()))
    assert len(asked) > 10
    assert asked <= known


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown name": ({"worker": {}}, "worker"),
    "an unknown setting": ({"config": {"grace": 5}}, "grace"),
    "a setting of the wrong kind": ({"config": {"bar_s": "five"}}, "bar_s"),
    "a value that the setting cannot have": ({"config": {"precision": "fp8"}}, "precision"),
    "a secret among the settings": ({"config": {"sasl_password": "x"}}, "sasl_password"),
    "a digest that is none": ({"image": {"digest": "latest"}}, "digest"),
    "replicas beside KEDA": ({"keda": {"enabled": True}, "workers": {"replicas": 3}}, "replicas"),
    "KEDA that begins with none": ({"keda": {"enabled": True, "minReplicas": 0}}, "minReplicas"),
    "a file without a key": ({"files": {"rules": {"configMap": "desk"}}}, "key"),
    "a file of both": ({"files": {"rules": {"configMap": "a", "secret": "b", "key": "c"}}}, "files"),
    "a file of no setting": ({"files": {"rule": {"configMap": "a", "key": "c"}}}, "rule"),
    "a key that is no secret": ({"files": {"deadletter_key_file": {"configMap": "a", "key": "c"}}}, "secret"),
    "a GPU without a vendor": ({"workers": {"gpu": {"count": 1, "resource": "gpu"}}}, "resource"),
    "blanks among the brokers": ({"config": {"bootstrap": "a:9092, b:9092"}}, "bootstrap"),
    "a broker's port that is none": ({"config": {"bootstrap": "a:kafka"}}, "bootstrap"),
    "probes on a pod's own loopback": ({"gateway": {"config": {"http_host": "127.0.0.1"}}}, "http_host"),
    "a setting among the variables": ({"pod": {"extraEnv": [{"name": "TOCSIN_PARTITIONS", "value": "3"}]}}, "extraEnv"),
    "a label that is the chart's": ({"labels": {"app.kubernetes.io/name": "x"}}, "app.kubernetes.io/name"),
    "root that must not be root": ({"pod": {"securityContext": {"runAsUser": 0}}}, "securityContext"),
    "a command that is none": ({"jobs": [{"name": "a", "args": ["replya"]}]}, "args"),
    "bars that their lateness cuts": ({"config": {"bar_s": 7}}, "grace_ms is 5000: it must be up to six whole bars"),
    "lateness of too many bars": ({"config": {"bar_s": 1, "grace_ms": 7000}}, "grace_ms is 7000"),
    "a shadow of no registry": ({"config": {"shadow": "x"}}, "config.shadow is x, a model of config.registry"),
    "a retention that is none": ({"config": {"retention": "orders=soon"}}, "config.retention is orders=soon"),
    "pseudonyms beside letters in clear": (
        {"files": {"pseudonym_keys_file": {"secret": "a", "key": "k"}}},
        "pseudonym_keys_file needs deadletter_key_file",
    ),
    "pseudonyms of a volume beside letters in clear": (
        {"config": {"pseudonym_keys_file": "/keys/names"}},
        "pseudonym_keys_file needs deadletter_key_file",
    ),
    "a label by which pods are found": ({"pod": {"labels": {"app.kubernetes.io/component": "x"}}}, "component"),
    "topics of other partitions": (
        {"topics": {"config": {"partitions": 4}}},
        "partitions differs between gateway and topics",
    ),
    "a gateway that writes elsewhere": (
        {"gateway": {"config": {"prefix": "x."}}},
        "prefix differs between gateway and topics",
    ),
    "a class of no volume": ({"workers": {"cache": {"storageClass": "fast"}}}, "workers.cache.persistent is false"),
    "an index that nothing asks for": (
        {"jobs": [{"name": "a", "args": ["replay", "s3://days/1"], "completions": 4}]},
        "nothing of it names $(JOB_COMPLETION_INDEX)",
    ),
    "a schedule that is none": ({"jobs": [{"name": "a", "args": ["replay"], "schedule": "daily"}]}, "schedule"),
    "parallel runs of one": ({"jobs": [{"name": "a", "args": ["replay"], "parallelism": 2}]}, "completions"),
    "more workers than partitions": (
        {"config": {"partitions": 4}, "workers": {"replicas": 5}},
        "workers.replicas is 5, and there are 4 partitions",
    ),
    "more gateways than partitions": (
        {"config": {"partitions": 4}, "gateway": {"replicas": 5}},
        "gateway.replicas is 5, and there are 4 partitions",
    ),
    "KEDA beyond the partitions": ({"keda": {"enabled": True, "maxReplicas": 9}}, "keda.maxReplicas is 9"),
    "KEDA from more to less": (
        {"keda": {"enabled": True, "minReplicas": 5, "maxReplicas": 4}},
        "keda.minReplicas is 5",
    ),
    "KEDA without a token's endpoint": (
        {
            "config": {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"},
            "kafka": {"existingSecret": "a", "keys": {"token": "t"}},
            "keda": {"enabled": True},
        },
        "KEDA has tokens from config.sasl_token_url alone",
    ),
    "grace that ends within the drain": (
        {"pod": {"terminationGracePeriodSeconds": 20}},
        "must be more than drain_timeout_s, 20",
    ),
    "grace of one part within its drain": (
        {"gateway": {"config": {"drain_timeout_s": 60}}, "pod": {"terminationGracePeriodSeconds": 45}},
        "terminationGracePeriodSeconds of gateway must be more than drain_timeout_s, 60",
    ),
    "SASL without a password": (
        {"config": {"security_protocol": "SASL_SSL", "sasl_username": "a"}},
        "it needs config.sasl_username, and kafka.keys.password",
    ),
    "keys of no secret": ({"kafka": {"keys": {"ca": "ca.crt"}}}, "kafka.existingSecret no secret"),
    "a secret without keys": ({"kafka": {"existingSecret": "a"}}, "kafka.keys says nothing"),
    "certificates in plain text": (
        {"kafka": {"existingSecret": "a", "keys": {"ca": "ca.crt"}}},
        "config.security_protocol is PLAINTEXT: SSL or SASL_SSL is meant?",
    ),
    "a password in plain text": (
        {"kafka": {"existingSecret": "a", "keys": {"password": "p"}}},
        "SASL_SSL is meant?",
    ),
    "a key without its certificate": (
        {"config": {"security_protocol": "SSL"}, "kafka": {"existingSecret": "a", "keys": {"key": "tls.key"}}},
        "a key without a certificate",
    ),
    "tokens of an account that is not there yet": (
        {
            "config": {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"},
            "kafka": {"tokenAudience": "kafka"},
        },
        "set serviceAccount.create to false",
    ),
    "OAUTHBEARER without a token": (
        {"config": {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}},
        "OAUTHBEARER needs",
    ),
    "a file that is a setting too": (
        {"config": {"rules": "/rules.yaml"}, "files": {"rules": {"configMap": "a", "key": "rules.yaml"}}},
        "rules stands in files and in config",
    ),
    "two jobs of one name": (
        {"jobs": [{"name": "a", "args": ["replay"]}, {"name": "a", "args": ["backtest"]}]},
        "Two jobs are called a",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_values_that_cannot_work_are_refused(what: str, tmp_path: Path) -> None:
    needs("helm")
    values, told = REFUSED[what]
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(subprocess.CalledProcessError) as refused:
        render(path)
    assert told in refused.value.stderr


#: What comes near to what is refused, and works.
TAKEN: dict[str, dict[str, Any]] = {
    "what an object is part of": {"labels": {"app.kubernetes.io/part-of": "surveillance"}},
    "a pod's version": {"pod": {"labels": {"app.kubernetes.io/version": "1"}}},
    "certificates of a volume": {
        "config": {"security_protocol": "SSL"},
        "pod": {"extraEnv": [{"name": "TOCSIN_SSL_CA_FILE", "value": "/ca/ca.crt"}]},
    },
    "letters' keys of a volume": {
        "config": {"deadletter_key_file": "/keys/letters"},
        "files": {"pseudonym_keys_file": {"secret": "a", "key": "k"}},
    },
    "topics of whom none writes": {
        "gateway": {"enabled": False},
        "topics": {"create": False},
        "workers": {"config": {"prefix": "x.", "partitions": 16}},
    },
    "what is the default": {"gateway": {"config": {"prefix": "tocsin."}}},
    "retention in lines": {"config": {"retention": "orders=2d\ntransfers=7d\n"}},
}


@pytest.mark.parametrize("what", TAKEN)
def test_values_that_work_are_taken(what: str, tmp_path: Path) -> None:
    needs("helm")
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(TAKEN[what]))
    assert render(path)


def test_a_job_by_another_registry_is_of_the_same_digest_and_by_another_tag_of_none(tmp_path: Path) -> None:
    needs("helm")
    path, digest = tmp_path / "values.yaml", "sha256:" + 64 * "0"
    images = [{"registry": "near", "pullPolicy": "Always"}, {"tag": "jobs"}]
    jobs = [{"name": f"j{number}", "args": ["replay"], "image": image} for number, image in enumerate(images)]
    path.write_text(yaml.safe_dump({"image": {"digest": digest}, "jobs": jobs}))
    found = {pod["containers"][0]["image"] for pod in pods(render(path)) if pod["containers"][0]["args"] == ["replay"]}
    assert found == {f"near/tocsin:0.1.0@{digest}", "tocsin:jobs"}
