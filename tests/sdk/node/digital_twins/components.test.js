// Components: getComponent, updateComponent; telemetry of both kinds: publishTelemetry, publishComponentTelemetry.
"use strict";

const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
const { after, afterEach, before, test } = require("node:test");
const { Rooms, client, models, refused } = require("./instance");

const SET = [{ op: "add", path: "/Reading", value: 7.5 }];

// Version 1.1.0 of the client hands payload and message id on in the wrong order: given in the wrong order, they arrive
// in the right one.
const sendFromComponent = (twin, component, payload) =>
  client.publishComponentTelemetry(twin, component, randomUUID(), payload);

const rooms = new Rooms();
before(models.upload);
after(models.remove);
afterEach(() => rooms.clear());

test("a component is read and patched by itself, and has its twin's version", async () => {
  const { etag } = await rooms.make("a", { Sensor: { Reading: 1, $metadata: {} } });
  await client.updateComponent(rooms.id("a"), "Sensor", SET, { ifMatch: etag });
  const component = await client.getComponent(rooms.id("a"), "Sensor");
  assert.equal(component.body.Reading, 7.5);
  const twin = await client.getDigitalTwin(rooms.id("a"));
  assert.deepEqual(twin.body.Sensor, component.body);
  assert.equal(twin.etag, component.etag);
  await refused(client.updateComponent(rooms.id("a"), "Sensor", SET, { ifMatch: etag }), 412, "PreconditionFailed");
});

test("what a twin lacks is not found", async () => {
  await rooms.make("a");
  await refused(client.getComponent(rooms.id("a"), "Window"), 404, "ComponentNotFound");
  await refused(client.updateComponent(rooms.id("a"), "Window", SET), 400, "JsonPatchInvalid");
  await refused(client.getComponent(rooms.id("absent"), "Sensor"), 404, "DigitalTwinNotFound");
  await refused(client.updateComponent(rooms.id("absent"), "Sensor", SET), 404, "DigitalTwinNotFound");
});

test("a component keeps to its model", async () => {
  await rooms.make("a");
  const high = [{ op: "add", path: "/Reading", value: "high" }];
  await refused(client.updateComponent(rooms.id("a"), "Sensor", high), 400, "ValidationFailed");
});

test("twins and components send telemetry", async () => {
  await rooms.make("a");
  await client.publishTelemetry(rooms.id("a"), { Noise: 41.5 }, "");
  await client.publishTelemetry(rooms.id("a"), { Noise: 42 }, randomUUID());
  await sendFromComponent(rooms.id("a"), "Sensor", { Raw: [1, 2, 3] });
});

test("what is not there sends no telemetry", async () => {
  await rooms.make("a");
  await refused(client.publishTelemetry(rooms.id("absent"), { Noise: 1 }, ""), 404, "DigitalTwinNotFound");
  await refused(sendFromComponent(rooms.id("absent"), "Sensor", {}), 404, "DigitalTwinNotFound");
  await refused(sendFromComponent(rooms.id("a"), "Window", {}), 404, "ComponentNotFound");
});
