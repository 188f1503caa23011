'use strict';

// Devices with certificates: enrollments of one device and of a group, made with azure-iot-provisioning-service; the hub;
// and who is not let in.

const assert = require('node:assert/strict');
const { before, after, describe, test } = require('node:test');

const { NoRetry } = require('azure-iot-common');
const { Client, Message } = require('azure-iot-device');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');
const { X509Security } = require('azure-iot-security-x509');

const { Certificate } = require('./certificates.js');
const { Http, Site, THERMOSTAT, device, eventually, newId, provisioning } = require('./local_azure.js');

const TRANSPORTS = {
  MQTT: [device.Mqtt, provisioning.Mqtt],
  WebSocket: [device.MqttWs, provisioning.MqttWs],
  'MQTT after a registration over HTTPS': [device.Mqtt, Http],
};

// An enrollment that the function app allocates.
function custom(site, members) {
  const customAllocationDefinition = { webhookUrl: site.endpoints.webhookUrl, apiVersion: '2021-10-01' };
  return { allocationPolicy: 'custom', customAllocationDefinition, ...members };
}

function signedBy(certificate) {
  return { type: 'x509', x509: { signingCertificates: { primary: { certificate: certificate.pem } } } };
}

function oneOf(certificate) {
  return { type: 'x509', x509: { clientCertificates: { primary: { certificate: certificate.pem } } } };
}

for (const [name, [Transport, Provisioning]] of Object.entries(TRANSPORTS)) {
  describe(`a certificate over ${name}`, () => {
    let site, registry, enrollments;
    const open = [];

    before(() => {
      site = Site.ofEnvironment();
      registry = site.registry();
      enrollments = ProvisioningServiceClient.fromConnectionString(site.dps.serviceConnectionString);
    });

    after(async () => {
      await Promise.all(open.map((client) => client.close()));
    });

    function register(id, certificate) {
      const security = new X509Security(id, certificate.forSdk());
      const { host, idScope } = site.dps;
      const client = ProvisioningDeviceClient.create(host, idScope, new Provisioning(), security);
      client.setProvisioningPayload({ modelId: THERMOSTAT });
      return client.register();
    }

    // A device at its hub, not yet connected, without the SDK's minutes of retries.
    function deviceClient(id, certificate) {
      const text = `HostName=${site.hub.hostName};DeviceId=${id};x509=true`;
      const client = Client.fromConnectionString(text, Transport);
      client.setOptions(certificate.forSdk());
      client.setRetryPolicy(new NoRetry());
      return client;
    }

    // From registration to the digital twin.
    async function wholeLoop(id, certificate) {
      const state = await register(id, certificate);
      assert.deepEqual([state.status, state.assignedHub, state.deviceId], ['assigned', site.hub.hostName, id]);
      assert.deepEqual(state.payload, { dtId: id.toLowerCase() });
      const { responseBody: identity } = await registry.get(id);
      assert.equal(identity.authentication.type, 'selfSigned');
      assert.equal(identity.authentication.x509Thumbprint.primaryThumbprint, certificate.thumbprint());

      const client = deviceClient(id, certificate);
      await client.open();
      open.push(client);
      const message = new Message(JSON.stringify({ Temperature: 21.5 }));
      message.contentType = 'application/json';
      message.contentEncoding = 'utf-8';
      await client.sendEvent(message);
      await eventually('the temperature', async () => (await site.digitalTwin(id.toLowerCase())).Temperature === 21.5);
      const twin = await client.getTwin();
      await new Promise((resolve, reject) => {
        twin.properties.reported.update({ firmware: '1.2' }, (error) => (error ? reject(error) : resolve()));
      });
      assert.equal((await registry.getTwin(id)).responseBody.properties.reported.firmware, '1.2');
    }

    test('the whole loop of a device with its own enrollment', async () => {
      const registrationId = newId('node-x509');
      const certificate = new Certificate(registrationId);
      const wanted = custom(site, { registrationId, attestation: oneOf(certificate) });
      const { responseBody: made } = await enrollments.createOrUpdateIndividualEnrollment(wanted);
      const { info } = made.attestation.x509.clientCertificates.primary;
      assert.deepEqual(
        [info.sha1Thumbprint, info.sha256Thumbprint],
        [certificate.thumbprint('sha1'), certificate.thumbprint()],
      );
      await wholeLoop(registrationId, certificate);
      await enrollments.deleteIndividualEnrollment(made);
    });

    test('the whole loop of the devices of a group whose certificates are rolled', async () => {
      const enrollmentGroupId = newId('node-group');
      const root = new Certificate(newId('root'), { authority: true });
      const factory = new Certificate(newId('factory'), { issuer: root, authority: true });
      const next = new Certificate(newId('factory'), { authority: true });
      const wanted = custom(site, { enrollmentGroupId, attestation: signedBy(root) });
      const { responseBody: made } = await enrollments.createOrUpdateEnrollmentGroup(wanted);
      assert.ok(made.attestation.x509.signingCertificates.primary.info.subjectName.startsWith('CN=root-'));
      const first = newId('node-x509');
      await wholeLoop(first, new Certificate(first, { issuer: factory }));

      // A document that was read says what each certificate is by its info: the one that is not replaced stays.
      made.attestation.x509.signingCertificates.secondary = { certificate: next.pem };
      const { responseBody: rolled } = await enrollments.createOrUpdateEnrollmentGroup(made);
      assert.deepEqual(
        rolled.attestation.x509.signingCertificates.primary,
        made.attestation.x509.signingCertificates.primary,
      );
      const second = newId('node-x509');
      await wholeLoop(second, new Certificate(second, { issuer: next }));
      const stranger = newId('node-x509');
      const namesake = new Certificate('factory', { authority: true });
      const issued = new Certificate(stranger, { issuer: namesake });
      await assert.rejects(register(stranger, issued), { name: 'UnauthorizedError' });
      await enrollments.deleteEnrollmentGroup(rolled);
      await assert.rejects(register(first, new Certificate(first, { issuer: factory })));
    });

    test('another certificate of the same name is unauthorized', async () => {
      const registrationId = newId('node-x509');
      const wanted = custom(site, { registrationId, attestation: oneOf(new Certificate(registrationId)) });
      await enrollments.createOrUpdateIndividualEnrollment(wanted);
      await assert.rejects(register(registrationId, new Certificate(registrationId)), { name: 'UnauthorizedError' });
    });

    test('a device of the registry alone', async () => {
      const deviceId = newId('node-x509');
      const certificate = new Certificate(deviceId);
      const x509Thumbprint = { primaryThumbprint: certificate.thumbprint('sha1') };
      await registry.create({ deviceId, authentication: { type: 'selfSigned', x509Thumbprint } });
      const client = deviceClient(deviceId, certificate);
      await client.open();
      open.push(client);
      await client.getTwin();
      await assert.rejects(deviceClient(deviceId, new Certificate(deviceId)).open(), /Not authorized/);
      const key = 'c3RyYW5nZXIgc3RyYW5nZXIgc3Q=';
      const text = `HostName=${site.hub.hostName};DeviceId=${deviceId};SharedAccessKey=${key}`;
      const byKey = Client.fromConnectionString(text, Transport);
      byKey.setRetryPolicy(new NoRetry());
      await assert.rejects(byKey.open(), /Not authorized/);
    });
  });
}
