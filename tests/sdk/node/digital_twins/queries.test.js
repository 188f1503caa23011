// Queries: queryTwins.
"use strict";

const assert = require("node:assert/strict");
const { after, before, test } = require("node:test");
const { Rooms, all, client, eventually, models, refused } = require("./instance");

const rooms = new Rooms();
const mine = `House = '${rooms.id("house")}'`;
const ids = (rows) => rows.map((row) => row.$dtId).sort();

before(async () => {
  await models.upload();
  // A hall that leads to a kitchen and a cellar, and the cellar to a vault.
  for (const [name, Temperature] of [["hall", 20], ["kitchen", 22.5], ["cellar", 12], ["vault", 9]]) {
    await rooms.make(name, { Name: name, Temperature, House: rooms.id("house") });
  }
  for (const [source, target] of [["hall", "kitchen"], ["hall", "cellar"], ["cellar", "vault"]]) {
    await rooms.join(source, `to_${target}`, target, { locked: target === "vault" });
  }
  const count = async (query) => (await all(client.queryTwins(query))).length;
  await eventually(() => count(`SELECT * FROM DIGITALTWINS WHERE ${mine}`), 4);
  const sources = `'${rooms.id("hall")}', '${rooms.id("cellar")}'`;
  await eventually(() => count(`SELECT * FROM RELATIONSHIPS R WHERE R.$sourceId IN [${sources}]`), 3);
});
after(async () => {
  await rooms.clear();
  await models.remove();
});

test("conditions select twins", async () => {
  for (const [condition, names] of [
    ["Temperature > 15", ["hall", "kitchen"]],
    ["Temperature <= 12 AND NOT Name = 'vault'", ["cellar"]],
    ["Name IN ['hall', 'vault', 'attic']", ["hall", "vault"]],
    ["STARTSWITH(Name, 'k') OR ENDSWITH(Name, 't')", ["kitchen", "vault"]],
    [`IS_OF_MODEL('${models.place}')`, ["cellar", "hall", "kitchen", "vault"]],
    [`IS_OF_MODEL('${models.place}', exact)`, []],
    ["IS_DEFINED(Sensor.Reading)", []],
  ]) {
    const rows = await all(client.queryTwins(`SELECT * FROM DIGITALTWINS WHERE ${mine} AND (${condition})`));
    assert.deepEqual(ids(rows), names.map((name) => rooms.id(name)).sort(), condition);
  }
});

test("rows are what is selected", async () => {
  assert.deepEqual(await all(client.queryTwins(`SELECT COUNT() FROM DIGITALTWINS WHERE ${mine}`)), [{ COUNT: 4 }]);
  const one = `T.House = '${rooms.id("house")}' AND T.Name = 'hall'`;
  const rows = await all(client.queryTwins(`SELECT T.Name, T.Temperature AS warmth FROM DIGITALTWINS T WHERE ${one}`));
  assert.deepEqual(rows, [{ Name: "hall", warmth: 20 }]);
});

test("relationships are followed", async () => {
  const hall = rooms.id("hall");
  const joined = await all(
    client.queryTwins(`SELECT B.Name FROM DIGITALTWINS A JOIN B RELATED A.leadsTo WHERE A.$dtId = '${hall}'`),
  );
  assert.deepEqual(joined.map((row) => row.Name).sort(), ["cellar", "kitchen"]);
  const matched = await all(
    client.queryTwins(`SELECT B.Name FROM DIGITALTWINS MATCH (A)-[:leadsTo*..2]->(B) WHERE A.$dtId = '${hall}'`),
  );
  assert.deepEqual(matched.map((row) => row.Name).sort(), ["cellar", "kitchen", "vault"]);
});

test("results go over all pages", async () => {
  const query = `SELECT * FROM DIGITALTWINS WHERE ${mine}`;
  const pages = [];
  for await (const page of client.queryTwins(query, 3).byPage()) pages.push(page.value);
  assert.deepEqual(pages.map((page) => page.length), [3, 1]);
  assert.deepEqual(ids(pages.flat()), ids(await all(client.queryTwins(query))));
});

test("a query that cannot be read is refused", async () => {
  for (const query of ["foo", "SELECT * FROM twins", "SELECT * FROM DIGITALTWINS WHERE"]) {
    await refused(all(client.queryTwins(query)), 400, "SqlQueryError");
  }
});
