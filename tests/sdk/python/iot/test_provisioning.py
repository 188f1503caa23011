"""azure-iot-device's provisioning client: what a registration gives, and how it fails."""

import json
import unittest

from azure.iot.device import exceptions

from iot.local_azure import THERMOSTAT, Site, new_id


class Provisioning(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.site = Site.of_environment()

    def check_registration(self, **options):
        device = new_id("py-Device")
        state = self.site.register(device, **options)
        self.assertEqual((state.device_id, state.assigned_hub), (device, self.site.hub["hostName"]))
        self.assertEqual(state.sub_status, "initialAssignment")
        self.assertEqual(json.loads(state.response_payload), {"dtId": device.lower()})
        self.assertEqual(self.site.digital_twin(device.lower())["$metadata"]["$model"], THERMOSTAT)

    def test_over_mqtt(self):
        self.check_registration()

    def test_over_web_sockets(self):
        self.check_registration(websockets=True)

    def test_a_device_that_registers_again_keeps_hub_and_twin(self):
        device = new_id("py-again")
        first = self.site.register(device)
        twin = self.site.digital_twin(device)
        second = self.site.register(device, websockets=True)
        self.assertEqual(second.created_date_time, first.created_date_time)
        self.assertEqual((second.assigned_hub, second.sub_status), (first.assigned_hub, first.sub_status))
        self.assertEqual(self.site.digital_twin(device)["$metadata"]["$model"], twin["$metadata"]["$model"])

    def test_a_wrong_key_is_unauthorized(self):
        for options in {}, {"websockets": True}:
            client = self.site.provisioning_client(new_id("py-stranger"), key="c3RyYW5nZXIgc3RyYW5nZXIgc3Q=", **options)
            with self.assertRaises(exceptions.ClientError) as caught:
                client.register()
            self.assertIn("401", str(caught.exception.__cause__))

    def test_what_the_webhook_refuses_is_a_failed_registration(self):
        client = self.site.provisioning_client(new_id("py-no-model"))
        client.provisioning_payload = {"modelId": "dtmi:contosocom:DigitalTwins:Nothing;1"}
        with self.assertRaises(exceptions.ClientError) as caught:
            client.register()
        self.assertIn("failed registration status", str(caught.exception.__cause__))
