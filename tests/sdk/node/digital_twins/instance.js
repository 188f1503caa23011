// An instance of Azure Digital Twins, and models and twins that belong to one test file alone.
//
// ADT_SERVICE_URL names the instance. ADT_TOKEN, or the endpoints file of a local-azure, has the token; without either,
// DefaultAzureCredential finds one, as it does in Azure.
"use strict";

const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { setTimeout: wait } = require("node:timers/promises");
const { DigitalTwinsClient } = require("@azure/digital-twins-core");
const { DefaultAzureCredential } = require("@azure/identity");

// Queries of the service see a write up to 10 s late.
const QUERY_LAG_MS = 30_000;

const address = process.env.ADT_SERVICE_URL;

/** A token that somebody else got. */
function staticToken(token) {
  return { getToken: async () => ({ token, expiresOnTimestamp: Date.now() + 3_600_000 }) };
}

function credential() {
  const { ADT_TOKEN: token, LOCAL_AZURE_ENDPOINTS: endpoints } = process.env;
  if (token) return staticToken(token);
  if (endpoints) return staticToken(JSON.parse(readFileSync(endpoints, "utf8")).digitalTwinsToken);
  return new DefaultAzureCredential();
}

const client = new DigitalTwinsClient(address, credential());

/** What the names of this file's run have in common. */
const run = randomUUID().slice(0, 8);

function interfaceOf(id, contents = [], members = {}) {
  return { "@context": "dtmi:dtdl:context;2", "@id": id, "@type": "Interface", contents, ...members };
}

function propertyOf(name, schema) {
  return { "@type": "Property", name, schema };
}

/** The models of the run: a Room is a Place, has a Sensor, and leads to other places. */
const models = {
  place: `dtmi:sdk:n${run}:Place;1`,
  sensor: `dtmi:sdk:n${run}:Sensor;1`,
  room: `dtmi:sdk:n${run}:Room;1`,

  definitions() {
    return [
      interfaceOf(models.place, [propertyOf("Name", "string")]),
      interfaceOf(models.sensor, [propertyOf("Reading", "double")]),
      interfaceOf(
        models.room,
        [
          propertyOf("Temperature", "double"),
          propertyOf("House", "string"),
          { "@type": "Telemetry", name: "Noise", schema: "double" },
          { "@type": "Component", name: "Sensor", schema: models.sensor },
          { "@type": "Relationship", name: "leadsTo", properties: [propertyOf("locked", "boolean")] },
        ],
        { extends: models.place, displayName: "Room" },
      ),
    ];
  },

  async upload() {
    await client.createModels(models.definitions());
  },

  async remove() {
    for (const model of [models.room, models.sensor, models.place]) await client.deleteModel(model);
  },
};

/** Makes twins of the model Room, and takes them away again with their relationships. */
class Rooms {
  #prefix = `${run}-${randomUUID().slice(0, 6)}`;
  #made = [];

  id(name) {
    return `${this.#prefix}-${name}`;
  }

  body(properties = {}) {
    return { $metadata: { $model: models.room }, Sensor: { $metadata: {} }, ...properties };
  }

  async make(name, properties = {}) {
    this.#made.push(this.id(name));
    return client.upsertDigitalTwin(this.id(name), JSON.stringify(this.body(properties)));
  }

  async join(source, relationship, target, properties = {}) {
    const body = { $relationshipName: "leadsTo", $targetId: this.id(target), ...properties };
    return client.upsertRelationship(this.id(source), relationship, body);
  }

  async clear() {
    const made = new Set(this.#made.splice(0));
    // A twin that relationships lead to is not deleted, so all of these go first.
    for (const twin of made) {
      for (const relationship of (await unlessAbsent(all(client.listRelationships(twin)))) ?? []) {
        await client.deleteRelationship(twin, relationship.$relationshipId);
      }
    }
    for (const twin of made) await unlessAbsent(client.deleteDigitalTwin(twin));
  }
}

/** What the call gives; nothing where it says that there is no such thing. */
async function unlessAbsent(call) {
  try {
    return await call;
  } catch (error) {
    if (error.statusCode !== 404) throw error;
    return undefined;
  }
}

/** Everything that a list has. */
async function all(list) {
  const items = [];
  for await (const item of list) items.push(item);
  return items;
}

/** The call fails with that status and code. */
async function refused(call, status, code) {
  await assert.rejects(call, (error) => {
    assert.deepEqual([error.statusCode, error.code], [status, code], error.message);
    return true;
  });
}

/** Looks until it sees what is wanted: at once where queries see writes at once. */
async function eventually(look, wanted) {
  const deadline = Date.now() + QUERY_LAG_MS;
  for (;;) {
    const seen = await look();
    try {
      return assert.deepEqual(seen, wanted);
    } catch (error) {
      if (Date.now() >= deadline) throw error;
    }
    await wait(1_000);
  }
}

module.exports = {
  Rooms, address, all, client, eventually, interfaceOf, models, propertyOf, refused, run, staticToken,
};
