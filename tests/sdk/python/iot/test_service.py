"""azure-iot-hub: the registry, device twins and queries of IoT Hub's service API."""

import unittest

from azure.iot.hub.models import (
    AuthenticationMechanism,
    CloudToDeviceMethod,
    ExportImportDevice,
    QuerySpecification,
    SymmetricKey,
    Twin,
    TwinProperties,
)
from msrest.exceptions import HttpOperationError

from iot.local_azure import Site, eventually, new_id

PRIMARY = "cHJpbWFyeSBwcmltYXJ5IHByaW1hcnk="
SECONDARY = "c2Vjb25kYXJ5IHNlY29uZGFyeSBzZWM="


class Service(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.site = Site.of_environment()
        cls.registry = cls.site.registry()

    def create(self, kind, status="enabled"):
        return self.registry.create_device_with_sas(new_id(kind), PRIMARY, SECONDARY, status)

    def fails(self, status, call, *arguments, **named):
        with self.assertRaises(HttpOperationError) as caught:
            call(*arguments, **named)
        self.assertEqual(caught.exception.response.status_code, status)
        return caught.exception

    def query(self, text, **options):
        """All pages of a query."""
        items, token = [], None
        while True:
            page = self.registry.query_iot_hub(QuerySpecification(query=text), token, **options)
            items += page.items
            token = page.continuation_token
            if not token:
                return items

    def test_the_life_of_an_identity(self):
        made = self.create("py-identity")
        self.assertEqual((made.status, made.connection_state), ("enabled", "Disconnected"))
        self.assertEqual(made.authentication.symmetric_key.primary_key, PRIMARY)
        self.fails(409, self.registry.create_device_with_sas, made.device_id, "", "", "enabled")

        update = self.registry.update_device_with_sas
        changed = update(made.device_id, made.etag, SECONDARY, PRIMARY, "disabled", status_reason="lost")
        self.assertEqual((changed.status, changed.status_reason), ("disabled", "lost"))
        self.assertEqual(changed.generation_id, made.generation_id)
        self.assertNotEqual(changed.etag, made.etag)
        self.fails(412, update, made.device_id, made.etag, PRIMARY, SECONDARY, "enabled")
        self.assertEqual(self.registry.get_device(made.device_id).authentication.symmetric_key.primary_key, SECONDARY)
        self.assertIn(made.device_id, [device.device_id for device in self.registry.get_devices()])

        self.fails(412, self.registry.delete_device, made.device_id, etag=made.etag)
        self.registry.delete_device(made.device_id, etag=changed.etag)
        self.fails(404, self.registry.get_device, made.device_id)
        self.fails(404, self.registry.delete_device, made.device_id)
        again = self.registry.create_device_with_sas(made.device_id, "", "", "enabled")
        self.assertNotEqual(again.generation_id, made.generation_id)
        self.assertTrue(again.authentication.symmetric_key.primary_key, "keys are generated")

    def test_modules(self):
        device = self.create("py-modules").device_id
        made = self.registry.create_module_with_sas(device, "m1", "me", PRIMARY, SECONDARY)
        self.assertEqual((made.device_id, made.module_id, made.managed_by), (device, "m1", "me"))
        self.fails(409, self.registry.create_module_with_sas, device, "m1", "", "", "")
        changed = self.registry.update_module_with_sas(device, "m1", "you", made.etag, SECONDARY, PRIMARY)
        self.assertEqual(changed.authentication.symmetric_key.primary_key, SECONDARY)
        self.assertEqual([module.module_id for module in self.registry.get_modules(device)], ["m1"])
        self.registry.update_module_twin(device, "m1", Twin(tags={"a": 1}), etag="*")
        self.assertEqual(self.registry.get_module_twin(device, "m1").tags, {"a": 1})
        self.registry.delete_module(device, "m1")
        self.fails(404, self.registry.get_module, device, "m1")

    def test_device_twins(self):
        device = self.create("py-twin").device_id
        first = self.registry.get_twin(device)
        desired = TwinProperties(desired={"interval": 5, "nested": {"a": 1, "b": 2}})
        second = self.registry.update_twin(device, Twin(tags={"floor": 3}, properties=desired), first.etag)
        self.assertEqual((second.tags, second.properties.desired["interval"]), ({"floor": 3}, 5))
        self.fails(412, self.registry.update_twin, device, Twin(tags={"floor": 4}), first.etag)
        self.fails(400, self.registry.update_twin, device, Twin(tags={"a.b": 4}), "*")
        third = self.registry.replace_twin(device, Twin(tags={"room": "x"}), "*")
        self.assertEqual(third.tags, {"room": "x"})
        self.assertNotIn("interval", third.properties.desired)
        self.fails(404, self.registry.get_twin, new_id("py-nobody"))

    def test_bulk_operations(self):
        ids = [new_id("py-bulk") for _ in range(3)]
        keys = AuthenticationMechanism(type="sas", symmetric_key=SymmetricKey(primary_key="", secondary_key=""))

        def bulk(mode, **members):
            devices = [ExportImportDevice(id=id, import_mode=mode, authentication=keys, **members) for id in ids]
            return self.registry.bulk_create_or_update_devices(devices)

        self.assertTrue(bulk("create", status="enabled").is_successful)
        self.assertTrue(bulk("update", status="disabled").is_successful)
        self.assertEqual(self.registry.get_device(ids[1]).status, "disabled")
        self.assertTrue(bulk("updateTwin", tags={"of": "bulk"}).is_successful)
        self.assertEqual(self.registry.get_twin(ids[1]).tags, {"of": "bulk"})
        self.registry.delete_device(ids[0])
        once_more = bulk("delete")
        self.assertFalse(once_more.is_successful)
        self.assertEqual([(error.device_id, error.error_code) for error in once_more.errors], [(ids[0], "404001")])
        self.fails(404, self.registry.get_device, ids[2])

    def test_queries(self):
        site = new_id("py-site")
        devices = {name: self.create(f"py-{name}", "disabled" if name == "c" else "enabled").device_id for name in "abc"}
        for floor, name in enumerate("abc"):
            twin = Twin(tags={"site": site, "floor": floor}, properties=TwinProperties(desired={"every": {"s": floor}}))
            self.registry.update_twin(devices[name], twin, "*")

        def found(condition):
            query = f"SELECT * FROM devices WHERE tags.site = '{site}' AND {condition}"
            return {name for name, id in devices.items() if id in [twin.device_id for twin in self.query(query)]}

        self.assertEqual(found("status = 'enabled'"), {"a", "b"})
        self.assertEqual(found("tags.floor >= 1"), {"b", "c"})
        self.assertEqual(found("properties.desired.every.s IN [0, 2]"), {"a", "c"})
        self.assertEqual(found("NOT is_defined(properties.reported.x) AND (tags.floor = 0 OR tags.floor = 1)"), {"a", "b"})
        self.assertEqual(found(f"deviceId != '{devices['a']}'"), {"b", "c"})
        all_pages = self.query(f"SELECT * FROM devices WHERE tags.site = '{site}'", max_item_count=1)
        self.assertEqual(len(all_pages), 3)
        self.fails(400, self.registry.query_iot_hub, QuerySpecification(query="SELECT * FROM nowhere"))

    def test_statistics(self):
        before = self.registry.get_device_registry_statistics()
        self.create("py-counted")
        self.create("py-counted", "disabled")
        after = self.registry.get_device_registry_statistics()
        self.assertEqual(after.total_device_count - before.total_device_count, 2)
        self.assertEqual(after.disabled_device_count - before.disabled_device_count, 1)
        self.assertEqual(after.enabled_device_count - before.enabled_device_count, 1)
        self.assertIsInstance(self.registry.get_service_statistics().connected_device_count, int)

    def test_a_method_of_a_device_that_is_away(self):
        device = self.create("py-away").device_id
        error = self.fails(404, self.registry.invoke_device_method, device, CloudToDeviceMethod(method_name="any"))
        self.assertIn("404103", error.response.text)
        self.fails(404, self.registry.invoke_device_method, new_id("py-nobody"), CloudToDeviceMethod(method_name="any"))

    def test_deleting_a_device_ends_its_digital_twin(self):
        device = self.site.register(new_id("py-deleted")).device_id
        self.assertIsNotNone(self.site.digital_twin(device))
        self.registry.delete_device(device)
        eventually("the end of the digital twin", lambda: self.site.digital_twin(device) is None)
