// Say what went wrong with a call: one error, with all that the server told.

import type { Message } from "@bufbuild/protobuf";
import { fromBinary } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import { type Any, anyUnpack, type Duration } from "@bufbuild/protobuf/wkt";
import { type Metadata, type ServiceError, status } from "@grpc/grpc-js";

import type { Failure } from "./gen/finesieve/v1/results_pb.js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";

const DETAILS_KEY = "grpc-status-details-bin";
const REQUEST_ID_KEY = "x-request-id";

/** The name of a gRPC status, such as "NOT_FOUND". */
export type Code = Exclude<keyof typeof status, "OK">;

/** One field at fault: its path, such as "passages[3].id", and what is wrong with it. */
export interface Violation {
  field: string;
  description: string;
}

/** What may be told of an error beside its message. */
export interface ErrorFacts {
  code: Code;
  reason?: string;
  metadata?: Readonly<Record<string, string>>;
  violations?: readonly Violation[];
  retryDelayMs?: number | undefined;
  requestId?: string;
  cause?: unknown;
}

/**
 * A call, or one item of it, that the server did not answer as asked.
 *
 * Where gRPC told of it, its `ServiceError` is the `cause`.
 */
export class FinesieveError extends Error {
  override readonly name = "FinesieveError";
  readonly code: Code;
  /** Stable, in UPPER_SNAKE; empty where the server gave none. */
  readonly reason: string;
  /** The values that the message speaks of. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly violations: readonly Violation[];
  /** Set where trying again after so many milliseconds may help. */
  readonly retryDelayMs: number | undefined;
  /** Quote it when you report a fault of the server. */
  readonly requestId: string;

  constructor(message: string, facts: ErrorFacts) {
    super(message, "cause" in facts ? { cause: facts.cause } : undefined);
    this.code = facts.code;
    this.reason = facts.reason ?? "";
    this.metadata = facts.metadata ?? {};
    this.violations = facts.violations ?? [];
    this.retryDelayMs = facts.retryDelayMs;
    this.requestId = facts.requestId ?? "";
  }
}

/** Translate what gRPC says of a call that failed. */
export function errorOfCall(error: ServiceError): FinesieveError {
  const details = detailsOf(error.metadata);
  const info = find(details, ErrorInfoSchema);
  const requestId = find(details, RequestInfoSchema)?.requestId;
  return new FinesieveError(error.details, {
    code: codeOf(error.code),
    reason: info?.reason ?? "",
    metadata: info?.metadata ?? {},
    violations: (find(details, BadRequestSchema)?.fieldViolations ?? []).map(
      ({ field, description }) => ({ field, description }),
    ),
    retryDelayMs: milliseconds(find(details, RetryInfoSchema)?.retryDelay),
    requestId: requestId || String(error.metadata.get(REQUEST_ID_KEY)[0] ?? ""),
    cause: error,
  });
}

/** Translate the failure of one item of a call that itself went on. */
export function errorOfFailure(failure: Failure): FinesieveError {
  return new FinesieveError(failure.message, {
    code: codeOf(failure.code),
    reason: failure.reason,
    violations: failure.field ? [{ field: failure.field, description: failure.message }] : [],
    retryDelayMs: milliseconds(failure.retryDelay),
  });
}

/** Return the error of a call that its own caller cancelled. */
export function cancelled(signal: AbortSignal): FinesieveError {
  return new FinesieveError("the caller cancelled the call", {
    code: "CANCELLED",
    cause: signal.reason,
  });
}

function codeOf(code: number): Code {
  return (status[code] ?? "UNKNOWN") as Code;
}

function detailsOf(trailers: Metadata): readonly Any[] {
  const [encoded] = trailers.get(DETAILS_KEY);
  if (!(encoded instanceof Uint8Array)) return [];
  return orNothing(() => fromBinary(StatusSchema, encoded).details) ?? [];
}

function find<T extends Message>(details: readonly Any[], schema: GenMessage<T>): T | undefined {
  for (const detail of details) {
    const found = orNothing(() => anyUnpack(detail, schema));
    if (found) return found;
  }
  return undefined;
}

/** A proxy's garbage must not hide the error itself. */
function orNothing<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch {
    return undefined;
  }
}

function milliseconds(duration: Duration | undefined): number | undefined {
  return duration && Number(duration.seconds) * 1e3 + duration.nanos / 1e6;
}
