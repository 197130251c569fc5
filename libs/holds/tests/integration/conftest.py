import pytest


@pytest.fixture(scope="session")
def redis_url(valkey):
    """The address of a server of this session's own."""
    return valkey.url
