"""Questions about usage, asked of the running product by a key, by an operator and by the command."""

import json
from decimal import Decimal
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
from tests.integration.product import Product

pytestmark = pytest.mark.integration


def test_views_sql_and_exports_agree_with_what_was_charged(product: Product, tmp_path: Path) -> None:
    product.wait_settled()
    booked = product.usage()["requests"]
    bearer = {"authorization": f"Bearer {product.api_key}"}
    call = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Say hello"}]}
    with httpx.Client(base_url=product.url, headers=bearer, timeout=60, trust_env=False) as key:
        request = key.post("/v1/chat/completions", json=call).headers["x-request-id"]
        product.wait_booked(booked + 1)
        (row,) = product.requests(request_id=request)
        owner = str(row["organization_id"])
        charged = Decimal(product.usage(organization_id=owner)["total"]["charge"])
        # The key sees its own organization, and neither what calls cost us nor what is for operators.
        answer = key.get("/api/v1/usage/views/request", params={"request_id": request}).json()
        found = dict(zip([one["name"] for one in answer["columns"]], answer["rows"][0], strict=True))
        assert Decimal(found["charge"]) == Decimal(int(row["charge_pico"])).scaleb(-12)
        assert "cost" not in found
        assert key.get("/api/v1/usage/views/latency").status_code == 403
        assert key.get("/api/v1/usage/views/nothing").status_code == 404
        assert key.get("/api/v1/usage/views/top_keys?top=many").status_code == 400
        assert key.post("/api/v1/usage/sql", json={"sql": "SELECT 1"}).status_code == 403
        listed = key.get("/api/v1/usage/views").json()["items"]
        assert len(listed) == 9
    whole = product.cli("usage", "view", "spend_by_model", "since=31d", "--organization", owner, "--json")
    assert whole.returncode == 0, whole.stderr
    assert sum(Decimal(one["charge"]) for one in json.loads(whole.stdout)["rows"]) == charged
    sql = f"SELECT sum(charge) AS charge FROM usage_1d WHERE organization_id = '{owner}'"
    assert product.cli("usage", "sql", sql, "--csv").stdout.splitlines()[0] == "charge"
    assert Decimal(product.cli("usage", "sql", sql, "--csv").stdout.splitlines()[1]) == charged
    refused = product.cli("usage", "sql", "SELECT file('/etc/passwd')")
    assert refused.returncode == 1
    assert "file() is not among the functions" in refused.stderr
    file = tmp_path / "month.parquet"
    # Rows of a test that began in the month before are in that one's file.
    exported = product.cli("usage", "export", found["started_at"][:7], "--organization", owner, "--parquet", file)
    assert exported.returncode == 0, exported.stderr
    assert request in pq.read_table(file).column("request_id").to_pylist()
    assert product.cli("usage", "isolation", owner).stdout.count("CREATE ROW POLICY") == 10
