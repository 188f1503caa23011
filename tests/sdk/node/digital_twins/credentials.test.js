// Who may use the instance.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { DigitalTwinsClient } = require("@azure/digital-twins-core");
const { DefaultAzureCredential } = require("@azure/identity");
const { address, refused, run, staticToken } = require("./instance");

test("a token that is none is refused", async () => {
  const client = new DigitalTwinsClient(address, staticToken("nonsense"));
  await assert.rejects(client.getDigitalTwin("any"), (error) => error.statusCode === 401);
});

const skip = process.env.IDENTITY_ENDPOINT ? false : "IDENTITY_ENDPOINT: no managed identity here";
test("a managed identity has tokens for the instance", { skip }, async () => {
  const client = new DigitalTwinsClient(address, new DefaultAzureCredential());
  await refused(client.getDigitalTwin(`${run}-absent`), 404, "DigitalTwinNotFound");
});
