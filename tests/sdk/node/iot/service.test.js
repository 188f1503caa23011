'use strict';

// azure-iothub: the registry, device twins and queries of IoT Hub's service API.

const assert = require('node:assert/strict');
const { before, describe, test } = require('node:test');

const { Site, eventually, newId } = require('./local_azure.js');

const PRIMARY = 'cHJpbWFyeSBwcmltYXJ5IHByaW1hcnk=';
const SECONDARY = 'c2Vjb25kYXJ5IHNlY29uZGFyeSBzZWM=';

describe('the service API', () => {
  let site, registry, service;

  before(() => {
    site = Site.ofEnvironment();
    registry = site.registry();
    service = site.serviceClient();
  });

  async function create(kind, members = {}) {
    return (await registry.create({ deviceId: newId(kind), ...members })).responseBody;
  }

  // All pages of a query.
  async function all(text, pageSize) {
    const query = registry.createQuery(text, pageSize);
    const items = [];
    do {
      items.push(...(await query.nextAsTwin()).result);
    } while (query.hasMoreResults);
    return items;
  }

  test('the life of an identity', async () => {
    const keys = { type: 'sas', symmetricKey: { primaryKey: PRIMARY, secondaryKey: SECONDARY } };
    const made = await create('node-identity', { authentication: keys });
    assert.deepEqual([made.status, made.connectionState], ['enabled', 'Disconnected']);
    assert.equal(made.authentication.symmetricKey.primaryKey, PRIMARY);
    await assert.rejects(registry.create({ deviceId: made.deviceId }), { name: 'DeviceAlreadyExistsError' });

    const update = { ...made, status: 'disabled', statusReason: 'lost' };
    const { responseBody: changed } = await registry.update(update);
    assert.deepEqual([changed.status, changed.statusReason], ['disabled', 'lost']);
    assert.notEqual(changed.etag, made.etag);
    const listed = (await registry.list()).responseBody;
    assert.ok(listed.some((device) => device.deviceId === made.deviceId));

    await registry.delete(made.deviceId);
    await assert.rejects(registry.get(made.deviceId), { name: 'DeviceNotFoundError' });
    await assert.rejects(registry.delete(made.deviceId), { name: 'DeviceNotFoundError' });
    const again = await create('unused', { deviceId: made.deviceId });
    assert.notEqual(again.generationId, made.generationId);
  });

  test('ids that need encoding', async () => {
    const id = `${newId('node')}#%?=@$'!`;
    await create('unused', { deviceId: id });
    assert.equal((await registry.get(id)).responseBody.deviceId, id);
    await registry.updateTwin(id, { tags: { a: 1 } }, '*');
    assert.deepEqual((await registry.getTwin(id)).responseBody.tags, { a: 1 });
    await registry.delete(id);
  });

  test('modules', async () => {
    const { deviceId } = await create('node-modules');
    await registry.addModule({ deviceId, moduleId: 'm1', managedBy: 'me' });
    const { responseBody: made } = await registry.getModule(deviceId, 'm1');
    assert.deepEqual([made.deviceId, made.moduleId, made.managedBy], [deviceId, 'm1', 'me']);
    assert.deepEqual(
      (await registry.getModulesOnDevice(deviceId)).responseBody.map((module) => module.moduleId),
      ['m1'],
    );
    await registry.updateModule({ ...made, managedBy: 'you' }, false);
    await registry.updateModuleTwin(deviceId, 'm1', { tags: { a: 1 } }, '*');
    assert.deepEqual((await registry.getModuleTwin(deviceId, 'm1')).responseBody.tags, { a: 1 });
    await registry.removeModule(deviceId, 'm1');
    await assert.rejects(registry.getModule(deviceId, 'm1'));
  });

  test('device twins', async () => {
    const { deviceId } = await create('node-twin');
    const { responseBody: first } = await registry.getTwin(deviceId);
    await first.update({ tags: { floor: 3 }, properties: { desired: { interval: 5 } } });
    assert.deepEqual([first.tags, first.properties.desired.interval], [{ floor: 3 }, 5]);
    await assert.rejects(registry.updateTwin(deviceId, { tags: { floor: 4 } }, 'AAAAAAAAAAE='), { name: 'InvalidEtagError' });
    await assert.rejects(registry.updateTwin(deviceId, { tags: { 'a.b': 4 } }, '*'), { name: 'ArgumentError' });
    await assert.rejects(registry.getTwin(newId('node-nobody')), { name: 'DeviceNotFoundError' });
  });

  test('bulk operations', async () => {
    const devices = [1, 2, 3].map(() => ({ deviceId: newId('node-bulk') }));
    const ids = devices.map(({ deviceId }) => deviceId);
    assert.equal((await registry.addDevices(devices)).responseBody.isSuccessful, true);
    const disabled = devices.map((device) => ({ ...device, status: 'disabled' }));
    assert.equal((await registry.updateDevices(disabled, true)).responseBody.isSuccessful, true);
    assert.equal((await registry.get(ids[1])).responseBody.status, 'disabled');
    assert.equal((await registry.removeDevices(devices, true)).responseBody.isSuccessful, true);
    await assert.rejects(registry.get(ids[2]), { name: 'DeviceNotFoundError' });
  });

  test('queries', async () => {
    const mark = newId('node-site');
    const names = ['a', 'b', 'c'];
    const ids = {};
    for (const [floor, name] of names.entries()) {
      const { deviceId } = await create(`node-${name}`, { status: name === 'c' ? 'disabled' : 'enabled' });
      ids[name] = deviceId;
      const desired = { every: { s: floor } };
      await registry.updateTwin(deviceId, { tags: { site: mark, floor }, properties: { desired } }, '*');
    }
    const found = async (condition) => {
      const twins = await all(`SELECT * FROM devices WHERE tags.site = '${mark}' AND ${condition}`);
      return names.filter((name) => twins.some((twin) => twin.deviceId === ids[name]));
    };
    assert.deepEqual(await found("status = 'enabled'"), ['a', 'b']);
    assert.deepEqual(await found('tags.floor >= 1'), ['b', 'c']);
    assert.deepEqual(await found('properties.desired.every.s IN [0, 2]'), ['a', 'c']);
    assert.equal((await all(`SELECT * FROM devices WHERE tags.site = '${mark}'`, 1)).length, 3);
    await assert.rejects(registry.createQuery('SELECT * FROM nowhere').nextAsTwin(), { name: 'ArgumentError' });
  });

  test('statistics', async () => {
    const before = (await registry.getRegistryStatistics()).responseBody;
    await create('node-counted');
    const after = (await registry.getRegistryStatistics()).responseBody;
    assert.equal(after.totalDeviceCount - before.totalDeviceCount, 1);
  });

  test('a method of a device that is away', async () => {
    const { deviceId } = await create('node-away');
    await assert.rejects(service.invokeDeviceMethod(deviceId, { methodName: 'any' }), (error) => {
      assert.match(error.responseBody, /404103/);
      return true;
    });
  });

  test('deleting a device ends its digital twin', async () => {
    const { deviceId } = await site.register(newId('node-deleted'));
    assert.notEqual(await site.digitalTwin(deviceId), null);
    await registry.delete(deviceId);
    await eventually('the end of the digital twin', async () => (await site.digitalTwin(deviceId)) === null);
  });
});
