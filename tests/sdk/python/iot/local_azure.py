"""The local-azure that the suites run against, and what they look up behind the SDKs' backs."""

import base64
import hashlib
import hmac
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

from azure.iot.device import IoTHubDeviceClient, ProvisioningDeviceClient
from azure.iot.hub import IoTHubRegistryManager

THERMOSTAT = "dtmi:contosocom:DigitalTwins:Thermostat;2"
# azure-iot-device connects to these and no others.
PORTS = {"httpsPort": 443, "mqttPort": 8883}
# How long anything may take on a busy machine, in seconds.
DEADLINE = 60


class Site:
    """A running local-azure, as its endpoints file describes it."""

    def __init__(self, endpoints):
        self.endpoints = endpoints
        self.dps = endpoints["dps"]
        self.hub = endpoints["iotHubs"][0]
        ports = {name: self.hub[name] for name in PORTS}
        if ports != PORTS:
            raise RuntimeError(
                f"local-azure listens on {ports}, azure-iot-device connects to {PORTS} only: start it with --https-port"
                " 443 --mqtt-port 8883, as root or where net.ipv4.ip_unprivileged_port_start is at most 443"
            )

    @classmethod
    def of_environment(cls):
        """The one that `local-azure exec` started for this process."""
        return cls(json.loads(Path(os.environ["LOCAL_AZURE_ENDPOINTS"]).read_text()))

    def device_key(self, registration_id):
        """A device's own key, derived from that of the enrollment group."""
        group_key = base64.b64decode(self.dps["primaryKey"])
        return base64.b64encode(hmac.digest(group_key, registration_id.encode(), hashlib.sha256)).decode()

    def provisioning_client(self, registration_id, key=None, **options):
        return ProvisioningDeviceClient.create_from_symmetric_key(
            self.dps["host"],
            registration_id,
            self.dps["idScope"],
            key or self.device_key(registration_id),
            **options,
        )

    def register(self, registration_id, **options):
        """Registers a thermostat; gives its registration's state."""
        client = self.provisioning_client(registration_id, **options)
        client.provisioning_payload = {"modelId": THERMOSTAT}
        result = client.register()
        assert result.status == "assigned", result
        return result.registration_state

    def device_client(self, registration, **options):
        """A registered device at its hub, not yet connected."""
        return IoTHubDeviceClient.create_from_symmetric_key(
            self.device_key(registration.device_id), registration.assigned_hub, registration.device_id, **options
        )

    def registry(self):
        return IoTHubRegistryManager.from_connection_string(self.hub["serviceConnectionString"])

    def enroll(self, kind, name, document):
        """Makes an enrollment (`enrollments`, `enrollmentGroups`) that the function app allocates; gives it as shown."""
        webhook = {"webhookUrl": self.endpoints["webhookUrl"], "apiVersion": "2021-10-01"}
        custom = {"allocationPolicy": "custom", "customAllocationDefinition": webhook}
        return self._dps_service("PUT", kind, name, {**document, **custom})

    def unenroll(self, kind, name):
        self._dps_service("DELETE", kind, name)

    def _dps_service(self, method, kind, name, document=None):
        """Calls DPS' service API, for which Python has no SDK that is kept up."""
        parts = dict(part.split("=", 1) for part in self.dps["serviceConnectionString"].split(";"))
        host, expiry = parts["HostName"], int(time.time()) + 600
        key = base64.b64decode(parts["SharedAccessKey"])
        signature = base64.b64encode(hmac.digest(key, f"{host}\n{expiry}".encode(), hashlib.sha256))
        token = urllib.parse.urlencode({"sr": host, "sig": signature, "se": expiry, "skn": parts["SharedAccessKeyName"]})
        request = urllib.request.Request(
            f"https://{host}/{kind}/{name}?api-version=2021-10-01",
            data=document and json.dumps(document).encode(),
            headers={"Authorization": f"SharedAccessSignature {token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request) as response:
            return json.loads(response.read() or "null")

    def digital_twin(self, twin_id):
        """The digital twin, None if there is none."""
        request = urllib.request.Request(
            f"{self.endpoints['digitalTwins']}/digitaltwins/{twin_id}?api-version=2023-10-31",
            headers={"Authorization": f"Bearer {self.endpoints['digitalTwinsToken']}"},
        )
        try:
            with urllib.request.urlopen(request) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def send_to_device(self, device_id, body, **members):
        """Sends a message to a device: services do so over AMQP in Azure, which local-azure does not have."""
        message = {"deviceId": device_id, "body": body, **members}
        request = urllib.request.Request(
            f"{self.endpoints['control']}/control/c2d",
            data=json.dumps(message).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as response:
            assert response.status == 202, response.status


def new_id(kind):
    """An id that no other test uses."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def eventually(what, look):
    """Looks again and again until there is something, and gives it."""
    deadline = time.monotonic() + DEADLINE
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {DEADLINE} s")
        time.sleep(0.05)
