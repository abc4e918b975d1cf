import assert from "node:assert/strict";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";
import type { sendUnaryData } from "@grpc/grpc-js";

import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "../src/gen/google/rpc/error_details_pb.js";
import {
  createClient,
  errorOfFailure,
  FailureSchema,
  FinesieveError,
  ModelService,
} from "../src/index.js";
import { failure, serve } from "./scripted-server.js";

async function raised(
  t: Parameters<typeof serve>[0],
  told: ReturnType<typeof failure>,
): Promise<FinesieveError> {
  const target = await serve(t, ModelService, {
    listModels: (_: unknown, answer: sendUnaryData<object>) => {
      answer(told, null);
    },
  });
  const client = createClient(target);
  t.after(client.close);
  try {
    await client.listModels({});
  } catch (error) {
    if (error instanceof FinesieveError) return error;
  }
  return assert.fail("no FinesieveError");
}

test("an error tells all that the server told", async (t) => {
  const error = await raised(
    t,
    failure("INVALID_ARGUMENT", "top_k is 0", [
      [ErrorInfoSchema, { reason: "OUT_OF_RANGE", metadata: { allowed: "1..100" } }],
      [BadRequestSchema, { fieldViolations: [{ field: "top_k", description: "is 0" }] }],
      [RetryInfoSchema, { retryDelay: { seconds: 1n, nanos: 500_000_000 } }],
      [RequestInfoSchema, { requestId: "r-1" }],
    ]),
  );

  assert.equal(error.message, "top_k is 0");
  assert.equal(error.code, "INVALID_ARGUMENT");
  assert.equal(error.reason, "OUT_OF_RANGE");
  assert.deepEqual({ ...error.metadata }, { allowed: "1..100" });
  assert.deepEqual(error.violations, [{ field: "top_k", description: "is 0" }]);
  assert.equal(error.retryDelayMs, 1500);
  assert.equal(error.requestId, "r-1");
  assert.equal((error.cause as { details: string }).details, "top_k is 0");
});

test("an error without details is told as far as it goes", async (t) => {
  const error = await raised(t, failure("INTERNAL", "oops", [], { "x-request-id": "r-2" }));

  assert.deepEqual([error.code, error.reason, error.requestId], ["INTERNAL", "", "r-2"]);
  assert.equal(error.retryDelayMs, undefined);
});

test("garbage in the details does not hide the error", async (t) => {
  const told = failure("NOT_FOUND", "no such collection");
  told.metadata.set("grpc-status-details-bin", Buffer.from([0xff, 0xff]));

  const error = await raised(t, told);

  assert.deepEqual([error.code, error.message], ["NOT_FOUND", "no such collection"]);
});

test("the failure of one item is an error, too", () => {
  const error = errorOfFailure(
    create(FailureSchema, { code: 3, reason: "EMPTY_FIELD", message: "is empty", field: "text" }),
  );

  assert.deepEqual([error.code, error.reason], ["INVALID_ARGUMENT", "EMPTY_FIELD"]);
  assert.deepEqual(error.violations, [{ field: "text", description: "is empty" }]);
});

test("a code that gRPC does not know is UNKNOWN", () => {
  assert.equal(errorOfFailure(create(FailureSchema, { code: 99 })).code, "UNKNOWN");
});
