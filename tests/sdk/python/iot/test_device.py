"""azure-iot-device's device client: the whole loop, and the corners of IoT Hub's device side."""

import asyncio
import json
import queue
import unittest

from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, Message, MethodResponse, exceptions
from azure.iot.device.aio import IoTHubDeviceClient as AsyncDeviceClient
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties

from iot.local_azure import DEADLINE, Site, eventually, new_id


def telemetry(temperature):
    message = Message(json.dumps({"Temperature": temperature}), content_encoding="utf-8", content_type="application/json")
    message.custom_properties["unit"] = "°C & more"
    return message


class Device(unittest.TestCase):
    """The same over both transports; the class below says WebSocket."""

    options = {}

    @classmethod
    def setUpClass(cls):
        cls.site = Site.of_environment()
        cls.registry = cls.site.registry()

    def connected(self, kind):
        """A registered, connected device and its id."""
        registration = self.site.register(new_id(kind), **self.options)
        client = self.site.device_client(registration, **self.options)
        self.addCleanup(client.shutdown)
        client.connect()
        return client, registration.device_id

    def test_the_whole_loop(self):
        client, device = self.connected("py-loop")

        for temperature in 21.25, 22.5:
            client.send_message(telemetry(temperature))
        eventually("the last temperature", lambda: self.site.digital_twin(device).get("Temperature") == 22.5)
        reached = self.site.digital_twin(device)
        self.assertEqual((reached["HubRegistrationId"], reached["HubName"]), (device, "localhost"))

        self.assertEqual(client.get_twin()["reported"], {"$version": 1})
        client.patch_twin_reported_properties({"firmware": {"version": "1.2"}, "gone": 1})
        client.patch_twin_reported_properties({"gone": None})
        self.assertEqual(client.get_twin()["reported"], {"firmware": {"version": "1.2"}, "$version": 3})
        seen = self.registry.get_twin(device)
        self.assertEqual(seen.properties.reported["firmware"], {"version": "1.2"})
        self.assertEqual((seen.connection_state, seen.tags["dtId"]), ("Connected", device))

        self.registry.delete_device(device)
        eventually("the end of the connection", lambda: not client.connected)
        eventually("the end of the digital twin", lambda: self.site.digital_twin(device) is None)

    def test_desired_properties(self):
        client, device = self.connected("py-desired")
        patches = queue.Queue()
        client.on_twin_desired_properties_patch_received = patches.put
        # The answer comes after the handler's subscription.
        version = client.get_twin()["desired"]["$version"]
        self.registry.update_twin(device, Twin(properties=TwinProperties(desired={"interval": 5, "a": {"b": 1}})), "*")
        self.assertEqual(patches.get(timeout=DEADLINE), {"interval": 5, "a": {"b": 1}, "$version": version + 1})
        self.registry.update_twin(device, Twin(properties=TwinProperties(desired={"a": None})), "*")
        self.assertEqual(patches.get(timeout=DEADLINE), {"a": None, "$version": version + 2})
        self.assertEqual(client.get_twin()["desired"], {"interval": 5, "$version": version + 2})

    def test_direct_methods(self):
        client, device = self.connected("py-method")

        def answer(request):
            payload = {"name": request.name, "was": request.payload}
            client.send_method_response(MethodResponse.create_from_method_request(request, 213, payload))

        client.on_method_request_received = answer
        # The answer comes after the handler's subscription.
        client.get_twin()
        for payload in {"in": 5}, "text", [1, None], True:
            call = CloudToDeviceMethod(method_name="set Point/1", payload=payload, response_timeout_in_seconds=30)
            result = self.registry.invoke_device_method(device, call)
            self.assertEqual((result.status, result.payload), (213, {"name": "set Point/1", "was": payload}))

    def test_messages_to_the_device(self):
        client, device = self.connected("py-c2d")
        self.site.send_to_device(
            device,
            {"setPoint": 21},
            contentType="application/json",
            messageId="m 1",
            properties={"a/b&c": "1+1=2 é", "empty": ""},
        )
        received = client.receive_message(timeout=DEADLINE)
        self.assertEqual(json.loads(received.data), {"setPoint": 21})
        self.assertEqual((received.message_id, received.content_type), ("m 1", "application/json"))
        self.assertEqual(received.custom_properties, {"a/b&c": "1+1=2 é", "empty": ""})
        eventually(
            "the end of the message", lambda: self.registry.get_device(device).cloud_to_device_message_count == 0
        )

    def test_a_disabled_device_is_put_off_and_not_let_in(self):
        client, device = self.connected("py-disabled")
        identity = self.registry.get_device(device)
        keys = identity.authentication.symmetric_key
        self.registry.update_device_with_sas(
            device, identity.etag, keys.primary_key, keys.secondary_key, "disabled", status_reason="lost"
        )
        eventually("the end of the connection", lambda: not client.connected)
        late = IoTHubDeviceClient.create_from_symmetric_key(
            keys.primary_key, self.site.hub["hostName"], device, **self.options
        )
        self.addCleanup(late.shutdown)
        with self.assertRaises(exceptions.CredentialError):
            late.connect()

    def test_a_second_connection_ends_the_first(self):
        client, device = self.connected("py-twice")
        dropped = queue.Queue()
        client.on_connection_state_change = lambda: dropped.put(client.connected)
        key = self.site.device_key(device)
        second = IoTHubDeviceClient.create_from_symmetric_key(
            key, self.site.hub["hostName"], device, connection_retry=False, **self.options
        )
        self.addCleanup(second.shutdown)
        second.connect()
        self.assertFalse(dropped.get(timeout=DEADLINE))

    def test_a_short_token_is_renewed_by_reconnecting(self):
        registration = self.site.register(new_id("py-renew"), **self.options)
        # The SDK renews 120 s before the end: this token is old at once.
        client = self.site.device_client(registration, sastoken_ttl=121, **self.options)
        self.addCleanup(client.shutdown)
        states = queue.Queue()
        client.on_connection_state_change = lambda: states.put(client.connected)
        client.connect()
        self.assertTrue(states.get(timeout=DEADLINE))
        self.assertFalse(states.get(timeout=DEADLINE), "disconnects to renew")
        self.assertTrue(states.get(timeout=DEADLINE), "comes back with a new token")
        client.send_message(telemetry(3.5))
        device = registration.device_id
        eventually("the temperature", lambda: self.site.digital_twin(device).get("Temperature") == 3.5)

    def test_a_module_has_a_twin_of_its_own_and_does_not_touch_the_digital_twin(self):
        _, device = self.connected("py-module")
        module = self.registry.create_module_with_sas(device, "m1", "", "", "")
        key = module.authentication.symmetric_key.primary_key
        host = self.site.hub["hostName"]
        client = IoTHubModuleClient.create_from_connection_string(
            f"HostName={host};DeviceId={device};ModuleId=m1;SharedAccessKey={key}", **self.options
        )
        self.addCleanup(client.shutdown)
        client.connect()
        client.send_message(telemetry(99))
        client.patch_twin_reported_properties({"of": "module"})
        self.assertEqual(self.registry.get_module_twin(device, "m1").properties.reported["of"], "module")
        self.assertNotIn("of", self.registry.get_twin(device).properties.reported)
        client.on_method_request_received = lambda request: client.send_method_response(
            MethodResponse.create_from_method_request(request, 200, "module")
        )
        client.get_twin()
        result = self.registry.invoke_device_module_method(device, "m1", CloudToDeviceMethod(method_name="who"))
        self.assertEqual((result.status, result.payload), (200, "module"))
        self.registry.delete_module(device, "m1")
        self.assertNotIn("Temperature", self.site.digital_twin(device))

    def test_the_asynchronous_client(self):
        registration = self.site.register(new_id("py-async"), **self.options)
        device = registration.device_id

        async def session():
            client = AsyncDeviceClient.create_from_symmetric_key(
                self.site.device_key(device), registration.assigned_hub, device, **self.options
            )
            await client.connect()
            await client.patch_twin_reported_properties({"by": "async"})
            await asyncio.gather(*(client.send_message(telemetry(float(n))) for n in range(20)))
            twin = await client.get_twin()
            await client.shutdown()
            return twin

        self.assertEqual(asyncio.run(session())["reported"], {"by": "async", "$version": 2})
        eventually("a temperature", lambda: "Temperature" in self.site.digital_twin(device))


class DeviceOverWebSockets(Device):
    options = {"websockets": True}
