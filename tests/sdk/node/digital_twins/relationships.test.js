// Relationships: upsertRelationship, getRelationship, updateRelationship, deleteRelationship, and both lists.
"use strict";

const assert = require("node:assert/strict");
const { after, afterEach, before, beforeEach, test } = require("node:test");
const { Rooms, all, client, models, refused } = require("./instance");

const LOCK = [{ op: "add", path: "/locked", value: true }];

const rooms = new Rooms();
let source;
let target;
before(models.upload);
after(models.remove);
beforeEach(async () => {
  [source, target] = [rooms.id("a"), rooms.id("b")];
  await rooms.make("a");
  await rooms.make("b");
});
afterEach(() => rooms.clear());

test("a relationship is read as it was written", async () => {
  const written = await rooms.join("a", "door", "b", { locked: false });
  const { body: relationship, etag } = await client.getRelationship(source, "door");
  assert.deepEqual(relationship, written.body);
  assert.deepEqual(relationship, {
    $relationshipId: "door",
    $etag: etag,
    $sourceId: source,
    $relationshipName: "leadsTo",
    $targetId: target,
    locked: false,
  });
});

test("a relationship that is there is not created again", async () => {
  await rooms.join("a", "door", "b");
  const body = { $relationshipName: "leadsTo", $targetId: target };
  const again = client.upsertRelationship(source, "door", body, { ifNoneMatch: "*" });
  await refused(again, 412, "PreconditionFailed");
});

test("a relationship that cannot be is refused", async () => {
  for (const [members, status, code] of [
    [{ $targetId: undefined }, 400, "InvalidArgument"],
    [{ $relationshipName: undefined }, 400, "InvalidArgument"],
    [{ $relationshipName: "noSuchName" }, 400, "InvalidRelationship"],
    [{ locked: "yes" }, 400, "ValidationFailed"],
    [{ $targetId: "no-such-twin" }, 404, "TargetDigitalTwinNotFound"],
    [{ $targetId: source }, 400, "OperationNotAllowed"],
  ]) {
    const body = { $relationshipName: "leadsTo", $targetId: target, ...members };
    await refused(client.upsertRelationship(source, "door", body), status, code);
  }
});

test("changes and deletions name the version that they were made for", async () => {
  const { etag } = await rooms.join("a", "door", "b");
  const updated = await client.updateRelationship(source, "door", LOCK, { ifMatch: etag });
  await refused(client.updateRelationship(source, "door", LOCK, { ifMatch: etag }), 412, "PreconditionFailed");
  await refused(client.deleteRelationship(source, "door", { ifMatch: etag }), 412, "PreconditionFailed");
  const { body: relationship } = await client.getRelationship(source, "door");
  assert.deepEqual([relationship.locked, relationship.$etag], [true, updated.etag]);
  await client.deleteRelationship(source, "door", { ifMatch: updated.etag });
});

test("a missing relationship is not found", async () => {
  await refused(client.getRelationship(source, "absent"), 404, "RelationshipNotFound");
  await refused(client.updateRelationship(source, "absent", LOCK), 404, "RelationshipNotFound");
  await refused(client.deleteRelationship(source, "absent"), 404, "RelationshipNotFound");
  await refused(client.getRelationship(rooms.id("absent"), "door"), 404, "DigitalTwinNotFound");
  await refused(all(client.listRelationships(rooms.id("absent"))), 404, "DigitalTwinNotFound");
});

test("lists go over all pages", async () => {
  const ids = Array.from({ length: 23 }, (_, n) => `door_${n}`).sort();
  for (const id of ids) await rooms.join("a", id, "b");
  const pages = [];
  for await (const page of client.listRelationships(source).byPage()) pages.push(page);
  assert.deepEqual(pages.flatMap((page) => page.value).map((one) => one.$relationshipId), ids);
  assert.ok(pages.length > 1);
  const incoming = await all(client.listIncomingRelationships(target));
  assert.deepEqual(incoming.map((one) => one.relationshipId).sort(), ids);
  assert.deepEqual([...new Set(incoming.map((one) => one.sourceId))], [source]);
  assert.deepEqual(await all(client.listIncomingRelationships(source)), []);
});
