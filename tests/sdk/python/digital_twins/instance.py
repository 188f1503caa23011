"""An instance of Azure Digital Twins, and models and twins that belong to this run alone.

ADT_SERVICE_URL names the instance. ADT_TOKEN, or the endpoints file of a local-azure, has the token; without either,
DefaultAzureCredential finds one, as it does in Azure.
"""

import json
import os
import time
from contextlib import suppress
from pathlib import Path

from azure.core.credentials import AccessToken
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import DefaultAzureCredential

# Queries of the service see a write up to 10 s late.
QUERY_LAG = 30.0


class StaticToken:
    """A token that somebody else got."""

    def __init__(self, token):
        self._token = token

    def get_token(self, *_scopes, **_options):
        return AccessToken(self._token, int(time.time()) + 3600)


def credential():
    token = os.environ.get("ADT_TOKEN")
    endpoints = os.environ.get("LOCAL_AZURE_ENDPOINTS")
    if token:
        return StaticToken(token)
    if endpoints:
        return StaticToken(json.loads(Path(endpoints).read_text())["digitalTwinsToken"])
    return DefaultAzureCredential()


def interface(model_id, *contents, **members):
    return {"@context": "dtmi:dtdl:context;2", "@id": model_id, "@type": "Interface", "contents": list(contents), **members}


def property_of(name, schema):
    return {"@type": "Property", "name": name, "schema": schema}


class Models:
    """The models of the run: a Room is a Place, has a Sensor, and leads to other places."""

    def __init__(self, run):
        self.place, self.sensor, self.room = (f"dtmi:sdk:r{run}:{name};1" for name in ("Place", "Sensor", "Room"))

    def definitions(self):
        door = {"@type": "Relationship", "name": "leadsTo", "properties": [property_of("locked", "boolean")]}
        return [
            interface(self.place, property_of("Name", "string")),
            interface(self.sensor, property_of("Reading", "double")),
            interface(
                self.room,
                property_of("Temperature", "double"),
                property_of("Tags", {"@type": "Map", "mapKey": {"name": "key", "schema": "string"},
                                     "mapValue": {"name": "value", "schema": "string"}}),
                {"@type": "Telemetry", "name": "Noise", "schema": "double"},
                {"@type": "Component", "name": "Sensor", "schema": self.sensor},
                door,
                extends=self.place,
                displayName="Room",
                description={"en": "Four walls.", "de": "Vier W\u00e4nde."},
            ),
        ]


class Rooms:
    """Makes twins of the model Room, and takes them away again with their relationships."""

    def __init__(self, client, run, model):
        self._client, self._run, self._model = client, run, model
        self._made = []

    def id_of(self, name):
        return f"{self._run}-{name}"

    def body(self, **properties):
        return {"$metadata": {"$model": self._model}, "Sensor": {"$metadata": {}}, **properties}

    def make(self, name, **properties):
        twin = self.id_of(name)
        self._made.append(twin)
        return self._client.upsert_digital_twin(twin, self.body(**properties))

    def join(self, source, relationship, target, **properties):
        body = {"$relationshipName": "leadsTo", "$targetId": self.id_of(target), **properties}
        return self._client.upsert_relationship(self.id_of(source), relationship, body)

    def clear(self):
        made, self._made = dict.fromkeys(self._made), []
        # A twin that relationships lead to is not deleted, so all of these go first.
        for twin in made:
            with suppress(ResourceNotFoundError):
                for relationship in list(self._client.list_relationships(twin)):
                    self._client.delete_relationship(twin, relationship["$relationshipId"])
        for twin in made:
            with suppress(ResourceNotFoundError):
                self._client.delete_digital_twin(twin)


def code_of(caught):
    """Status and code of the error that pytest.raises caught."""
    error = caught.value
    return error.status_code, error.error.code


def eventually(look, wanted):
    """Looks until it sees what is wanted: at once where queries see writes at once."""
    deadline = time.monotonic() + QUERY_LAG
    while (seen := look()) != wanted and time.monotonic() < deadline:
        time.sleep(1)
    assert seen == wanted
