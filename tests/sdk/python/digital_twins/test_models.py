"""Models: create_models, get_model, list_models, decommission_model, delete_model."""

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from digital_twins.instance import code_of, interface, property_of


def test_models_come_back_as_they_were_uploaded(client, models):
    model = client.get_model(models.room, include_model_definition=True)
    assert model.id == models.room
    assert model.display_name == {"en": "Room"}
    assert model.description == {"en": "Four walls.", "de": "Vier W\u00e4nde."}
    assert model.decommissioned is False
    assert model.upload_time is not None
    definition = next(it for it in models.definitions() if it["@id"] == models.room)
    # The service makes an array of the context, and keeps the rest.
    assert model.model == {**definition, "@context": [definition["@context"]]}
    assert client.get_model(models.room).model is None


def test_uploading_gives_model_data_without_definitions(client, run):
    ids = [f"dtmi:sdk:r{run}:Upload{n};1" for n in (1, 2)]
    uploaded = client.create_models([interface(model, property_of("P", "string")) for model in ids])
    assert [(model.id, model.model) for model in uploaded] == [(model, None) for model in ids]
    for model in ids:
        client.delete_model(model)


def test_models_that_are_there_are_not_uploaded_again(client, models):
    with pytest.raises(ResourceExistsError) as caught:
        client.create_models(models.definitions())
    assert code_of(caught) == (409, "ModelIdAlreadyExists")


def test_of_several_models_all_or_none_are_uploaded(client, run):
    good, bad = f"dtmi:sdk:r{run}:Good;1", f"dtmi:sdk:r{run}:Bad;1"
    with pytest.raises(HttpResponseError) as caught:
        client.create_models([interface(good), interface(bad, extends=f"dtmi:sdk:r{run}:Absent;1")])
    assert code_of(caught) == (400, "DTDLParserError")
    with pytest.raises(ResourceNotFoundError) as caught:
        client.get_model(good)
    assert code_of(caught) == (404, "ModelNotFound")


@pytest.mark.parametrize("uploaded", [[], [{"@id": "no model id"}]])
def test_what_is_no_model_is_refused(client, uploaded):
    with pytest.raises(HttpResponseError) as caught:
        client.create_models(uploaded)
    assert code_of(caught) == (400, "DTDLParserError" if uploaded else "InvalidArgument")


def test_a_malformed_id_is_no_missing_model(client):
    with pytest.raises(HttpResponseError) as caught:
        client.get_model("no model id")
    assert code_of(caught) == (400, "InvalidArgument")


def test_all_models_are_listed_page_by_page(client, models):
    found = [model.id for model in client.list_models(headers={"max-items-per-page": "1"})]
    assert set(found) >= {models.place, models.room, models.sensor}
    assert len(found) == len(set(found))
    pages = client.list_models(include_model_definition=True).by_page()
    assert all(model.model["@id"] == model.id for page in pages for model in page)


def test_a_model_is_listed_with_what_it_needs(client, models):
    found = {model.id for model in client.list_models(dependencies_for=[models.room])}
    assert found == {models.place, models.room, models.sensor}
    found = {model.id for model in client.list_models(dependencies_for=[models.place, models.sensor])}
    assert found == {models.place, models.sensor}


def test_a_decommissioned_model_has_no_new_twins(client, run):
    model, twin = f"dtmi:sdk:r{run}:Old;1", f"{run}-old"
    client.create_models([interface(model)])
    client.decommission_model(model)
    client.decommission_model(model)
    assert client.get_model(model).decommissioned is True
    with pytest.raises(HttpResponseError) as caught:
        client.upsert_digital_twin(twin, {"$metadata": {"$model": model}})
    assert code_of(caught) == (400, "ModelDecommissioned")
    client.delete_model(model)


def test_a_model_that_others_need_is_not_deleted(client, models):
    for model in (models.place, models.sensor):
        with pytest.raises(ResourceExistsError) as caught:
            client.delete_model(model)
        assert code_of(caught) == (409, "ModelReferencesNotDeleted")


def test_a_missing_model_is_neither_deleted_nor_decommissioned(client, run):
    model = f"dtmi:sdk:r{run}:Absent;1"
    for change in (client.delete_model, client.decommission_model):
        with pytest.raises(ResourceNotFoundError) as caught:
            change(model)
        assert code_of(caught) == (404, "ModelNotFound")
