"""One server for all tests that leave it as it was."""

import pytest
from serving import Process

import dagger_edge as de


@pytest.fixture(scope="session")
def server(_cache_folder):
    """A client of ``dagger-edge serve`` with the demo."""
    with Process("--queue", 40) as process:
        yield process


@pytest.fixture
def client(server):
    """Its client."""
    return server.client


@pytest.fixture(scope="session")
def solver(_cache_folder):
    """What the server's answers have to equal."""
    with de.demo(threads=1) as opened:
        yield opened
