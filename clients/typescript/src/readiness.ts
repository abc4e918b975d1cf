// Decide, from what gRPC's health service says, when a server takes calls.

import { setTimeout as sleep } from "node:timers/promises";

import { serverStream } from "./calls.js";
import type { Connection } from "./connection.js";
import { FinesieveError } from "./errors.js";
import {
  Health,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus,
} from "./gen/grpc/health/v1/health_pb.js";

const PAUSE_MS = 200; // before watching again, where a server that starts or stops ended the watch

/** Return once the server says that it takes calls; rejects with DEADLINE_EXCEEDED where it does not. */
export async function waitReady(connection: Connection, timeoutMs: number): Promise<void> {
  const end = performance.now() + timeoutMs;
  for (let left = timeoutMs; left > 0; left = end - performance.now()) {
    if (await becomesReady(connection, left)) return;
    await sleep(Math.min(PAUSE_MS, Math.max(0, end - performance.now())));
  }
  throw new FinesieveError(
    `the server at ${connection.target} was not ready within ${String(timeoutMs / 1000)} s`,
    { code: "DEADLINE_EXCEEDED" },
  );
}

/** Watch until the server is ready, or the watch ends in a way that another one may not. */
async function becomesReady(connection: Connection, timeoutMs: number): Promise<boolean> {
  try {
    for await (const answer of serverStream(connection, Health.method.watch, {}, { timeoutMs })) {
      const { status } = answer as HealthCheckResponse;
      if (status === HealthCheckResponse_ServingStatus.SERVING) return true;
    }
  } catch (error) {
    if (!(error instanceof FinesieveError) || !PASSING.has(error.code)) throw error;
  }
  return false;
}

const PASSING = new Set(["UNAVAILABLE", "DEADLINE_EXCEEDED"]);
