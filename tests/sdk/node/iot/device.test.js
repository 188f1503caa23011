'use strict';

// azure-iot-device over MQTT and WebSocket: the whole loop, and the corners of IoT Hub's device side.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { after, before, describe, test } = require('node:test');

const { NoRetry } = require('azure-iot-common');
const { Client, Message, ModuleClient } = require('azure-iot-device');

const { Site, device, eventually, newId, provisioning } = require('./local_azure.js');

const TRANSPORTS = {
  MQTT: [device.Mqtt, provisioning.Mqtt],
  WebSocket: [device.MqttWs, provisioning.MqttWs],
};

function telemetry(temperature) {
  const message = new Message(JSON.stringify({ Temperature: temperature }));
  message.contentType = 'application/json';
  message.contentEncoding = 'utf-8';
  message.properties.add('unit', '°C & more');
  return message;
}

// Without the SDK's minutes of retries.
function openOnce(client) {
  client.setRetryPolicy(new NoRetry());
  return client.open();
}

for (const [name, [Transport, Provisioning]] of Object.entries(TRANSPORTS)) {
  describe(`a device over ${name}`, () => {
    let site, registry, service;
    const open = [];

    before(() => {
      site = Site.ofEnvironment();
      registry = site.registry();
      service = site.serviceClient();
    });

    after(async () => {
      await Promise.all(open.map((client) => client.close()));
    });

    // A registered, connected device and its id.
    async function connected(kind) {
      const registration = await site.register(newId(kind), new Provisioning());
      const client = site.deviceClient(registration, Transport);
      await client.open();
      open.push(client);
      return [client, registration.deviceId];
    }

    test('the whole loop', async () => {
      const [client, id] = await connected('node-loop');
      await client.sendEvent(telemetry(21.25));
      await Promise.all([22, 23, 24].map((temperature) => client.sendEvent(telemetry(temperature))));
      await client.sendEvent(telemetry(22.5));
      await eventually('the last temperature', async () => (await site.digitalTwin(id)).Temperature === 22.5);

      const twin = await client.getTwin();
      const update = (patch) =>
        new Promise((resolve, reject) => {
          twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve()));
        });
      await update({ firmware: { version: '1.2' }, gone: 1 });
      await update({ gone: null });
      const { responseBody: seen } = await registry.getTwin(id);
      assert.deepEqual(seen.properties.reported.firmware, { version: '1.2' });
      assert.equal(seen.properties.reported.gone, undefined);
      assert.deepEqual([seen.connectionState, seen.tags.dtId], ['Connected', id]);

      await registry.delete(id);
      await eventually('the end of the digital twin', async () => (await site.digitalTwin(id)) === null);
    });

    test('desired properties', async () => {
      const [client, id] = await connected('node-desired');
      const twin = await client.getTwin();
      const version = twin.properties.desired.$version;
      const received = [];
      twin.on('properties.desired', (patch) => received.push(patch));
      // The answer comes after the listener's subscription.
      await client.getTwin();
      await registry.updateTwin(id, { properties: { desired: { interval: 5, a: { b: 1 } } } }, '*');
      await eventually('the first patch', () => received.some((patch) => patch.$version === version + 1));
      await registry.updateTwin(id, { properties: { desired: { a: null } } }, '*');
      await eventually('the second patch', () => received.some((patch) => patch.$version === version + 2));
      assert.equal(twin.properties.desired.interval, 5);
      assert.equal(twin.properties.desired.a, undefined);
    });

    test('direct methods', async () => {
      const [client, id] = await connected('node-method');
      client.onDeviceMethod('setPoint', (request, response) => {
        response.send(213, { was: request.payload }, assert.ifError);
      });
      // The answer comes after the handler's subscription.
      await client.getTwin();
      for (const payload of [{ in: 5 }, 'text', [1, null]]) {
        const call = { methodName: 'setPoint', payload, responseTimeoutInSeconds: 30, connectTimeoutInSeconds: 30 };
        const { result } = await service.invokeDeviceMethod(id, call);
        assert.deepEqual(result, { status: 213, payload: { was: payload } });
      }
    });

    test('messages to the device', async () => {
      const [client, id] = await connected('node-c2d');
      const arrived = once(client, 'message');
      await site.sendToDevice({
        deviceId: id,
        body: { setPoint: 21 },
        contentType: 'application/json',
        messageId: 'm 1',
        properties: { 'a/b&c': '1+1=2 é' },
      });
      const [message] = await arrived;
      assert.deepEqual(JSON.parse(message.getData()), { setPoint: 21 });
      assert.equal(message.messageId, 'm 1');
      assert.equal(message.properties.getValue('a/b&c'), '1+1=2 é');
      await client.complete(message);
      await eventually('the end of the message', async () => {
        return (await registry.get(id)).responseBody.cloudToDeviceMessageCount === 0;
      });
    });

    test('a disabled device is put off and not let in', async () => {
      const [, id] = await connected('node-disabled');
      const { responseBody: identity } = await registry.get(id);
      await registry.update({ ...identity, status: 'disabled' });
      await eventually('the end of the connection', async () => {
        return (await registry.get(id)).responseBody.connectionState === 'Disconnected';
      });
      const late = site.deviceClient({ assignedHub: site.hub.hostName, deviceId: id }, Transport);
      await assert.rejects(openOnce(late), /Not authorized/);
    });

    test('a wrong key is not let in', async () => {
      const [, id] = await connected('node-wrong-key');
      const text = `HostName=${site.hub.hostName};DeviceId=${id};SharedAccessKey=c3RyYW5nZXIgc3RyYW5nZXIgc3Q=`;
      await assert.rejects(openOnce(Client.fromConnectionString(text, Transport)), /Not authorized/);
    });

    test('a module has a twin of its own and does not touch the digital twin', async () => {
      const [, id] = await connected('node-module');
      await registry.addModule({ deviceId: id, moduleId: 'm1' });
      const { responseBody: identity } = await registry.getModule(id, 'm1');
      const key = identity.authentication.symmetricKey.primaryKey;
      const text = `HostName=${site.hub.hostName};DeviceId=${id};ModuleId=m1;SharedAccessKey=${key}`;
      const client = ModuleClient.fromConnectionString(text, Transport);
      await client.open();
      open.push(client);
      await client.sendEvent(telemetry(99));
      const twin = await client.getTwin();
      await new Promise((resolve, reject) => {
        twin.properties.reported.update({ of: 'module' }, (error) => (error ? reject(error) : resolve()));
      });
      const { responseBody: seen } = await registry.getModuleTwin(id, 'm1');
      assert.equal(seen.properties.reported.of, 'module');
      client.onMethod('who', (request, response) => response.send(200, 'module', assert.ifError));
      await client.getTwin();
      const { result } = await service.invokeDeviceMethod(id, 'm1', { methodName: 'who', connectTimeoutInSeconds: 30 });
      assert.deepEqual(result, { status: 200, payload: 'module' });
      await registry.removeModule(id, 'm1');
      assert.equal((await site.digitalTwin(id)).Temperature, undefined);
    });
  });
}
