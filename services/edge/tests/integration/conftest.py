"""What integration tests of edge share."""

import pytest
from services.edge.tests.fakes.door import clean
from services.edge.tests.fakes.inference import Bench


@pytest.fixture
async def bench():
    """The door on a real port, with nothing left behind afterwards."""
    async with Bench().serving() as made:
        yield made
        await clean(made)
