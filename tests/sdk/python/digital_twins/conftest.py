"""What the tests of Azure Digital Twins ask for by name."""

import os
import uuid

import pytest
from azure.digitaltwins.core import DigitalTwinsClient

from digital_twins.instance import Models, Rooms, credential


@pytest.fixture(scope="session")
def address():
    return os.environ["ADT_SERVICE_URL"]


@pytest.fixture(scope="session")
def client(address):
    return DigitalTwinsClient(address, credential())


@pytest.fixture(scope="session")
def run():
    """What the names of this run have in common."""
    return uuid.uuid4().hex[:8]


@pytest.fixture(scope="session")
def models(client, run):
    models = Models(run)
    client.create_models(models.definitions())
    yield models
    for model in (models.room, models.sensor, models.place):
        client.delete_model(model)


@pytest.fixture
def rooms(client, models, run):
    # Names of one test do not meet those of another, not even in queries that lag.
    rooms = Rooms(client, f"{run}-{uuid.uuid4().hex[:6]}", models.room)
    yield rooms
    rooms.clear()
