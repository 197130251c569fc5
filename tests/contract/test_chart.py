"""The chart renders objects that Kubernetes takes, that refer to each other rightly, and that are hardened."""

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from tollgate_edge.adapters.files import JsonKeysFile, read_peppers
from tollgate_edge.domain.keys import is_well_formed
from tollgate_kit.settings import ServiceSettings

pytestmark = pytest.mark.contract

Objects = list[dict[str, Any]]
Render = Callable[[dict[str, Any]], Objects]
SettingsOf = Callable[[str], type[ServiceSettings]]
SERVICES = ("edge", "router", "billing", "media-jobs")
MINORS = ("1.33", "1.34", "1.35")


def of_kind(objects: Objects, *kinds: str) -> Objects:
    return [item for item in objects if item["kind"] in kinds]


def workloads(objects: Objects) -> dict[str, dict[str, Any]]:
    return {
        item["metadata"]["labels"]["app.kubernetes.io/component"]: item
        for item in of_kind(objects, "Deployment", "StatefulSet")
    }


def container(workload: dict[str, Any]) -> dict[str, Any]:
    [only] = workload["spec"]["template"]["spec"]["containers"]
    return dict(only)


def environment(workload: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item.get("value", "from-a-secret") for item in container(workload)["env"]}


def matches(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return bool(selector) and selector.items() <= labels.items()


def changed(values: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    result = copy.deepcopy(values)
    *parents, last = path.split(".")
    target = result
    for name in parents:
        target = target.setdefault(name, {})
    target[last] = value
    return result


@pytest.mark.parametrize("minor", MINORS)
def test_every_object_is_valid(objects: Objects, minor: str) -> None:
    assert len(objects) >= 13
    for item in objects:
        # Of the operator's own resource Kubernetes has no schema; test_alert_rules.py holds it against one.
        if item["kind"] != "PrometheusRule":
            kubernetes_validate.validate(item, minor, strict=True)


def test_a_misspelt_field_would_be_found(objects: Objects) -> None:
    broken = copy.deepcopy(workloads(objects)["edge"])
    broken["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, MINORS[0], strict=True)


def test_local_dependencies_are_valid(root: Path) -> None:
    items = list(yaml.safe_load_all((root / "deploy/local/dependencies.yaml").read_text(encoding="utf-8")))
    assert {"postgres", "valkey", "kafka", "clickhouse", "simulator"} <= {item["metadata"]["name"] for item in items}
    for item in items:
        for minor in MINORS:
            kubernetes_validate.validate(item, minor, strict=True)


def test_local_secrets_are_what_edge_reads(root: Path, tmp_path: Path) -> None:
    items = yaml.safe_load_all((root / "deploy/local/dependencies.yaml").read_text(encoding="utf-8"))
    [secret] = [item["stringData"] for item in items if item["kind"] == "Secret"]
    for name, value in secret.items():
        (tmp_path / name).write_text(value, encoding="utf-8")
    assert len(read_peppers(tmp_path / "pepper", os.urandom)) == 1
    first = JsonKeysFile(tmp_path / "bootstrap.json").read()
    assert first is not None
    assert is_well_formed(first.admin_key.reveal().encode())


def test_every_service_has_one_workload(objects: Objects) -> None:
    found = workloads(objects)
    assert set(found) == set(SERVICES)
    assert len(of_kind(objects, "Deployment", "StatefulSet")) == len(SERVICES)
    assert found["router"]["kind"] == found["billing"]["kind"] == "StatefulSet"
    assert found["billing"]["spec"]["replicas"] == 1


def test_names_are_unique(objects: Objects) -> None:
    names = [(item["kind"], item["metadata"]["name"]) for item in objects]
    assert len(names) == len(set(names))


def test_selectors_find_pods_and_ports_have_names_that_exist(objects: Objects) -> None:
    pods = {name: item["spec"]["template"] for name, item in workloads(objects).items()}
    for workload in workloads(objects).values():
        template = workload["spec"]["template"]
        assert matches(workload["spec"]["selector"]["matchLabels"], template["metadata"]["labels"])
    for service in of_kind(objects, "Service"):
        chosen = [pod for pod in pods.values() if matches(service["spec"]["selector"], pod["metadata"]["labels"])]
        assert len(chosen) == 1, service["metadata"]["name"]
        offered = {port["name"] for port in chosen[0]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= offered
    for item in of_kind(objects, "PodDisruptionBudget"):
        selector = item["spec"]["selector"]["matchLabels"]
        assert sum(matches(selector, pod["metadata"]["labels"]) for pod in pods.values()) == 1


def test_addresses_name_services_and_pods_that_exist(objects: Objects) -> None:
    found = workloads(objects)
    services = {item["metadata"]["name"]: item for item in of_kind(objects, "Service")}

    def reaches(address: str) -> bool:
        host, _, port = address.partition(":")
        return int(port) in {entry["port"] for entry in services[host.rpartition(".")[2]]["spec"]["ports"]}

    edge = environment(found["edge"])
    routers = edge["TOLLGATE_EDGE_ROUTER_ADDRESSES"].split(",")
    router = found["router"]
    names = [f"{router['metadata']['name']}-{i}" for i in range(router["spec"]["replicas"])]
    assert [address.partition(".")[0] for address in routers] == names
    assert {address.partition(".")[2].partition(":")[0] for address in routers} == {router["spec"]["serviceName"]}
    single = [edge["TOLLGATE_EDGE_BILLING_ADDRESS"], edge["TOLLGATE_EDGE_MEDIA_ADDRESS"]]
    configs = [
        environment(found[name])[f"TOLLGATE_{name.replace('-', '_').upper()}_CONFIG_ADDRESSES"]
        for name in SERVICES
        if name != "edge"
    ]
    for address in [*routers, *single, *configs]:
        assert reaches(address), address


def test_internal_services_list_pods_that_are_not_ready(objects: Objects) -> None:
    internal = [item for item in of_kind(objects, "Service") if item["spec"]["ports"][0]["name"] == "grpc"]
    assert len(internal) == len(SERVICES)
    for item in internal:
        assert item["spec"]["clusterIP"] == "None"
        assert item["spec"]["publishNotReadyAddresses"] is True


def test_pods_are_hardened(objects: Objects, chart_values: dict[str, Any]) -> None:
    accounts = {item["metadata"]["name"]: item for item in of_kind(objects, "ServiceAccount")}
    for name, workload in workloads(objects).items():
        pod = workload["spec"]["template"]["spec"]
        own = container(workload)["securityContext"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own["allowPrivilegeEscalation"] is False
        assert own["readOnlyRootFilesystem"] is chart_values.get("readOnlyRootFilesystem", True)
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert pod["automountServiceAccountToken"] is False
        assert accounts[pod["serviceAccountName"]]["automountServiceAccountToken"] is False, name


def test_probes_ask_the_admin_port(objects: Objects) -> None:
    for workload in workloads(objects).values():
        own = container(workload)
        paths = {kind: own[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        assert paths["liveness"]["path"] == paths["startup"]["path"] == "/healthz"
        assert paths["readiness"]["path"] == "/readyz"
        assert {probe["port"] for probe in paths.values()} == {"admin"}
        assert own["resources"]["requests"]["cpu"]
        assert own["resources"]["limits"]["memory"]


def test_a_pod_has_time_to_drain(objects: Objects) -> None:
    for name, workload in workloads(objects).items():
        variable = f"TOLLGATE_{name.replace('-', '_').upper()}_DRAIN_SECONDS"
        sleep = container(workload).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        grace = workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace > float(environment(workload)[variable]) + sleep


def test_mounts_have_volumes_and_directories_are_on_them(objects: Objects) -> None:
    for workload in workloads(objects).values():
        pod = workload["spec"]["template"]["spec"]
        claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        volumes = {volume["name"] for volume in pod["volumes"]} | claims
        mounts = {mount["mountPath"]: mount["name"] for mount in container(workload)["volumeMounts"]}
        assert set(mounts.values()) == volumes
        for name, value in environment(workload).items():
            if name.endswith(("_DIRECTORY", "_FILE", "_PATHS")):
                assert any(value == path or value.startswith(path + "/") for path in mounts), (name, value)
    router = workloads(objects)["router"]
    claims = {claim["metadata"]["name"] for claim in router["spec"]["volumeClaimTemplates"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container(router)["volumeMounts"]}
    spool = environment(router)["TOLLGATE_ROUTER_SPOOL_DIRECTORY"]
    assert [name for path, name in mounts.items() if spool.startswith(path + "/")] == list(claims)
    assert router["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}


@pytest.mark.parametrize("name", SERVICES)
def test_settings_class_takes_the_environment(
    objects: Objects, name: str, settings_of: SettingsOf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A secret that is read at the start lies where the pod has it.
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 32)
    cls = settings_of(name)
    prefix = str(cls.model_config["env_prefix"])
    own = {key: value for key, value in environment(workloads(objects)[name]).items() if key.startswith("TOLLGATE_")}
    assert own
    for key, value in own.items():
        assert key.startswith(prefix), f"{name} is given {key}"
        assert key.removeprefix(prefix).lower() in cls.model_fields, f"{key} is no setting of {name}"
        monkeypatch.setenv(key, str(secret) if key.endswith("_SECRET_FILE") else value)
    cls()


def test_passwords_come_from_secrets_only(render: Render, needed_values: dict[str, Any]) -> None:
    values = needed_values
    for part in ("postgresql", "redis", "clickhouse"):
        values = changed(values, f"{part}.existingSecret", f"{part}-secret")
    for workload in workloads(render(values)).values():
        env = container(workload)["env"]
        secret = {item["name"]: item["valueFrom"]["secretKeyRef"] for item in env if "secretKeyRef" in str(item)}
        plain = {item["name"]: item["value"] for item in env if "value" in item}
        assert not any("PASSWORD" in name for name in plain)
        names = [item["name"] for item in env]
        for name, value in plain.items():
            for variable in secret:
                if f"$({variable})" in value:
                    assert names.index(variable) < names.index(name), "a reference resolves only to what stands before"
    billing = environment(workloads(render(values))["billing"])
    assert billing["TOLLGATE_BILLING_REDIS_URL"] == "redis://:$(REDIS_PASSWORD)@redis.db:6379/0"
    assert "password" not in billing["TOLLGATE_BILLING_DATABASE_URL"].lower()


def test_provider_keys_reach_router_and_media_jobs_only(render: Render, needed_values: dict[str, Any]) -> None:
    found = workloads(render(changed(needed_values, "providers.existingSecret", "keys")))
    given = {name for name, workload in found.items() if container(workload).get("envFrom")}
    assert given == {"router", "media-jobs"}


def test_declared_resources_are_mounted_in_edge(render: Render, needed_values: dict[str, Any]) -> None:
    channel = {"name": "a", "provider": "openai", "credentials": [{"env": "KEY"}], "models": "*"}
    objects = render(changed(needed_values, "config.channels", [channel]))
    [mounted] = of_kind(objects, "ConfigMap")
    assert yaml.safe_load(mounted["data"]["tollgate.yaml"]) == {"channels": [channel]}
    before = workloads(render(needed_values))["edge"]["spec"]["template"]["metadata"]["annotations"]
    after = workloads(objects)["edge"]["spec"]["template"]["metadata"]["annotations"]
    assert before != after, "a changed configuration rolls the pods"


def test_budgets_are_for_services_with_more_than_one_pod(render: Render, needed_values: dict[str, Any]) -> None:
    def budgets(values: dict[str, Any]) -> set[str]:
        found = of_kind(render(values), "PodDisruptionBudget")
        return {item["metadata"]["labels"]["app.kubernetes.io/component"] for item in found}

    assert budgets(needed_values) == {"edge", "router"}
    assert budgets(changed(needed_values, "router.replicas", 1)) == {"edge"}
    assert budgets(changed(needed_values, "podDisruptionBudget.enabled", False)) == set()


def test_network_policies_let_callers_in(render: Render, needed_values: dict[str, Any]) -> None:
    objects = render(changed(needed_values, "networkPolicy.enabled", True))
    found = of_kind(objects, "NetworkPolicy")
    policies = {item["metadata"]["labels"]["app.kubernetes.io/component"]: item for item in found}
    assert set(policies) == set(SERVICES)
    callers = {
        name: {
            peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
            for peer in policy["spec"]["ingress"][0]["from"]
        }
        for name, policy in policies.items()
    }
    assert callers["edge"] == {"router", "billing", "media-jobs"}
    assert callers["router"] == callers["billing"] == callers["media-jobs"] == {"edge"}


VALUES_OF_SETTINGS = {
    "edge": {
        "trusted_hops": "edge.trustedHops",
        "access_log": "edge.accessLog",
        "access_log_sample_ratio": "edge.accessLogSampleRatio",
        "trace_sample_ratio": "mediaJobs.traceSampleRatio",
    },
    "router": {"trace_sample_ratio": "router.traceSampleRatio"},
    "media-jobs": {"trace_sample_ratio": "mediaJobs.traceSampleRatio"},
    "billing": {
        "usage_raw_months": "billing.retention.rowMonths",
        "usage_minute_days": "billing.retention.minuteDays",
        "usage_hour_months": "billing.retention.hourMonths",
        "usage_day_years": "billing.retention.dayYears",
        "request_log_days": "billing.retention.requestLogDays",
    },
}


@pytest.mark.parametrize("service", VALUES_OF_SETTINGS)
def test_a_value_is_the_setting_and_has_its_default(
    render: Render, needed_values: dict[str, Any], settings_of: SettingsOf, service: str
) -> None:
    prefix = f"TOLLGATE_{service.upper().replace('-', '_')}_"
    others: dict[str, object] = {"access_log": "sampled"}
    for setting, path in VALUES_OF_SETTINGS[service].items():
        name = prefix + setting.upper()
        default = settings_of(service).model_fields[setting].default
        assert environment(workloads(render(needed_values))[service])[name] == str(default)
        other = others.get(setting) or (0.5 if isinstance(default, float) else default + 1)
        assert environment(workloads(render(changed(needed_values, path, other)))[service])[name] == str(other)


def test_payments_come_with_their_secret_and_only_when_asked_for(
    render: Render, needed_values: dict[str, Any], full_values: dict[str, Any]
) -> None:
    assert not any("PAYMENT" in name for name in environment(workloads(render(needed_values))["billing"]))
    billing = workloads(render(full_values))["billing"]
    found = environment(billing)
    assert found["TOLLGATE_BILLING_PAYMENT_PROVIDER"] == "simulated"
    assert found["TOLLGATE_BILLING_PAYMENT_CHECKOUT_URL"] == "https://pay.test/"
    folder, _, key = found["TOLLGATE_BILLING_PAYMENT_WEBHOOK_SECRET_FILE"].rpartition("/")
    [mount] = [one for one in container(billing)["volumeMounts"] if one["mountPath"] == folder]
    [volume] = [one for one in billing["spec"]["template"]["spec"]["volumes"] if one["name"] == mount["name"]]
    assert (volume["secret"]["secretName"], key, mount["readOnly"]) == ("payment", "signing", True)


@pytest.mark.parametrize("missing", ["checkoutUrl", "existingSecret"])
def test_a_payment_provider_without_a_part_is_refused(
    chart: helm_python.Chart, full_values: dict[str, Any], missing: str
) -> None:
    with pytest.raises(helm_python.HelmError, match=f"billing.payment.{missing}"):
        chart.render(changed(full_values, f"billing.payment.{missing}", ""), name="tollgate", namespace="ai")


@pytest.mark.parametrize(
    ("path", "value", "part"),
    [
        ("edge.trustedHops", -1, "trustedHops"),
        ("edge.accessLog", "some", "accessLog"),
        ("mediaJobs.traceSampleRatio", 2, "traceSampleRatio"),
        ("billing.retention.requestLogDays", 0, "requestLogDays"),
        ("billing.retention.rowYears", 2, "rowYears"),
        ("billing.payment.provider", "cash", "provider"),
        ("billing.payment.checkoutUrl", "pay.test", "checkoutUrl"),
        ("edge.replica", 2, "replica"),
        ("edge.replicas", 0, "replicas"),
        ("router.replicas", "two", "replicas"),
        ("billing.replicas", 2, "replicas"),
        ("drainSeconds", -1, "drainSeconds"),
        ("logLevel", "verbose", "logLevel"),
        ("image.tag", "latest", "tag"),
        ("image.pullPolicy", "Sometimes", "pullPolicy"),
        ("postgresql.port", 99999, "port"),
        ("postgresql.password", "hunter2", "password"),
        ("redis.host", "redis://x", "host"),
        ("kafka.brokers", ["kafka"], "brokers"),
        ("kafka.brokers", "kafka:9092", "brokers"),
        ("clickhouse.tls", "yes", "tls"),
        ("assets.url", "gs://bucket", "url"),
        ("assets.endpoint", "http://plain.test", "allowHttp"),
        ("router.traceSampleRatio", 1.5, "traceSampleRatio"),
        ("router.persistence.size", "big", "size"),
        ("config.channel", [], "channel"),
        ("ingress.enabled", True, "host"),
        ("networkPolicy.adminFrom", [{}], "adminFrom"),
        ("alerts.enabled", "yes", "enabled"),
        ("alerts.runbookUrl", "wiki.test", "runbookUrl"),
        ("alerts.labels", {"release": 1}, "release"),
        ("unknown", {}, "unknown"),
    ],
)
def test_schema_refuses(
    chart: helm_python.Chart, needed_values: dict[str, Any], path: str, value: object, part: str
) -> None:
    with pytest.raises(helm_python.HelmError, match=part):
        chart.render(changed(needed_values, path, value), name="tollgate", namespace="ai")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("postgresql.host", ""),
        ("redis.host", ""),
        ("kafka.brokers", []),
        ("clickhouse.host", ""),
        ("assets.url", ""),
        ("edge.pepper.existingSecret", ""),
        ("edge.bootstrap.existingSecret", ""),
    ],
)
def test_a_missing_part_is_named(
    chart: helm_python.Chart, needed_values: dict[str, Any], path: str, value: object
) -> None:
    with pytest.raises(helm_python.HelmError, match=path):
        chart.render(changed(needed_values, path, value), name="tollgate", namespace="ai")


def test_schema_knows_every_value(chart: helm_python.Chart) -> None:
    schema = chart.schema
    assert schema is not None
    assert set(chart.values) == set(schema["properties"]) - {"global"}


def test_notes_say_what_to_do_next(chart: helm_python.Chart, needed_values: dict[str, Any]) -> None:
    notes = chart.render(needed_values, name="gw", namespace="ai")["tollgate/templates/NOTES.txt"]
    assert "port-forward service/gw-tollgate-edge" in notes
    assert "No channel is declared yet" in notes
