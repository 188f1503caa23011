"""Telemetry: publish_telemetry, publish_component_telemetry."""

import uuid

import pytest
from azure.core.exceptions import ResourceNotFoundError

from digital_twins.instance import code_of


def test_twins_and_components_send_telemetry(client, rooms):
    rooms.make("a")
    client.publish_telemetry(rooms.id_of("a"), {"Noise": 41.5})
    client.publish_telemetry(rooms.id_of("a"), {"Noise": 42}, message_id=str(uuid.uuid4()))
    client.publish_component_telemetry(rooms.id_of("a"), "Sensor", {"Raw": [1, 2, 3]})


def test_what_is_not_there_sends_no_telemetry(client, rooms):
    rooms.make("a")
    for send, wanted in (
        (lambda: client.publish_telemetry(rooms.id_of("absent"), {"Noise": 1}), "DigitalTwinNotFound"),
        (lambda: client.publish_component_telemetry(rooms.id_of("absent"), "Sensor", {}), "DigitalTwinNotFound"),
        (lambda: client.publish_component_telemetry(rooms.id_of("a"), "Window", {}), "ComponentNotFound"),
    ):
        with pytest.raises(ResourceNotFoundError) as caught:
            send()
        assert code_of(caught) == (404, wanted)
