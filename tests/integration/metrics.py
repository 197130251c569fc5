"""What a process of the product measures, read from its admin port as Prometheus reads it."""

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from tests.integration.admin_port import ask_admin
from tests.integration.product import Product

from tollgate_cli.home import Home

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Scrape:
    """One answer of /metrics. `kinds` are the families' types by name, `samples` the values by name and labels."""

    kinds: Mapping[str, str]
    samples: Mapping[tuple[str, Labels], float]

    def value(self, name: str, **labels: str) -> float:
        """Returns the sum of all samples of this name that carry these labels."""
        wanted = set(labels.items())
        return sum(value for (found, own), value in self.samples.items() if found == name and wanted <= own)

    def labels(self, name: str) -> list[dict[str, str]]:
        """Returns the labels of every sample of this name."""
        return [dict(own) for found, own in self.samples if found == name]


def scrape(address: str) -> Scrape:
    """Returns what the process whose admin port is at `unix:PATH` measures. Raises OSError when nobody is there."""
    status, text = ask_admin(address.removeprefix("unix:"), "/metrics")
    assert status == 200, text
    families = list(text_string_to_metric_families(text))
    samples = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }
    return Scrape({family.name: family.type for family in families}, samples)


def admin_address(product: Product, name: str) -> str:
    """Returns where a process of the product, such as `edge-0`, has its admin port."""
    return f"unix:{Home(product.home).socket(f'{name}-admin')}"
