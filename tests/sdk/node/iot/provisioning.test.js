'use strict';

// azure-iot-provisioning-device over its three transports: what a registration gives, and how it fails.

const assert = require('node:assert/strict');
const { before, describe, test } = require('node:test');

const { Http, Site, THERMOSTAT, newId, provisioning } = require('./local_azure.js');

const TRANSPORTS = { MQTT: provisioning.Mqtt, WebSocket: provisioning.MqttWs, HTTPS: Http };

for (const [name, Transport] of Object.entries(TRANSPORTS)) {
  describe(`provisioning over ${name}`, () => {
    let site;
    before(() => {
      site = Site.ofEnvironment();
    });

    test('a registration gives hub, device id and what the webhook says', async () => {
      const id = newId('node-Device');
      const state = await site.register(id, new Transport());
      assert.deepEqual([state.status, state.assignedHub, state.deviceId], ['assigned', site.hub.hostName, id]);
      assert.equal(state.substatus, 'initialAssignment');
      assert.deepEqual(state.payload, { dtId: id.toLowerCase() });
      const twin = await site.digitalTwin(id.toLowerCase());
      assert.equal(twin.$metadata.$model, THERMOSTAT);
    });

    test('a device that registers again keeps its hub', async () => {
      const id = newId('node-again');
      const first = await site.register(id, new Transport());
      const second = await site.register(id, new Transport());
      assert.deepEqual([second.assignedHub, second.createdDateTimeUtc], [first.assignedHub, first.createdDateTimeUtc]);
    });

    test('a wrong key is unauthorized', async () => {
      const client = site.provisioningClient(newId('node-stranger'), new Transport(), 'c3RyYW5nZXIgc3RyYW5nZXIgc3Q=');
      await assert.rejects(client.register(), { name: 'UnauthorizedError' });
    });

    test('what the webhook refuses is a failed registration with its code', async () => {
      const client = site.provisioningClient(newId('node-no-model'), new Transport());
      client.setProvisioningPayload({ modelId: 'dtmi:contosocom:DigitalTwins:Nothing;1' });
      await assert.rejects(client.register(), (error) => {
        assert.equal(error.name, 'ProvisioningRegistrationFailedError');
        const { status, registrationState } = error.result;
        assert.deepEqual([status, registrationState.errorCode], ['failed', 400207]);
        assert.equal(registrationState.errorMessage, 'Custom allocation failed with status code: 400');
        return true;
      });
    });
  });
}
