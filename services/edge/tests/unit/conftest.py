"""What unit tests of edge share."""

import pytest
from services.edge.tests.fakes.http import http_world


@pytest.fixture
async def world():
    """Edge's HTTP without inference, with one key and one operator's token."""
    async with http_world() as made:
        yield made
