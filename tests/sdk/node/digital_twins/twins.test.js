// Twins: upsertDigitalTwin, getDigitalTwin, updateDigitalTwin, deleteDigitalTwin.
"use strict";

const assert = require("node:assert/strict");
const { after, afterEach, before, test } = require("node:test");
const { Rooms, client, models, refused } = require("./instance");

const OLD = 'W/"00000000-0000-0000-0000-000000000000"';

const rooms = new Rooms();
before(models.upload);
after(models.remove);
afterEach(() => rooms.clear());

test("a twin is read as it was written", async () => {
  const written = await rooms.make("a", { Name: "Kitchen", Temperature: 21.5 });
  const { body: twin, etag } = await client.getDigitalTwin(rooms.id("a"));
  assert.deepEqual(twin, written.body);
  assert.equal(etag, twin.$etag);
  assert.equal(written.etag, etag);
  assert.deepEqual([twin.$dtId, twin.Name, twin.Temperature], [rooms.id("a"), "Kitchen", 21.5]);
  assert.equal(twin.$metadata.$model, models.room);
  assert.equal(twin.$metadata.Name.lastUpdateTime, twin.$metadata.$lastUpdateTime);
});

test("a twin that is there is not created again", async () => {
  await rooms.make("a", { Name: "Kitchen" });
  const again = client.upsertDigitalTwin(rooms.id("a"), JSON.stringify(rooms.body()), { ifNoneMatch: "*" });
  await refused(again, 412, "PreconditionFailed");
  await rooms.make("a", { Name: "Hall" });
  assert.equal((await client.getDigitalTwin(rooms.id("a"))).body.Name, "Hall");
});

test("a missing twin is neither read nor changed nor deleted", async () => {
  const twin = rooms.id("absent");
  await refused(client.getDigitalTwin(twin), 404, "DigitalTwinNotFound");
  const patch = [{ op: "add", path: "/Name", value: "x" }];
  await refused(client.updateDigitalTwin(twin, patch), 404, "DigitalTwinNotFound");
  await refused(client.deleteDigitalTwin(twin), 404, "DigitalTwinNotFound");
});

test("a twin that does not fit its model is refused", async () => {
  for (const properties of [
    { Temperature: "warm" },
    { Name: 5 },
    { Noise: 1.5 },
    { Colour: "red" },
    { Sensor: { Reading: true, $metadata: {} } },
    { Sensor: undefined },
    { $metadata: { $model: "dtmi:sdk:NoSuchModel;1" } },
  ]) {
    const body = JSON.stringify({ ...rooms.body(), ...properties });
    await refused(client.upsertDigitalTwin(rooms.id("a"), body), 400, "ValidationFailed");
  }
});

test("a patch adds, replaces and removes", async () => {
  await rooms.make("a", { Name: "Kitchen", Temperature: 21.5 });
  await client.updateDigitalTwin(rooms.id("a"), [
    { op: "replace", path: "/Name", value: "Hall" },
    { op: "remove", path: "/Temperature" },
    { op: "add", path: "/Sensor/Reading", value: 3 },
    { op: "replace", path: "/$metadata/Name/sourceTime", value: "2024-02-29T12:00:00Z" },
  ]);
  const { body: twin } = await client.getDigitalTwin(rooms.id("a"));
  assert.deepEqual([twin.Name, twin.Temperature, twin.Sensor.Reading], ["Hall", undefined, 3]);
  assert.equal(twin.$metadata.Name.sourceTime, "2024-02-29T12:00:00.0000000Z");
});

test("a patch that cannot be carried out changes nothing", async () => {
  const before = await rooms.make("a", { Name: "Kitchen" });
  for (const [operation, code] of [
    [{ op: "move", from: "/Name", path: "/Temperature" }, "JsonPatchInvalid"],
    [{ op: "replace", path: "/Temperature", value: 1 }, "JsonPatchInvalid"],
    [{ op: "remove", path: "/Temperature" }, "JsonPatchInvalid"],
    [{ op: "add", path: "/Colour", value: "red" }, "JsonPatchInvalid"],
    [{ op: "add", path: "/Temperature", value: "warm" }, "ValidationFailed"],
    [{}, "JsonPatchInvalid"],
  ]) {
    const patch = [{ op: "replace", path: "/Name", value: "Hall" }, operation];
    await refused(client.updateDigitalTwin(rooms.id("a"), patch), 400, code);
  }
  assert.deepEqual((await client.getDigitalTwin(rooms.id("a"))).body, before.body);
});

test("changes and deletions name the version that they were made for", async () => {
  const { etag } = await rooms.make("a", { Name: "Kitchen" });
  const twin = rooms.id("a");
  const patch = [{ op: "replace", path: "/Name", value: "Hall" }];
  await refused(client.updateDigitalTwin(twin, patch, { ifMatch: OLD }), 412, "PreconditionFailed");
  const updated = await client.updateDigitalTwin(twin, patch, { ifMatch: etag });
  await refused(client.updateDigitalTwin(twin, patch, { ifMatch: etag }), 412, "PreconditionFailed");
  await refused(client.deleteDigitalTwin(twin, { ifMatch: etag }), 412, "PreconditionFailed");
  await client.deleteDigitalTwin(twin, { ifMatch: updated.etag });
  await refused(client.getDigitalTwin(twin), 404, "DigitalTwinNotFound");
});

test("a twin with relationships is not deleted", async () => {
  await rooms.make("a");
  await rooms.make("b");
  await rooms.join("a", "door", "b");
  for (const end of ["a", "b"]) {
    await refused(client.deleteDigitalTwin(rooms.id(end)), 400, "RelationshipsNotDeleted");
  }
});

test("ids may have characters that URLs encode", async () => {
  for (const name of ["blank space", "\u00e4\u00f6\u00fc", "per%cent", "plus+sign", "a:b;c", "q?x=1#y"]) {
    await rooms.make(name, { Name: name });
    const { body: twin } = await client.getDigitalTwin(rooms.id(name));
    assert.deepEqual([twin.$dtId, twin.Name], [rooms.id(name), name]);
  }
});
