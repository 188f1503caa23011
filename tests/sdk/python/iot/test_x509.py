"""azure-iot-device with certificates: enrollments of one device and of a group, the hub, and who is not let in."""

import json
import tempfile
import unittest

from azure.iot.device import (
    IoTHubDeviceClient,
    IoTHubModuleClient,
    Message,
    ProvisioningDeviceClient,
    exceptions,
)
from cryptography.hazmat.primitives import hashes

from iot.certificates import YEAR, Certificate
from iot.local_azure import THERMOSTAT, Site, eventually, new_id


class Device(unittest.TestCase):
    """The same over both transports; the class below says WebSocket."""

    options = {}

    @classmethod
    def setUpClass(cls):
        cls.site = Site.of_environment()
        cls.registry = cls.site.registry()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name

    def enroll(self, name, certificate):
        """Lets the one device of this name and certificate register."""
        attestation = {"type": "x509", "x509": {"clientCertificates": {"primary": {"certificate": certificate.pem}}}}
        return self.site.enroll("enrollments", name, {"registrationId": name, "attestation": attestation})

    def enroll_group(self, signing):
        """Lets all devices register whose certificates lead to this one."""
        group = new_id("py-group")
        attestation = {"type": "x509", "x509": {"signingCertificates": {"primary": {"certificate": signing.pem}}}}
        enrolled = {"enrollmentGroupId": group, "attestation": attestation}
        self.addCleanup(self.site.unenroll, "enrollmentGroups", group)
        return self.site.enroll("enrollmentGroups", group, enrolled)

    def register(self, name, certificate):
        client = ProvisioningDeviceClient.create_from_x509_certificate(
            self.site.dps["host"],
            name,
            self.site.dps["idScope"],
            certificate.for_sdk(self.folder),
            **self.options,
        )
        client.provisioning_payload = {"modelId": THERMOSTAT}
        return client.register()

    def fails_to_register(self, name, certificate):
        with self.assertRaises(exceptions.ClientError) as caught:
            self.register(name, certificate)
        self.assertIn("401", str(caught.exception.__cause__))

    def client(self, name, certificate, **options):
        """A device at its hub, not yet connected."""
        client = IoTHubDeviceClient.create_from_x509_certificate(
            certificate.for_sdk(self.folder), self.site.hub["hostName"], name, **self.options, **options
        )
        self.addCleanup(client.shutdown)
        return client

    def check_the_whole_loop(self, name, certificate):
        """From registration to the digital twin."""
        result = self.register(name, certificate)
        state = result.registration_state
        self.assertEqual((result.status, state.device_id), ("assigned", name))
        self.assertEqual(state.assigned_hub, self.site.hub["hostName"])
        self.assertEqual(json.loads(state.response_payload), {"dtId": name.lower()})

        authentication = self.registry.get_device(name).authentication
        self.assertEqual(authentication.type, "selfSigned")
        self.assertEqual(authentication.x509_thumbprint.primary_thumbprint, certificate.thumbprint())
        self.assertEqual(self.registry.get_twin(name).authentication_type, "selfSigned")

        client = self.client(name, certificate)
        client.connect()
        client.send_message(Message(json.dumps({"Temperature": 21.5}), "utf-8", "application/json"))
        twin = name.lower()
        eventually("the temperature", lambda: self.site.digital_twin(twin).get("Temperature") == 21.5)
        client.patch_twin_reported_properties({"firmware": "1.2"})
        self.assertEqual(client.get_twin()["reported"], {"firmware": "1.2", "$version": 2})
        self.registry.delete_device(name)
        eventually("the end of the connection", lambda: not client.connected)

    def test_the_whole_loop_of_a_device_with_its_own_enrollment(self):
        name = new_id("py-x509")
        certificate = Certificate(name)
        enrolled = self.enroll(name, certificate)
        info = enrolled["attestation"]["x509"]["clientCertificates"]["primary"]["info"]
        self.assertEqual(info["sha1Thumbprint"], certificate.thumbprint(hashes.SHA1))
        self.assertEqual(info["sha256Thumbprint"], certificate.thumbprint())
        self.assertEqual((info["subjectName"], info["issuerName"]), (f"CN={name}", f"CN={name}"))
        self.check_the_whole_loop(name, certificate)

    def test_the_whole_loop_of_a_device_of_a_group(self):
        name = new_id("py-x509")
        factory = Certificate(new_id("factory"), authority=True)
        self.enroll_group(factory)
        self.check_the_whole_loop(name, Certificate(name, issuer=factory))

    def test_the_whole_loop_of_a_device_whose_chain_leads_to_the_groups_root(self):
        name = new_id("py-x509")
        root = Certificate(new_id("root"), authority=True)
        factory = Certificate(new_id("factory"), issuer=root, authority=True)
        self.enroll_group(root)
        self.check_the_whole_loop(name, Certificate(name, issuer=factory))

    def test_another_certificate_of_the_same_name_is_unauthorized(self):
        name = new_id("py-x509")
        self.enroll(name, Certificate(name))
        self.fails_to_register(name, Certificate(name))

    def test_a_group_takes_neither_strangers_nor_other_names_nor_what_has_expired(self):
        name = new_id("py-x509")
        factory = Certificate(new_id("factory"), authority=True)
        self.enroll_group(factory)
        namesake = Certificate(factory.certificate.subject.rfc4514_string().removeprefix("CN="), authority=True)
        self.fails_to_register(name, Certificate(name, issuer=namesake))
        self.fails_to_register(name, Certificate(new_id("py-x509"), issuer=factory))
        self.fails_to_register(name, Certificate(name, issuer=factory, validity=(-2 * YEAR, -YEAR)))

    def test_a_device_of_the_registry_alone(self):
        name = new_id("py-x509")
        first, second = Certificate(name), Certificate(name)
        thumbprints = first.thumbprint(hashes.SHA1), second.thumbprint()
        made = self.registry.create_device_with_x509(name, *thumbprints, "enabled")
        shown = made.authentication.x509_thumbprint
        self.assertEqual((made.authentication.type, shown.primary_thumbprint), ("selfSigned", thumbprints[0]))
        self.assertEqual(shown.secondary_thumbprint, thumbprints[1])
        for certificate in first, second:
            client = self.client(name, certificate)
            client.connect()
            client.patch_twin_reported_properties({"by": certificate.thumbprint()})
        with self.assertRaises(exceptions.CredentialError):
            self.client(name, Certificate(name)).connect()
        key, host = "c3RyYW5nZXIgc3RyYW5nZXIgc3Q=", self.site.hub["hostName"]
        by_key = IoTHubDeviceClient.create_from_symmetric_key(key, host, name, **self.options)
        with self.assertRaises(exceptions.CredentialError):
            by_key.connect()

        disabled = self.registry.update_device_with_x509(name, "*", *thumbprints, "disabled")
        self.assertEqual(disabled.status, "disabled")
        with self.assertRaises(exceptions.CredentialError):
            self.client(name, first).connect()

    def test_a_certificate_does_not_stand_for_a_key(self):
        name = new_id("py-keys")
        self.registry.create_device_with_sas(name, "", "", "enabled")
        with self.assertRaises(exceptions.CredentialError):
            self.client(name, Certificate(name)).connect()

    def test_a_module(self):
        name = new_id("py-x509")
        certificate = Certificate(f"{name}/m1")
        thumbprint = certificate.thumbprint()
        self.registry.create_device_with_x509(name, Certificate(name).thumbprint(), None, "enabled")
        made = self.registry.create_module_with_x509(name, "m1", "me", thumbprint, thumbprint)
        self.assertEqual(made.authentication.type, "selfSigned")
        client = IoTHubModuleClient.create_from_x509_certificate(
            certificate.for_sdk(self.folder), self.site.hub["hostName"], name, "m1", **self.options
        )
        self.addCleanup(client.shutdown)
        client.connect()
        client.patch_twin_reported_properties({"of": "module"})
        self.assertEqual(self.registry.get_module_twin(name, "m1").properties.reported["of"], "module")


class DeviceOverWebSockets(Device):
    options = {"websockets": True}
