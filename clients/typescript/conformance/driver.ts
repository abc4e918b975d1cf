// Carry out the conformance suite's orders through the client's public layer.
// What orders and outcomes mean stands in ../../conformance/proto.

import {
  create,
  type DescMethod,
  fromBinary,
  type Message,
  type MessageInitShape,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";

import {
  type CallOptions,
  cited,
  type Client,
  createClient,
  EmbeddingService,
  FeedbackService,
  FinesieveError,
  ModelService,
  prompt,
  RerankService,
  RetrievalService,
  SearchResponseSchema,
  SearchService,
} from "../src/index.js";
import { frames, writeFrame } from "./frames.js";
import {
  type Call,
  type Connection,
  ConnectionSchema,
  type Order,
  OrderSchema,
  OutcomeSchema,
  type Prompt,
} from "./gen/finesieve/conformance/v1/conformance_pb.js";

type Outcome = MessageInitShape<typeof OutcomeSchema>;

const KEPT_RESPONSES = 16;
const METHODS = new Map<string, DescMethod>(
  [
    RetrievalService,
    RerankService,
    SearchService,
    EmbeddingService,
    ModelService,
    FeedbackService,
  ].flatMap(({ typeName, methods }) =>
    methods.map((method) => [`${typeName}/${method.name}`, method]),
  ),
);
const clients = new Map<string, Client>();

for await (const frame of frames(process.stdin)) {
  const outcome = create(OutcomeSchema, await carryOut(fromBinary(OrderSchema, frame)));
  await writeFrame(process.stdout, toBinary(OutcomeSchema, outcome));
}
for (const client of clients.values()) client.close();

async function carryOut({ connection, what }: Order): Promise<Outcome> {
  const outcome: Outcome = {};
  try {
    switch (what.case) {
      case "call":
        await call(clientOf(connection), what.value, outcome);
        break;
      case "waitReady":
        await clientOf(connection).waitReady(what.value.timeoutMs);
        break;
      case "prompt":
        writePrompt(what.value, outcome);
        break;
      case undefined:
        throw new Error("an order of a kind that this driver does not know");
    }
  } catch (error) {
    if (error instanceof FinesieveError) outcome.error = told(error);
    else outcome.refusal = String(error);
  }
  return outcome;
}

function clientOf(connection: Connection = create(ConnectionSchema)): Client {
  const key = toJsonString(ConnectionSchema, connection);
  const client = clients.get(key) ?? newClient(connection);
  clients.set(key, client);
  return client;
}

function newClient({ target, token, timeoutMs, tls, ...files }: Connection): Client {
  const { rootCertificates, clientCertificate, clientKey, serverName } = files;
  const isTls = tls || rootCertificates || clientCertificate || clientKey || serverName;
  return createClient(target, {
    token,
    ...(timeoutMs && { timeoutMs }),
    ...(isTls && { tls: { rootCertificates, clientCertificate, clientKey, serverName } }),
  });
}

async function call(client: Client, order: Call, outcome: Outcome): Promise<void> {
  const method = METHODS.get(order.method);
  if (!method) throw new Error(`no method ${order.method}`);
  const stop = new AbortController();
  const timer =
    order.cancelAfterMs !== undefined &&
    setTimeout(() => {
      stop.abort();
    }, order.cancelAfterMs);
  const responses: Uint8Array[] = [];
  let count = 0;
  try {
    for await (const response of answers(client, method, order, stop.signal)) {
      if (responses.push(toBinary(method.output, response)) > KEPT_RESPONSES) responses.shift();
      if (++count === order.cancelAfterResponses) stop.abort();
    }
  } finally {
    if (timer) clearTimeout(timer);
    outcome.responses = responses;
    outcome.responseCount = BigInt(count);
  }
}

async function* answers(
  client: Client,
  method: DescMethod,
  { requests: encoded, repeat, timeoutMs }: Call,
  signal: AbortSignal,
): AsyncIterable<Message> {
  const requests = encoded.map((request) => fromBinary(method.input, request));
  const options: CallOptions = { signal, ...(timeoutMs !== undefined && { timeoutMs }) };
  // The method is the order's, so only the suite knows the types that go in and out.
  const callable = client[method.localName as keyof Client] as (
    ...args: unknown[]
  ) => Promise<Message> & AsyncIterable<Message>;
  switch (method.methodKind) {
    case "unary":
      yield await callable(requests[0], options);
      break;
    case "server_streaming":
      yield* callable(requests[0], options);
      break;
    default:
      yield* callable(repeated(requests, repeat || 1), options);
  }
}

function* repeated(requests: Message[], times: number): Generator<Message> {
  for (let time = 0; time < times; time++) yield* requests;
}

function writePrompt({ question, searchResponse, answer }: Prompt, outcome: Outcome): void {
  const { hits } = fromBinary(SearchResponseSchema, searchResponse);
  outcome.prompt = prompt(question, hits);
  if (answer) outcome.citedIds = cited(answer, hits);
}

function told(error: FinesieveError): NonNullable<Outcome["error"]> {
  return {
    code: status[error.code],
    message: error.message,
    reason: error.reason,
    metadata: error.metadata,
    violations: [...error.violations],
    ...(error.retryDelayMs !== undefined && { retryDelayS: error.retryDelayMs / 1000 }),
    requestId: error.requestId,
  };
}
