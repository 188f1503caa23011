"""Relationships: upsert_relationship, get_relationship, update_relationship, delete_relationship, and both lists."""

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
LOCK = [{"op": "add", "path": "/locked", "value": True}]


@pytest.fixture
def pair(rooms):
    rooms.make("a")
    rooms.make("b")
    return rooms.id_of("a"), rooms.id_of("b")


def test_a_relationship_is_read_as_it_was_written(client, rooms, pair):
    source, target = pair
    written = rooms.join("a", "door", "b", locked=False)
    relationship = client.get_relationship(source, "door")
    assert relationship == written
    etag = relationship.pop("$etag")
    assert etag.startswith('W/"')
    assert relationship == {
        "$relationshipId": "door",
        "$sourceId": source,
        "$relationshipName": "leadsTo",
        "$targetId": target,
        "locked": False,
    }


def test_a_relationship_that_is_there_is_not_created_again(client, rooms, pair):
    source, target = pair
    rooms.join("a", "door", "b")
    body = {"$relationshipName": "leadsTo", "$targetId": target}
    with pytest.raises(ResourceExistsError) as caught:
        client.upsert_relationship(source, "door", body, match_condition=MatchConditions.IfMissing)
    assert code_of(caught) == (412, "PreconditionFailed")
    client.upsert_relationship(source, "window", body, match_condition=MatchConditions.IfMissing)


@pytest.mark.parametrize(
    "members, wanted",
    [
        ({"$targetId": None}, (400, "InvalidArgument")),
        ({"$relationshipName": None}, (400, "InvalidArgument")),
        ({"$relationshipName": "noSuchName"}, (400, "InvalidRelationship")),
        ({"locked": "yes"}, (400, "ValidationFailed")),
        ({"$targetId": "no-such-twin"}, (404, "TargetDigitalTwinNotFound")),
    ],
)
def test_a_relationship_that_cannot_be_is_refused(client, pair, members, wanted):
    source, target = pair
    with pytest.raises(HttpResponseError) as caught:
        client.upsert_relationship(source, "door", {"$relationshipName": "leadsTo", "$targetId": target, **members})
    assert code_of(caught) == wanted


def test_a_twin_is_not_related_to_itself(client, pair):
    source, _ = pair
    with pytest.raises(HttpResponseError) as caught:
        client.upsert_relationship(source, "door", {"$relationshipName": "leadsTo", "$targetId": source})
    assert code_of(caught) == (400, "OperationNotAllowed")


def test_changes_name_the_version_that_they_were_made_for(client, rooms, pair):
    source, _ = pair
    etag = rooms.join("a", "door", "b")["$etag"]
    conditional = {"match_condition": MatchConditions.IfNotModified}
    with pytest.raises(ResourceModifiedError) as caught:
        client.update_relationship(source, "door", LOCK, etag=OLD, **conditional)
    assert code_of(caught) == (412, "PreconditionFailed")
    client.update_relationship(source, "door", LOCK, etag=etag, **conditional)
    relationship = client.get_relationship(source, "door")
    assert relationship["locked"] is True and relationship["$etag"] != etag
    with pytest.raises(ResourceModifiedError):
        client.delete_relationship(source, "door", etag=etag, **conditional)
    client.delete_relationship(source, "door", etag=relationship["$etag"], **conditional)


def test_a_patch_of_a_relationship_keeps_to_its_properties(client, rooms, pair):
    source, _ = pair
    rooms.join("a", "door", "b")
    for patch, wanted in (
        ([{"op": "remove", "path": "/locked"}], "JsonPatchInvalid"),
        ([{"op": "add", "path": "/locked", "value": 1}], "ValidationFailed"),
        ([{}], "JsonPatchInvalid"),
    ):
        with pytest.raises(HttpResponseError) as caught:
            client.update_relationship(source, "door", patch)
        assert code_of(caught) == (400, wanted)


def test_a_missing_relationship_is_not_found(client, rooms, pair):
    source, target = pair
    for use in (
        lambda twin: client.get_relationship(twin, "absent"),
        lambda twin: client.update_relationship(twin, "absent", LOCK),
        lambda twin: client.delete_relationship(twin, "absent"),
    ):
        for twin, wanted in ((source, "RelationshipNotFound"), (rooms.id_of("absent"), "DigitalTwinNotFound")):
            with pytest.raises(ResourceNotFoundError) as caught:
                use(twin)
            assert code_of(caught) == (404, wanted)
    with pytest.raises(ResourceNotFoundError) as caught:
        body = {"$relationshipName": "leadsTo", "$targetId": target}
        client.upsert_relationship(rooms.id_of("absent"), "door", body)
    assert code_of(caught) == (404, "DigitalTwinNotFound")


def test_lists_go_over_all_pages(client, rooms, pair):
    source, target = pair
    ids = sorted(f"door_{n}" for n in range(23))
    for relationship in ids:
        rooms.join("a", relationship, "b", locked=True)
    pages = [list(page) for page in client.list_relationships(source).by_page()]
    assert [one["$relationshipId"] for page in pages for one in page] == ids
    assert len(pages) > 1
    assert all(one["$targetId"] == target and one["locked"] is True for page in pages for one in page)
    incoming = list(client.list_incoming_relationships(target))
    assert sorted(one.relationship_id for one in incoming) == ids
    assert {(one.source_id, one.relationship_name) for one in incoming} == {(source, "leadsTo")}
    assert all(f"/relationships/{one.relationship_id}" in one.relationship_link for one in incoming)


def test_lists_can_be_of_one_name(client, rooms, pair):
    source, target = pair
    rooms.join("a", "door", "b")
    assert [one["$relationshipId"] for one in client.list_relationships(source, "leadsTo")] == ["door"]
    assert list(client.list_relationships(source, "otherName")) == []
    assert list(client.list_relationships(target)) == []
    assert list(client.list_incoming_relationships(source)) == []
    with pytest.raises(ResourceNotFoundError) as caught:
        list(client.list_relationships(rooms.id_of("absent")))
    assert code_of(caught) == (404, "DigitalTwinNotFound")
