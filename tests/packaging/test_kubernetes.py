"""The Kubernetes example: built by kustomize, valid by Kubernetes' own schemas, with settings that exist."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from base64 import b64decode
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from registry.infra import postgres
from registry.infra.settings import SETTINGS, Settings, variable
from tests.missing import NO_KUSTOMIZE, NO_SCHEMAS

EXAMPLE = Path(__file__).parents[2] / "deploy" / "kubernetes"

# The oldest version that is supported upstream when this is written, and the newest one.
VERSIONS = ("1.34.0", "1.37.0")


@pytest.fixture(scope="module")
def resources(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What `kubectl apply -k` sends for the example tenant, with secrets in the form of the examples."""
    copy = tmp_path_factory.mktemp("kubernetes") / "kubernetes"
    shutil.copytree(EXAMPLE, copy)
    tenant = copy / "tenants" / "example"
    for example in tenant.glob("*.example"):
        example.rename(example.with_suffix(""))
    programs = {"kustomize": ["build"], "kubectl": ["kustomize"]}
    found = next(([path, *words] for name, words in programs.items() if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(NO_KUSTOMIZE)
    done = subprocess.run([*found, str(tenant)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [resource for resource in yaml.safe_load_all(done.stdout) if resource]


def of_kind(resources: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [resource for resource in resources if resource["kind"] == kind]


def pods(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pods of the services and of the migration."""
    return [
        resource["spec"]["template"]["spec"] for kind in ("StatefulSet", "Job") for resource in of_kind(resources, kind)
    ]


def schema_folder(version: str) -> Path:
    """The folder of a version's strict schemas: unknown fields are errors."""
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        pytest.skip(NO_SCHEMAS)
    return Path(spec.origin).parent / "kubernetes-json-schema" / f"v{version}-local-strict"


def validator(folder: Path, resource: dict[str, Any]) -> Any:
    group, _, version = resource["apiVersion"].rpartition("/")
    words = [resource["kind"], *([group.partition(".")[0]] if group else []), version]
    schema = json.loads((folder / f"{'-'.join(words).lower()}.json").read_text())
    return jsonschema_rs.validator_for(schema, registry=definitions(folder))


@cache
def definitions(folder: Path) -> jsonschema_rs.Registry:
    """The file that the schemas of a version refer to, under the address that they name."""
    contents = json.loads((folder / "_definitions.json").read_text())
    return jsonschema_rs.Registry([("https://kubernetes.io/api/_definitions.json", contents)])


@pytest.mark.parametrize("version", VERSIONS)
def test_every_resource_is_valid(resources: list[dict[str, Any]], version: str) -> None:
    folder = schema_folder(version)
    kinds = {resource["kind"] for resource in resources}
    assert kinds == {"ConfigMap", "Secret", "Service", "StatefulSet", "Job", "PodDisruptionBudget"}
    for resource in resources:
        validator(folder, resource).validate(resource)


def test_schemas_refuse_an_unknown_field(resources: list[dict[str, Any]]) -> None:
    folder = schema_folder(VERSIONS[-1])
    [services] = of_kind(resources, "StatefulSet")
    wrong = json.loads(json.dumps(services))
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    assert not validator(folder, wrong).is_valid(wrong)


def environment(resources: list[dict[str, Any]], pod: dict[str, Any]) -> dict[str, str]:
    """The variables of a pod's container, from its config maps and secrets."""
    texts = {resource["metadata"]["name"]: resource["data"] for resource in of_kind(resources, "ConfigMap")}
    for secret in of_kind(resources, "Secret"):
        texts[secret["metadata"]["name"]] = {name: b64decode(text).decode() for name, text in secret["data"].items()}
    [container] = pod["containers"]
    found: dict[str, str] = {}
    for source in container["envFrom"]:
        found |= texts[source.get("configMapRef", source.get("secretRef"))["name"]]
    return found | {item["name"]: item["value"] for item in container.get("env", [])}


def test_pods_have_settings_that_exist_and_only_the_migration_those_of_the_owner(
    resources: list[dict[str, Any]],
) -> None:
    services, migration = (environment(resources, pod) for pod in pods(resources))
    for environ in (services, migration):
        assert environ.keys() <= {variable(name) for name in SETTINGS}
    settings = Settings.read(services)
    assert postgres.role_of(settings.database_url or "") == "registry_app"
    assert settings.owner_url is None
    assert settings.secrets_key == Path("/keys/secrets.key")
    assert postgres.role_of(Settings.read(migration).owner_url or "") == "registry_owner"


def test_pods_run_read_only_without_privileges(resources: list[dict[str, Any]]) -> None:
    for pod in pods(resources):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        [container] = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/tmp"}


def test_probes_ask_what_they_should_and_a_failover_restarts_no_service(resources: list[dict[str, Any]]) -> None:
    [container] = pods(resources)[0]["containers"]
    paths = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
    assert paths == {
        "startupProbe": "/health/live",
        "livenessProbe": "/health/live",
        "readinessProbe": "/health/ready",
    }


def test_names_lead_to_each_other(resources: list[dict[str, Any]]) -> None:
    [services] = of_kind(resources, "StatefulSet")
    labels = services["spec"]["template"]["metadata"]["labels"].items()
    for service in of_kind(resources, "Service"):
        assert service["spec"]["selector"].items() <= labels
    assert services["spec"]["serviceName"] in {service["metadata"]["name"] for service in of_kind(resources, "Service")}
    [budget] = of_kind(resources, "PodDisruptionBudget")
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels
    # A pod of the migration must not get requests.
    [job] = of_kind(resources, "Job")
    assert (
        not budget["spec"]["selector"]["matchLabels"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
    )


def test_repository_has_no_secret_of_a_tenant() -> None:
    tenant = EXAMPLE / "tenants" / "example"
    ignored = (tenant / ".gitignore").read_text().split()
    assert {"*.env", "secrets.key"} <= set(ignored)
