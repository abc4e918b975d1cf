import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";

import type { sendUnaryData, ServerUnaryCall } from "@grpc/grpc-js";

import { isLoopback } from "../src/connection.js";
import { createClient, ModelService } from "../src/index.js";
import { serve } from "./scripted-server.js";

for (const target of [
  "localhost:1",
  "127.0.0.1:1",
  "127.9.9.9:1",
  "[::1]:1",
  "dns:///localhost:1",
  "unix:/run/finesieve",
]) {
  test(`${target} is this same machine`, () => {
    assert.ok(isLoopback(target));
  });
}

for (const target of [
  "finesieve.example:1",
  "10.0.0.1:1",
  "[2001:db8::1]:1",
  "localhost.example:1",
  "127.0.0.1.example:1",
  "dns:///finesieve.example:1",
  "ipv4:10.0.0.1:1,127.0.0.1:1",
  "dns:///finesieve.example:1?/localhost:1",
  "dns:///finesieve.example:1#/localhost",
  "finesieve.example:1?/localhost",
  "finesieve.example:1/localhost",
  "127.0.0.1@finesieve.example:1",
  "dns://finesieve.example/localhost:1",
  "[localhost]:1",
  "",
]) {
  test(`"${target}" may be another machine`, () => {
    assert.ok(!isLoopback(target));
  });
}

test("a token is refused where it would travel in the clear, and not told", () => {
  assert.throws(
    () => createClient("finesieve.example:443", { token: "s3cret" }),
    ({ message }: Error) => message.includes("speak TLS") && !message.includes("s3cret"),
  );
});

test("a token may travel over TLS", () => {
  createClient("finesieve.example:443", { token: "s3cret", tls: true }).close();
});

test("a certificate that cannot be read is refused", () => {
  assert.throws(() => createClient("x:1", { tls: { rootCertificates: "/no/such.pem" } }), {
    code: "ENOENT",
  });
});

test("a key without its certificate is refused", () => {
  assert.throws(() => createClient("x:1", { tls: { clientKey: "/no/such.pem" } }), /is missing/);
});

test("what is for this machine goes to no proxy", async (t) => {
  const proxy = createServer((connection) => {
    connection.destroy();
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const environment = { ...process.env };
  t.after(() => {
    process.env = environment;
    proxy.close();
  });
  process.env = {
    ...environment,
    http_proxy: `http://127.0.0.1:${String((proxy.address() as AddressInfo).port)}`,
    no_proxy: "",
  };
  const target = await serve(t, ModelService, {
    listModels: (_: unknown, answer: sendUnaryData<object>) => {
      answer(null, {});
    },
  });
  const client = createClient(target, { token: "s3cret", timeoutMs: 5_000 });
  t.after(client.close);

  await client.listModels({});
});

test("a call carries the token, and says which client it comes from", async (t) => {
  let seen: Record<string, unknown> = {};
  const target = await serve(t, ModelService, {
    listModels: (call: ServerUnaryCall<unknown, object>, answer: sendUnaryData<object>) => {
      seen = call.metadata.getMap();
      answer(null, {});
    },
  });
  const client = createClient(target, { token: "s3cret" });

  await client.listModels({});

  assert.equal(seen.authorization, "Bearer s3cret");
  assert.match(String(seen["user-agent"]), /^finesieve-typescript\/\d+\.\d+\.\d+ /);
  client.close();
});
