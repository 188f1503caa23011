"""Components: get_component, update_component."""

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceModifiedError, ResourceNotFoundError

from digital_twins.instance import code_of

SET = [{"op": "add", "path": "/Reading", "value": 7.5}]


def test_a_component_is_read_and_patched_by_itself(client, rooms):
    rooms.make("a", Sensor={"Reading": 1, "$metadata": {}})
    client.update_component(rooms.id_of("a"), "Sensor", SET)
    component = client.get_component(rooms.id_of("a"), "Sensor")
    assert component["Reading"] == 7.5
    metadata = component["$metadata"]
    assert metadata["Reading"]["lastUpdateTime"] == metadata["$lastUpdateTime"]
    assert client.get_digital_twin(rooms.id_of("a"))["Sensor"] == component
    client.update_component(rooms.id_of("a"), "Sensor", [{"op": "remove", "path": "/Reading"}])
    assert "Reading" not in client.get_component(rooms.id_of("a"), "Sensor")


def test_a_components_version_is_its_twins(client, rooms):
    etag = rooms.make("a")["$etag"]
    conditional = {"match_condition": MatchConditions.IfNotModified}
    client.update_component(rooms.id_of("a"), "Sensor", SET, etag=etag, **conditional)
    assert client.get_digital_twin(rooms.id_of("a"))["$etag"] != etag
    with pytest.raises(ResourceModifiedError) as caught:
        client.update_component(rooms.id_of("a"), "Sensor", SET, etag=etag, **conditional)
    assert code_of(caught) == (412, "PreconditionFailed")


def test_a_component_that_the_twin_lacks_is_not_found(client, rooms):
    rooms.make("a")
    with pytest.raises(ResourceNotFoundError) as caught:
        client.get_component(rooms.id_of("a"), "Window")
    assert code_of(caught) == (404, "ComponentNotFound")
    with pytest.raises(HttpResponseError) as caught:
        client.update_component(rooms.id_of("a"), "Window", SET)
    assert code_of(caught) == (400, "JsonPatchInvalid")
    for use in (client.get_component, lambda twin, name: client.update_component(twin, name, SET)):
        with pytest.raises(ResourceNotFoundError) as caught:
            use(rooms.id_of("absent"), "Sensor")
        assert code_of(caught) == (404, "DigitalTwinNotFound")


def test_a_component_keeps_to_its_model(client, rooms):
    rooms.make("a")
    with pytest.raises(HttpResponseError) as caught:
        client.update_component(rooms.id_of("a"), "Sensor", [{"op": "add", "path": "/Reading", "value": "high"}])
    assert code_of(caught) == (400, "ValidationFailed")
