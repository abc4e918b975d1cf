// All of the contract's methods as one client, typed by the generated services.

import type {
  DescMethodBiDiStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescMethod,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { GenService, GenServiceMethods } from "@bufbuild/protobuf/codegenv2";

import { bidiStream, type CallOptions, serverStream, unary } from "./calls.js";
import { type ClientOptions, type Connection, connect, DEFAULT_TARGET } from "./connection.js";
import { EmbeddingService } from "./gen/finesieve/v1/embedding_pb.js";
import { FeedbackService } from "./gen/finesieve/v1/feedback_pb.js";
import { ModelService } from "./gen/finesieve/v1/models_pb.js";
import { RerankService } from "./gen/finesieve/v1/rerank_pb.js";
import { RetrievalService } from "./gen/finesieve/v1/retrieval_pb.js";
import { SearchService } from "./gen/finesieve/v1/search_pb.js";
import { waitReady } from "./readiness.js";

/** What a method of the contract is to its callers. */
type Callable<M extends DescMethod> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
      : M extends DescMethodBiDiStreaming<infer I, infer O>
        ? (
            requests: AsyncIterable<MessageInitShape<I>> | Iterable<MessageInitShape<I>>,
            options?: CallOptions,
          ) => AsyncIterable<MessageShape<O>>
        : never;

type Methods<S> = S extends { method: infer M }
  ? { [K in keyof M]: M[K] extends DescMethod ? Callable<M[K]> : never }
  : never;

/**
 * A finesieve server. Every method takes the fields of its request, and fails with FinesieveError.
 *
 * A stream is called when its answers are first asked for; who leaves their loop cancels it.
 */
export interface Client
  extends
    Methods<typeof RetrievalService>,
    Methods<typeof RerankService>,
    Methods<typeof SearchService>,
    Methods<typeof EmbeddingService>,
    Methods<typeof ModelService>,
    Methods<typeof FeedbackService> {
  /**
   * Return once the server says that it takes calls.
   *
   * Rejects with code DEADLINE_EXCEEDED where it does not within `timeoutMs` (default: the client's
   * own).
   */
  waitReady: (timeoutMs?: number) => Promise<void>;
  /** Close the channel. Calls under way fail. */
  close: () => void;
}

// The contract's lint wants requests named after their methods, so no name comes twice.
const SERVICES: readonly GenService<GenServiceMethods>[] = [
  RetrievalService,
  RerankService,
  SearchService,
  EmbeddingService,
  ModelService,
  FeedbackService,
];

/**
 * Make a client of the server at `target` ("host:port", or any gRPC target). Nothing is sent
 * before the first call.
 *
 * Throws where a token would travel in the clear, or a certificate cannot be read.
 */
export function createClient(target = DEFAULT_TARGET, options: ClientOptions = {}): Client {
  const connection = connect(target, options);
  const methods = SERVICES.flatMap((service) =>
    service.methods.map((method) => [method.localName, callable(connection, method)] as const),
  );
  return {
    ...Object.fromEntries(methods),
    waitReady: (timeoutMs = connection.timeoutMs) => waitReady(connection, timeoutMs),
    close: () => {
      connection.channel.close();
      connection.streams.close();
    },
  } as Client;
}

function callable(connection: Connection, method: DescMethod) {
  switch (method.methodKind) {
    case "unary":
      return unary.bind(undefined, connection, method);
    case "server_streaming":
      return serverStream.bind(undefined, connection, method);
    case "bidi_streaming":
      return bidiStream.bind(undefined, connection, method);
    case "client_streaming":
      throw new TypeError(`${method.name}: the contract has no such methods`);
  }
}
