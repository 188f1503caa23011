"""Twins: upsert_digital_twin, get_digital_twin, update_digital_twin, delete_digital_twin."""

from datetime import datetime

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)

from digital_twins.instance import code_of

OLD = 'W/"00000000-0000-0000-0000-000000000000"'


def test_a_twin_is_read_as_it_was_written(client, models, rooms):
    written = rooms.make("a", Name="Kitchen", Temperature=21.5, Tags={"floor": "1"})
    twin = client.get_digital_twin(rooms.id_of("a"))
    assert twin == written
    assert (twin["$dtId"], twin["Name"], twin["Temperature"]) == (rooms.id_of("a"), "Kitchen", 21.5)
    assert twin["Tags"] == {"floor": "1"}
    assert twin["$etag"].startswith('W/"')
    metadata = twin["$metadata"]
    assert metadata["$model"] == models.room
    assert metadata["Name"]["lastUpdateTime"] == metadata["$lastUpdateTime"]
    assert datetime.fromisoformat(metadata["$lastUpdateTime"][:19])
    assert set(metadata) == {"$model", "$lastUpdateTime", "Name", "Temperature", "Tags"}


def test_replacing_a_twin_forgets_what_it_had(client, rooms):
    first = rooms.make("a", Name="Kitchen", Temperature=21.5)
    second = rooms.make("a", Name="Hall")
    assert second["$etag"] != first["$etag"]
    twin = client.get_digital_twin(rooms.id_of("a"))
    assert twin["Name"] == "Hall" and "Temperature" not in twin


def test_a_twin_that_is_there_is_not_created_again(client, rooms):
    rooms.make("a", Name="Kitchen")
    with pytest.raises(ResourceExistsError) as caught:
        client.upsert_digital_twin(rooms.id_of("a"), rooms.body(), match_condition=MatchConditions.IfMissing)
    assert code_of(caught) == (412, "PreconditionFailed")
    assert client.get_digital_twin(rooms.id_of("a"))["Name"] == "Kitchen"


def test_a_missing_twin_is_neither_read_nor_changed_nor_deleted(client, rooms):
    twin = rooms.id_of("absent")
    patch = [{"op": "add", "path": "/Name", "value": "x"}]
    for use in (
        lambda: client.get_digital_twin(twin),
        lambda: client.update_digital_twin(twin, patch),
        lambda: client.delete_digital_twin(twin),
    ):
        with pytest.raises(ResourceNotFoundError) as caught:
            use()
        assert code_of(caught) == (404, "DigitalTwinNotFound")


@pytest.mark.parametrize(
    "properties, wanted",
    [
        ({"Temperature": "warm"}, "ValidationFailed"),
        ({"Name": 5}, "ValidationFailed"),
        ({"Noise": 1.5}, "ValidationFailed"),
        ({"Colour": "red"}, "ValidationFailed"),
        ({"Sensor": {"Reading": True, "$metadata": {}}}, "ValidationFailed"),
        ({"$metadata": {"$model": "dtmi:sdk:NoSuchModel;1"}}, "ValidationFailed"),
    ],
)
def test_a_twin_that_does_not_fit_its_model_is_refused(client, rooms, properties, wanted):
    with pytest.raises(HttpResponseError) as caught:
        client.upsert_digital_twin(rooms.id_of("a"), {**rooms.body(), **properties})
    assert code_of(caught) == (400, wanted)
    assert caught.value.error.message == "Invalid twin specified"


def test_a_twin_needs_the_components_of_its_model(client, models, rooms):
    with pytest.raises(HttpResponseError) as caught:
        client.upsert_digital_twin(rooms.id_of("a"), {"$metadata": {"$model": models.room}})
    assert code_of(caught) == (400, "ValidationFailed")


def test_a_patch_adds_replaces_and_removes(client, rooms):
    before = rooms.make("a", Name="Kitchen", Temperature=21.5, Tags={"floor": "1"})
    client.update_digital_twin(
        rooms.id_of("a"),
        [
            {"op": "replace", "path": "/Name", "value": "Hall"},
            {"op": "remove", "path": "/Temperature"},
            {"op": "add", "path": "/Tags/wing", "value": "west"},
            {"op": "add", "path": "/Sensor/Reading", "value": 3},
        ],
    )
    after = client.get_digital_twin(rooms.id_of("a"))
    assert (after["Name"], after["Tags"]) == ("Hall", {"floor": "1", "wing": "west"})
    assert after["Sensor"]["Reading"] == 3
    assert "Temperature" not in after and "Temperature" not in after["$metadata"]
    assert after["$etag"] != before["$etag"]


