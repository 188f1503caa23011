'use strict';

// A device goes on after local-azure was killed and started again with the same --data-dir, without being told.

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');

const { Message } = require('azure-iot-device');

const { Site, device, eventually, newId, provisioning } = require('../iot/local_azure.js');

// A local-azure with a folder of its own; its certificate is signed by the authority of the environment's.
class LocalAzure {
  constructor() {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'local-azure-'));
    // Where `.local-azure/ca/ca.pem` is.
    this.root = path.resolve(process.env.NODE_EXTRA_CA_CERTS, '../../..');
  }

  // Starts it, and waits until everything is ready.
  async start() {
    const endpoints = path.join(this.folder, 'endpoints.json');
    fs.rmSync(endpoints, { force: true });
    const ports = '--https-port 443 --mqtt-port 8883 --functions-port 0 --control-port 0'.split(' ');
    const data = ['--data-dir', path.join(this.folder, 'data'), '--endpoints-file', endpoints];
    this.process = spawn(process.env.LOCAL_AZURE, ['up', ...ports, ...data], {
      cwd: this.root,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    await eventually('the start of local-azure', () => fs.existsSync(endpoints) || this.process.exitCode !== null);
    assert.equal(this.process.exitCode, null, 'local-azure does not start');
    return new Site(JSON.parse(fs.readFileSync(endpoints, 'utf8')));
  }

  async kill() {
    if (!this.process) return;
    const ended = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await ended;
    this.process = null;
  }
}

const TRANSPORTS = {
  MQTT: [device.Mqtt, provisioning.Mqtt],
  WebSocket: [device.MqttWs, provisioning.MqttWs],
};

for (const [name, [Transport, Provisioning]] of Object.entries(TRANSPORTS)) {
  test(`a device over ${name} survives a restart`, async () => {
    const localAzure = new LocalAzure();
    let client;
    try {
      let site = await localAzure.start();
      const registration = await site.register(newId('node-restart'), new Provisioning());
      const id = registration.deviceId;
      client = site.deviceClient(registration, Transport);
      await client.open();
      client.onDeviceMethod('any', (request, response) => response.send(200, 'still here', () => {}));
      const twin = await client.getTwin();
      const patches = [];
      twin.on('properties.desired', (patch) => patches.push(patch));
      await client.sendEvent(new Message(JSON.stringify({ Temperature: 20.5 })));
      await eventually('a temperature', async () => (await site.digitalTwin(id)).Temperature === 20.5);

      await localAzure.kill();
      site = await localAzure.start();
      assert.equal((await site.digitalTwin(id)).Temperature, 20.5);
      // The SDK's own retries bring the message there.
      await client.sendEvent(new Message(JSON.stringify({ Temperature: 21.5 })));
      await eventually('the next temperature', async () => (await site.digitalTwin(id)).Temperature === 21.5);

      await site.registry().updateTwin(id, { properties: { desired: { after: true } } }, '*');
      await eventually('the patch', () => patches.some((patch) => patch.after === true));
      const call = { methodName: 'any', connectTimeoutInSeconds: 30 };
      const { result } = await site.serviceClient().invokeDeviceMethod(id, call);
      assert.equal(result.payload, 'still here');
    } finally {
      if (client) await client.close();
      await localAzure.kill();
      fs.rmSync(localAzure.folder, { recursive: true, force: true });
    }
  });
}
