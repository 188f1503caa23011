"""A device goes on after local-azure was killed and started again with the same --data-dir, without being told."""

import json
import os
import queue
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

from azure.iot.device import Message, MethodResponse
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties

from iot.local_azure import DEADLINE, Site, eventually, new_id


class LocalAzure:
    """A local-azure with a folder of its own; its certificate is signed by the authority of the environment's."""

    def __init__(self, folder):
        self.folder = Path(folder)
        # Where `.local-azure/ca/ca.pem` is.
        self.root = Path(os.environ["SSL_CERT_FILE"]).parents[2]
        self.process = None

    def start(self):
        """Starts it, and waits until everything is ready."""
        endpoints = self.folder / "endpoints.json"
        endpoints.unlink(missing_ok=True)
        ports = "--https-port 443 --mqtt-port 8883 --functions-port 0 --control-port 0"
        data = ["--data-dir", self.folder / "data", "--endpoints-file", endpoints]
        self.process = subprocess.Popen([os.environ["LOCAL_AZURE"], "up", *ports.split(), *data], cwd=self.root)
        eventually("the start of local-azure", lambda: endpoints.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, "local-azure does not start"
        return Site(json.loads(endpoints.read_text()))

    def kill(self):
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


class Restart(unittest.TestCase):
    def check(self, **options):
        with tempfile.TemporaryDirectory() as folder:
            local_azure = LocalAzure(folder)
            try:
                self.go_on(local_azure, **options)
            finally:
                local_azure.kill()

    def go_on(self, local_azure, **options):
        site = local_azure.start()
        registration = site.register(new_id("py-restart"), **options)
        device = registration.device_id
        client = site.device_client(registration, **options)
        self.addCleanup(client.shutdown)
        patches = queue.Queue()
        client.on_twin_desired_properties_patch_received = patches.put
        client.on_method_request_received = lambda request: client.send_method_response(
            MethodResponse.create_from_method_request(request, 200, "still here")
        )
        client.patch_twin_reported_properties({"before": True})
        client.send_message(Message(json.dumps({"Temperature": 20.5})))
        eventually("a temperature", lambda: site.digital_twin(device).get("Temperature") == 20.5)

        local_azure.kill()
        eventually("the end of the connection", lambda: not client.connected)
        site = local_azure.start()
        self.assertEqual(site.digital_twin(device)["Temperature"], 20.5)
        eventually("a new connection", lambda: client.connected)
        client.send_message(Message(json.dumps({"Temperature": 21.5})))
        eventually("the next temperature", lambda: site.digital_twin(device).get("Temperature") == 21.5)

        registry = site.registry()
        self.assertTrue(registry.get_twin(device).properties.reported["before"])
        registry.update_twin(device, Twin(properties=TwinProperties(desired={"after": True})), "*")
        self.assertTrue(patches.get(timeout=DEADLINE)["after"])
        self.assertEqual(
            registry.invoke_device_method(device, CloudToDeviceMethod(method_name="any")).payload, "still here"
        )

    def test_over_mqtt(self):
        self.check()

    def test_over_web_sockets(self):
        self.check(websockets=True)
