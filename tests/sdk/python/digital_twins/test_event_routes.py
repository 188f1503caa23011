"""Event routes: upsert_event_route, get_event_route, list_event_routes, delete_event_route.

ADT_ENDPOINT names an endpoint of the instance; without it, routes that would be stored are not tested.
"""

import os

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.digitaltwins.core import DigitalTwinsEventRoute

from digital_twins.instance import code_of

FILTER = "type = 'microsoft.iot.telemetry' AND STARTS_WITH(subject, 'Sensor') OR $body.Temperature >= 20.5"


@pytest.fixture
def endpoint():
    return os.environ.get("ADT_ENDPOINT") or pytest.skip("ADT_ENDPOINT names no endpoint of the instance")


@pytest.fixture
def route(client, run):
    """The id of a route that is deleted afterwards."""
    route = f"route-{run}"
    yield route
    try:
        client.delete_event_route(route)
    except ResourceNotFoundError:
        pass


def test_a_route_is_stored_listed_replaced_and_deleted(client, endpoint, route):
    for text in (FILTER, "true"):
        client.upsert_event_route(route, DigitalTwinsEventRoute(endpoint_name=endpoint, filter=text))
        stored = client.get_event_route(route)
        assert (stored.id, stored.endpoint_name, stored.filter) == (route, endpoint, text)
        assert route in [one.id for one in client.list_event_routes(headers={"max-items-per-page": "1"})]
    client.delete_event_route(route)
    for use in (client.get_event_route, client.delete_event_route):
        with pytest.raises(ResourceNotFoundError) as caught:
            use(route)
        assert code_of(caught) == (404, "EventRouteNotFound")


def test_a_route_leads_to_an_endpoint_of_the_instance(client, route):
    with pytest.raises(HttpResponseError) as caught:
        client.upsert_event_route(route, DigitalTwinsEventRoute(endpoint_name="no-such-endpoint", filter="true"))
    assert code_of(caught) == (400, "EventRouteEndpointInvalid")


@pytest.mark.parametrize("text", ["this is not a valid filter string", "type =", "(true", "LOWER(type) = 'x'"])
def test_a_filter_that_cannot_be_read_is_refused(client, endpoint, route, text):
    with pytest.raises(HttpResponseError) as caught:
        client.upsert_event_route(route, DigitalTwinsEventRoute(endpoint_name=endpoint, filter=text))
    assert code_of(caught) == (400, "EventRouteFilterInvalid")
    assert "Line=1" in caught.value.error.message
