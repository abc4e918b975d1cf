// Make one call: a promise for one answer, an async iterable for a stream of them.

import { once } from "node:events";

import { create, type DescMethod, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import type { ClientDuplexStream, ClientReadableStream, ServiceError } from "@grpc/grpc-js";

import type { Connection } from "./connection.js";
import { cancelled, errorOfCall, FinesieveError } from "./errors.js";

/** What grpc-js says of a call on a channel that was closed. */
const CLOSED = "Channel has been shut down";

/** How one call differs from what its client does by itself. */
export interface CallOptions {
  /** Deadline in milliseconds from now; Infinity: none. Streams have none by themselves. */
  timeoutMs?: number | undefined;
  /** Cancels the call: it then fails with code CANCELLED. */
  signal?: AbortSignal | undefined;
}

/** What stands for a request: a message, or the fields of one. */
type Init = Record<string, unknown>;
/** What a stream sends. */
type Requests = AsyncIterable<Init> | Iterable<Init>;

/** Call a method that takes one request and gives one answer. */
export async function unary(
  connection: Connection,
  method: DescMethod,
  request: Init,
  options: CallOptions = {},
): Promise<Message> {
  const encoded = encode(method, request);
  try {
    return await answerOf(connection, method, encoded, options);
  } catch (error) {
    throw failureOf(error, options.signal); // made here, its stack names who called
  }
}

/** Call a method that takes one request and gives many answers. */
export async function* serverStream(
  connection: Connection,
  method: DescMethod,
  request: Init,
  options: CallOptions = {},
): AsyncGenerator<Message, void, undefined> {
  const encoded = encode(method, request);
  const call = begin(options.signal, () =>
    connection.channel.makeServerStreamRequest(
      path(method),
      asIs,
      (bytes) => fromBinary(method.output, bytes),
      encoded,
      connection.metadata.clone(),
      deadlineOf(options),
    ),
  );
  yield* answersOf(call, options.signal);
}

/**
 * Call a method that takes and gives many messages at the same time.
 *
 * No request is taken from `requests` before there is room for it on the way to the server, and no
 * answer from the server before somebody asks for it, but for a few that are kept ready.
 */
export async function* bidiStream(
  connection: Connection,
  method: DescMethod,
  requests: Requests,
  options: CallOptions = {},
): AsyncGenerator<Message, void, undefined> {
  const call = begin(options.signal, () =>
    connection.streams.makeBidiStreamRequest<Buffer, Message>(
      path(method),
      asIs,
      (bytes) => fromBinary(method.output, bytes),
      connection.metadata.clone(),
      deadlineOf(options),
    ),
  );
  const failures: unknown[] = [];
  send(call, method, requests).catch((error: unknown) => {
    failures.push(error);
    call.cancel();
  });
  try {
    yield* answersOf(call, options.signal);
  } catch (error) {
    throw failures.length > 0 ? failures[0] : error;
  }
}

/** Send a stream's requests for as long as its call goes on; rejects with what they throw. */
async function send(
  call: ClientDuplexStream<Buffer, Message>,
  method: DescMethod,
  requests: Requests,
): Promise<void> {
  const over = new AbortController();
  const end = () => {
    over.abort();
  };
  call.on("error", end);
  call.on("status", end);
  for await (const request of requests) {
    if (over.signal.aborted) return;
    const hasRoom = call.write(encode(method, request));
    if (!hasRoom) await once(call, "drain", { signal: over.signal }).catch(() => undefined);
  }
  call.end();
}

/** Return a call's one answer; rejects with gRPC's own error. */
function answerOf(
  { channel, metadata, timeoutMs: usualTimeoutMs }: Connection,
  method: DescMethod,
  encoded: Buffer,
  { timeoutMs = usualTimeoutMs, signal }: CallOptions,
): Promise<Message> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const call = channel.makeUnaryRequest(
      path(method),
      asIs,
      (bytes) => fromBinary(method.output, bytes),
      encoded,
      metadata.clone(),
      { deadline: Date.now() + timeoutMs },
      (error, answer) => {
        signal?.removeEventListener("abort", cancel);
        if (answer) resolve(answer);
        else if (error) reject(error);
      },
    );
    const cancel = () => {
      call.cancel();
    };
    signal?.addEventListener("abort", cancel);
  });
}

/** Yield a stream's answers; who leaves the loop before its end cancels the call. */
async function* answersOf(
  call: ClientReadableStream<Message>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Message, void, undefined> {
  const cancel = () => {
    call.cancel();
  };
  call.on("error", () => undefined); // may come while nobody reads; the next read throws it
  signal?.addEventListener("abort", cancel);
  try {
    for await (const answer of call as AsyncIterable<Message>) {
      if (signal?.aborted) break;
      yield answer;
    }
  } catch (error) {
    throw failureOf(error, signal);
  } finally {
    signal?.removeEventListener("abort", cancel);
    cancel();
  }
  if (signal?.aborted) throw cancelled(signal);
}

/** Make a stream's call; throws where it was aborted, or its client closed, before. */
function begin<C>(signal: AbortSignal | undefined, make: () => C): C {
  if (signal?.aborted) throw cancelled(signal);
  try {
    return make();
  } catch (error) {
    throw failureOf(error, signal);
  }
}

/** Translate gRPC's error; one of another kind stays as it is. */
function failureOf(error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return cancelled(signal);
  if (!(error instanceof Error)) return error;
  if ("metadata" in error) return errorOfCall(error as ServiceError);
  return error.message === CLOSED
    ? new FinesieveError(error.message, { code: "CANCELLED", cause: error })
    : error;
}

function path(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** Encode here, not in gRPC, so that a number out of range fails the call and nothing else. */
function encode(method: DescMethod, request: Init): Buffer {
  const bytes = toBinary(method.input, create(method.input, request));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function asIs(bytes: Buffer): Buffer {
  return bytes;
}

function deadlineOf({ timeoutMs }: CallOptions): { deadline?: number } {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}
