// Event routes: upsertEventRoute, getEventRoute, listEventRoutes, deleteEventRoute.
//
// ADT_ENDPOINT names an endpoint of the instance; without it, routes that would be stored are not tested.
"use strict";

const assert = require("node:assert/strict");
const { after, test } = require("node:test");
const { all, client, refused, run } = require("./instance");

const FILTER = "type = 'microsoft.iot.telemetry' AND STARTS_WITH(subject, 'Sensor') OR $body.Temperature >= 20.5";

const endpoint = process.env.ADT_ENDPOINT;
const skip = endpoint ? false : "ADT_ENDPOINT names no endpoint of the instance";
const route = `node-${run}`;
after(() => client.deleteEventRoute(route).catch((error) => assert.equal(error.statusCode, 404)));

test("a route is stored, listed, replaced and deleted", { skip }, async () => {
  for (const filter of [FILTER, "true"]) {
    await client.upsertEventRoute(route, endpoint, filter);
    const { id, endpointName, filter: stored } = await client.getEventRoute(route);
    assert.deepEqual([id, endpointName, stored], [route, endpoint, filter]);
    const pages = [];
    for await (const page of client.listEventRoutes().byPage({ maxPageSize: 1 })) pages.push(page.value);
    assert.ok(pages.flat().some((one) => one.id === route));
  }
  await client.deleteEventRoute(route);
  await refused(client.getEventRoute(route), 404, "EventRouteNotFound");
  await refused(client.deleteEventRoute(route), 404, "EventRouteNotFound");
  assert.ok((await all(client.listEventRoutes())).every((one) => one.id !== route));
});

test("a route leads to an endpoint of the instance", async () => {
  await refused(client.upsertEventRoute(route, "no-such-endpoint", "true"), 400, "EventRouteEndpointInvalid");
});

test("a filter that cannot be read is refused", { skip }, async () => {
  for (const filter of ["this is not a valid filter string", "type =", "(true", "LOWER(type) = 'x'"]) {
    await refused(client.upsertEventRoute(route, endpoint, filter), 400, "EventRouteFilterInvalid");
  }
});
