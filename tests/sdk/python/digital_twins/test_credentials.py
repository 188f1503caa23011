"""Who may use the instance."""

import os

import pytest
from azure.core.exceptions import ClientAuthenticationError, ResourceNotFoundError
from azure.digitaltwins.core import DigitalTwinsClient
from azure.identity import DefaultAzureCredential

from digital_twins.instance import StaticToken, code_of


def test_a_token_that_is_none_is_refused(address):
    client = DigitalTwinsClient(address, StaticToken("nonsense"))
    with pytest.raises(ClientAuthenticationError) as caught:
        client.get_digital_twin("any")
    assert caught.value.status_code == 401


@pytest.mark.skipif("IDENTITY_ENDPOINT" not in os.environ, reason="IDENTITY_ENDPOINT: no managed identity here")
def test_a_managed_identity_has_tokens_for_the_instance(address, run):
    client = DigitalTwinsClient(address, DefaultAzureCredential())
    with pytest.raises(ResourceNotFoundError) as caught:
        client.get_digital_twin(f"{run}-absent")
    assert code_of(caught) == (404, "DigitalTwinNotFound")
