import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from tollgate_kit.settings import ServiceSettings

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("edge", "router", "billing", "media-jobs")
Render = Callable[[dict[str, Any]], list[dict[str, Any]]]

# The least a deployment has to say.
NEEDED: dict[str, Any] = {
    "postgresql": {"host": "pg.db"},
    "redis": {"host": "redis.db"},
    "kafka": {"brokers": ["kafka-0.db:9092", "kafka-1.db:9092"]},
    "clickhouse": {"host": "ch.db"},
    "assets": {"url": "s3://assets/tollgate"},
    "edge": {"pepper": {"existingSecret": "tollgate-pepper"}, "bootstrap": {"existingSecret": "tollgate-bootstrap"}},
}
# Everything switched on.
FULL: dict[str, Any] = {
    "config": {"channels": [{"name": "openai-main", "provider": "openai", "credentials": [{"env": "OPENAI_API_KEY"}]}]},
    "image": {"prefix": "registry.test/team/tollgate-", "tag": "0.1.0-rc.1", "pullSecrets": ["pull"]},
    "providers": {"existingSecret": "provider-keys"},
    "postgresql": {"host": "pg.db", "existingSecret": "pg", "sslmode": "verify-full"},
    "redis": {"host": "redis.db", "existingSecret": "redis"},
    "kafka": {"brokers": ["kafka-0.db:9092"]},
    "clickhouse": {"host": "ch.db", "tls": True, "port": 8443, "existingSecret": "ch"},
    "assets": {
        "url": "s3://assets", "endpoint": "http://s3.db:9000", "allowHttp": True, "existingSecret": "s3",
    },
    "otel": {"endpoint": "http://collector:4317"},
    "billing": {
        "payment": {
            "provider": "simulated",
            "checkoutUrl": "https://pay.test/",
            "existingSecret": "payment",
            "key": "signing",
        }
    },
    "drainSeconds": 90,
    "edge": {
        "replicas": 3,
        "preStopSeconds": 7,
        "pepper": {"existingSecret": "tollgate-pepper"},
        "bootstrap": {"existingSecret": "tollgate-bootstrap"},
        "service": {"type": "LoadBalancer", "annotations": {"a.test/b": "c"}},
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.test:3128"}],
        "podAnnotations": {"a.test/pod": "yes"},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "gateway", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
    },
    "router": {"replicas": 3, "persistence": {"size": "10Gi", "storageClass": "fast"}},
    "mediaJobs": {"replicas": 2},
    "ingress": {"enabled": True, "className": "nginx", "host": "ai.example.test", "tlsSecret": "tls"},
    "alerts": {
        "enabled": True,
        "labels": {"release": "prometheus"},
        "runbookUrl": "https://wiki.test/tollgate/runbooks/",
    },
    "serviceAccount": {"annotations": {"role.test/name": "tollgate"}},
    "networkPolicy": {
        "enabled": True,
        "publicFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "adminFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
    },
}  # fmt: skip


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def needed_values() -> dict[str, Any]:
    return NEEDED


@pytest.fixture
def full_values() -> dict[str, Any]:
    return FULL


@pytest.fixture(scope="session")
def chart() -> Iterator[helm_python.Chart]:
    with helm_python.Chart.load(ROOT / "deploy/helm/tollgate") as loaded:
        yield loaded


@pytest.fixture(scope="session")
def render(chart: helm_python.Chart) -> Render:
    """Renders the chart and returns its objects."""

    def objects(values: dict[str, Any]) -> list[dict[str, Any]]:
        files = chart.render(values, name="tollgate", namespace="ai")
        texts = [text for name, text in files.items() if not name.endswith("NOTES.txt")]
        return [item for text in texts for item in yaml.safe_load_all(text) if item]

    return objects


@pytest.fixture(params=["needed", "full", "local"])
def chart_values(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "local":
        return dict(yaml.safe_load((ROOT / "deploy/local/values.yaml").read_text(encoding="utf-8")))
    return NEEDED if request.param == "needed" else FULL


@pytest.fixture
def objects(render: Render, chart_values: dict[str, Any]) -> list[dict[str, Any]]:
    return render(chart_values)


@pytest.fixture(scope="session")
def settings_of() -> Callable[[str], type[ServiceSettings]]:
    """Returns the settings class of a service by its name."""

    def find(service: str) -> type[ServiceSettings]:
        module = importlib.import_module(f"tollgate_{service.replace('-', '_')}.settings")
        prefix = f"TOLLGATE_{service.replace('-', '_').upper()}_"
        found = [
            item
            for item in vars(module).values()
            if isinstance(item, type)
            and issubclass(item, ServiceSettings)
            and item.model_config.get("env_prefix") == prefix
        ]
        assert len(found) == 1, f"{module.__name__} has {len(found)} settings classes with the prefix {prefix}"
        return found[0]

    return find