def test_a_source_time_is_kept_with_its_property(client, rooms):
    rooms.make("a", Temperature=20)
    client.update_digital_twin(
        rooms.id_of("a"),
        [
            {"op": "replace", "path": "/Temperature", "value": 21},
            {"op": "add", "path": "/$metadata/Temperature/sourceTime", "value": "2024-02-29T12:00:00Z"},
        ],
    )
    metadata = client.get_digital_twin(rooms.id_of("a"))["$metadata"]
    assert metadata["Temperature"]["sourceTime"] == "2024-02-29T12:00:00.0000000Z"


@pytest.mark.parametrize(
    "operation, wanted",
    [
        ({"op": "move", "from": "/Name", "path": "/Temperature"}, "JsonPatchInvalid"),
        ({"op": "replace", "path": "/Temperature", "value": 1}, "JsonPatchInvalid"),
        ({"op": "remove", "path": "/Temperature"}, "JsonPatchInvalid"),
        ({"op": "add", "path": "/Colour", "value": "red"}, "JsonPatchInvalid"),
        ({"op": "add", "path": "/Temperature", "value": "warm"}, "ValidationFailed"),
        ({}, "JsonPatchInvalid"),
    ],
)
def test_a_patch_that_cannot_be_carried_out_changes_nothing(client, rooms, operation, wanted):
    before = rooms.make("a", Name="Kitchen")
    with pytest.raises(HttpResponseError) as caught:
        client.update_digital_twin(
            rooms.id_of("a"), [{"op": "replace", "path": "/Name", "value": "Hall"}, operation]
        )
    assert code_of(caught) == (400, wanted)
    assert client.get_digital_twin(rooms.id_of("a")) == before


def test_a_patch_names_the_version_that_it_was_made_for(client, rooms):
    etag = rooms.make("a", Name="Kitchen")["$etag"]
    twin, patch = rooms.id_of("a"), [{"op": "replace", "path": "/Name", "value": "Hall"}]
    conditional = {"match_condition": MatchConditions.IfNotModified}
    with pytest.raises(ResourceModifiedError) as caught:
        client.update_digital_twin(twin, patch, etag=OLD, **conditional)
    assert code_of(caught) == (412, "PreconditionFailed")
    client.update_digital_twin(twin, patch, etag=etag, **conditional)
    with pytest.raises(ResourceModifiedError):
        client.update_digital_twin(twin, patch, etag=etag, **conditional)
    client.update_digital_twin(twin, patch, match_condition=MatchConditions.IfPresent)


def test_a_deletion_names_the_version_that_it_was_made_for(client, rooms):
    etag = rooms.make("a")["$etag"]
    twin, conditional = rooms.id_of("a"), {"match_condition": MatchConditions.IfNotModified}
    with pytest.raises(ResourceModifiedError) as caught:
        client.delete_digital_twin(twin, etag=OLD, **conditional)
    assert code_of(caught) == (412, "PreconditionFailed")
    client.delete_digital_twin(twin, etag=etag, **conditional)
    with pytest.raises(ResourceNotFoundError):
        client.get_digital_twin(twin)


def test_a_twin_with_relationships_is_not_deleted(client, rooms):
    rooms.make("a")
    rooms.make("b")
    rooms.join("a", "door", "b")
    for end in ("a", "b"):
        with pytest.raises(HttpResponseError) as caught:
            client.delete_digital_twin(rooms.id_of(end))
        assert code_of(caught) == (400, "RelationshipsNotDeleted")


@pytest.mark.parametrize("name", ["blank space", "\u00e4\u00f6\u00fc", "per%cent", "plus+sign", "a:b;c", "q?x=1#y"])
def test_ids_may_have_characters_that_urls_encode(client, rooms, name):
    rooms.make(name, Name=name)
    twin = client.get_digital_twin(rooms.id_of(name))
    assert (twin["$dtId"], twin["Name"]) == (rooms.id_of(name), name)
