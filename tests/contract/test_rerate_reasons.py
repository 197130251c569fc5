"""Why a request stays without a price: whatever billing says has words in the command, the guide and the contract."""

from pathlib import Path

import pytest

from tollgate_billing.use_cases.rerate_unpriced import REASONS
from tollgate_cli.commands.prices import LEFT_OUT

pytestmark = pytest.mark.contract


def test_each_reason_has_words_for_people(root: Path) -> None:
    assert set(LEFT_OUT) == set(REASONS)
    guide = (root / "docs/guides/prices.md").read_text(encoding="utf-8")
    contract = (root / "proto/tollgate/billing/v1/reports.proto").read_text(encoding="utf-8")
    assert [reason for reason in REASONS if f"`{reason}`" not in guide or reason not in contract] == []
