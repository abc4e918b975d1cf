import assert from "node:assert/strict";
import { test } from "node:test";

import type { ServerWritableStream } from "@grpc/grpc-js";

import { Health, HealthCheckResponse_ServingStatus } from "../src/gen/grpc/health/v1/health_pb.js";
import { createClient } from "../src/index.js";
import { failure, serve } from "./scripted-server.js";

const { SERVING, NOT_SERVING } = HealthCheckResponse_ServingStatus;
type Watch = (call: ServerWritableStream<unknown, object>) => void;

async function waiting(t: Parameters<typeof serve>[0], watch: Watch, timeoutMs: number) {
  const client = createClient(await serve(t, Health, { watch }));
  t.after(client.close);
  await client.waitReady(timeoutMs);
}

test("a server that becomes ready is waited for", async (t) => {
  const watch: Watch = (call) => {
    call.write({ status: NOT_SERVING });
    setTimeout(() => call.write({ status: SERVING }), 100);
  };

  await waiting(t, watch, 5000);
});

test("a server that ends the watch is watched again", async (t) => {
  let numWatches = 0;
  const watch: Watch = (call) => {
    if (++numWatches === 1) call.emit("error", failure("UNAVAILABLE", "starting"));
    else call.write({ status: SERVING });
  };

  await waiting(t, watch, 5000);
});

test("a server that is never ready is waited for so long and no longer", async (t) => {
  const watch: Watch = (call) => {
    call.write({ status: NOT_SERVING });
  };

  await assert.rejects(waiting(t, watch, 300), {
    code: "DEADLINE_EXCEEDED",
    message: /was not ready within 0\.3 s/,
  });
});

test("an error that waiting does not cure is told at once", async (t) => {
  const watch: Watch = (call) => {
    call.emit("error", failure("UNAUTHENTICATED", "no token"));
  };

  await assert.rejects(waiting(t, watch, 60_000), { code: "UNAUTHENTICATED" });
});
