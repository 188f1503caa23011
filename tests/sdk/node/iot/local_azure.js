'use strict';

// The local-azure that the suites run against, and what they look up behind the SDKs' backs.

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const { setTimeout: sleep } = require('node:timers/promises');

const { Client } = require('azure-iot-device');
const device = require('azure-iot-device-mqtt');
const provisioning = require('azure-iot-provisioning-device-mqtt');
const { Http } = require('azure-iot-provisioning-device-http');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const iothub = require('azure-iothub');

const THERMOSTAT = 'dtmi:contosocom:DigitalTwins:Thermostat;2';
// The SDKs connect to these over WebSocket and HTTPS, and to no others.
const PORTS = { httpsPort: 443, mqttPort: 8883 };
// How long anything may take on a busy machine, in milliseconds.
const DEADLINE = 60_000;

// A running local-azure, as its endpoints file describes it.
class Site {
  constructor(endpoints) {
    this.endpoints = endpoints;
    this.dps = endpoints.dps;
    this.hub = endpoints.iotHubs[0];
    const ports = { httpsPort: this.hub.httpsPort, mqttPort: this.hub.mqttPort };
    assert.deepEqual(
      ports,
      PORTS,
      `local-azure listens on ${JSON.stringify(ports)}, the SDKs connect to ${JSON.stringify(PORTS)} only: start it with ` +
        '--https-port 443 --mqtt-port 8883, as root or where net.ipv4.ip_unprivileged_port_start is at most 443',
    );
  }

  // The one that `local-azure exec` started for this process.
  static ofEnvironment() {
    return new Site(JSON.parse(fs.readFileSync(process.env.LOCAL_AZURE_ENDPOINTS, 'utf8')));
  }

  // A device's own key, derived from that of the enrollment group.
  deviceKey(registrationId) {
    return crypto
      .createHmac('sha256', Buffer.from(this.dps.primaryKey, 'base64'))
      .update(registrationId, 'utf8')
      .digest('base64');
  }

  provisioningClient(registrationId, transport, key = this.deviceKey(registrationId)) {
    const security = new SymmetricKeySecurityClient(registrationId, key);
    return ProvisioningDeviceClient.create(this.dps.host, this.dps.idScope, transport, security);
  }

  // Registers a thermostat; gives its registration's state.
  register(registrationId, transport = new provisioning.Mqtt()) {
    const client = this.provisioningClient(registrationId, transport);
    client.setProvisioningPayload({ modelId: THERMOSTAT });
    return client.register();
  }

  // A registered device at its hub, not yet connected.
  deviceClient(registration, transport = device.Mqtt) {
    const { assignedHub, deviceId } = registration;
    const key = this.deviceKey(deviceId);
    return Client.fromConnectionString(`HostName=${assignedHub};DeviceId=${deviceId};SharedAccessKey=${key}`, transport);
  }

  registry() {
    return iothub.Registry.fromConnectionString(this.hub.serviceConnectionString);
  }

  // Calls methods. Its messages to devices travel over AMQP, which local-azure does not have.
  serviceClient() {
    return iothub.Client.fromConnectionString(this.hub.serviceConnectionString);
  }

  // The digital twin, null if there is none.
  async digitalTwin(twinId) {
    const url = `${this.endpoints.digitalTwins}/digitaltwins/${twinId}?api-version=2023-10-31`;
    const answer = await fetch(url, { headers: { authorization: `Bearer ${this.endpoints.digitalTwinsToken}` } });
    if (answer.status === 404) return null;
    assert.equal(answer.status, 200);
    return answer.json();
  }

  async sendToDevice(message) {
    const answer = await fetch(`${this.endpoints.control}/control/c2d`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(message),
    });
    assert.equal(answer.status, 202);
  }
}

// An id that no other test uses.
function newId(kind) {
  return `${kind}-${crypto.randomUUID().slice(0, 13)}`;
}

// Looks again and again until there is something, and gives it.
async function eventually(what, look) {
  const deadline = Date.now() + DEADLINE;
  for (;;) {
    const found = await look();
    if (found) return found;
    assert.ok(Date.now() < deadline, `${what} did not happen within ${DEADLINE} ms`);
    await sleep(50);
  }
}

module.exports = { DEADLINE, Http, Site, THERMOSTAT, device, eventually, newId, provisioning };
