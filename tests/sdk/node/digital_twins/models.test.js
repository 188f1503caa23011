// Models: createModels, getModel, listModels, decomissionModel, deleteModel.
"use strict";

const assert = require("node:assert/strict");
const { after, before, test } = require("node:test");
const { all, client, interfaceOf, models, propertyOf, refused, run } = require("./instance");

before(models.upload);
after(models.remove);

test("models come back as they were uploaded", async () => {
  const model = await client.getModel(models.room, true);
  assert.equal(model.id, models.room);
  assert.deepEqual(model.displayName, { en: "Room" });
  assert.equal(model.decommissioned, false);
  assert.ok(model.uploadTime instanceof Date);
  const definition = models.definitions().find((it) => it["@id"] === models.room);
  // The service makes an array of the context, and keeps the rest.
  assert.deepEqual(model.model, { ...definition, "@context": [definition["@context"]] });
  assert.equal((await client.getModel(models.room)).model, undefined);
});

test("uploading gives model data without definitions", async () => {
  const ids = [1, 2].map((n) => `dtmi:sdk:n${run}:Upload${n};1`);
  const uploaded = await client.createModels(ids.map((id) => interfaceOf(id, [propertyOf("P", "string")])));
  assert.deepEqual([...uploaded].map((model) => [model.id, model.model]), ids.map((id) => [id, undefined]));
  for (const id of ids) await client.deleteModel(id);
});

test("models that are there are not uploaded again", async () => {
  await refused(client.createModels(models.definitions()), 409, "ModelIdAlreadyExists");
});

test("of several models all or none are uploaded", async () => {
  const [good, bad] = ["Good", "Bad"].map((name) => `dtmi:sdk:n${run}:${name};1`);
  const absent = `dtmi:sdk:n${run}:Absent;1`;
  const upload = client.createModels([interfaceOf(good), interfaceOf(bad, [], { extends: absent })]);
  await refused(upload, 400, "DTDLParserError");
  await refused(client.getModel(good), 404, "ModelNotFound");
  await refused(client.createModels([]), 400, "InvalidArgument");
  await refused(client.getModel("no model id"), 400, "InvalidArgument");
});

test("all models are listed page by page", async () => {
  const ids = [];
  for await (const page of client.listModels([], true).byPage({ maxPageSize: 1 })) {
    assert.equal(page.value.length, 1);
    assert.equal(page.value[0].model["@id"], page.value[0].id);
    ids.push(page.value[0].id);
  }
  assert.equal(new Set(ids).size, ids.length);
  for (const id of [models.place, models.room, models.sensor]) assert.ok(ids.includes(id), id);
});

test("a model is listed with what it needs", async () => {
  const ids = async (list) => (await all(list)).map((model) => model.id).sort();
  assert.deepEqual(await ids(client.listModels([models.room])), [models.place, models.room, models.sensor]);
  // The client joins several ids with commas.
  assert.deepEqual(await ids(client.listModels([models.place, models.sensor])), [models.place, models.sensor]);
});

test("a decommissioned model has no new twins", async () => {
  const model = `dtmi:sdk:n${run}:Old;1`;
  await client.createModels([interfaceOf(model)]);
  await client.decomissionModel(model);
  assert.equal((await client.getModel(model)).decommissioned, true);
  const twin = JSON.stringify({ $metadata: { $model: model } });
  await refused(client.upsertDigitalTwin(`${run}-old`, twin), 400, "ModelDecommissioned");
  await client.deleteModel(model);
});

test("a model that others need is not deleted, and a missing one is not found", async () => {
  for (const model of [models.place, models.sensor]) {
    await refused(client.deleteModel(model), 409, "ModelReferencesNotDeleted");
  }
  const absent = `dtmi:sdk:n${run}:Absent;1`;
  await refused(client.deleteModel(absent), 404, "ModelNotFound");
  await refused(client.decomissionModel(absent), 404, "ModelNotFound");
});
