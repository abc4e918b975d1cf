// A gRPC server on a free port of this machine whose methods a test scripts.

import type { TestContext } from "node:test";

import {
  create,
  type DescMessage,
  type DescService,
  fromBinary,
  type Message,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  status,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";

import { StatusSchema } from "../src/gen/google/rpc/status_pb.js";
import type { Code } from "../src/index.js";

/** Serve methods by their local names, as grpc-js wants them; return the target. */
export async function serve(
  test: TestContext,
  service: DescService,
  handlers: UntypedServiceImplementation,
): Promise<string> {
  const server = new Server();
  server.addService(definition(service), handlers);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(error);
      else resolve(bound);
    });
  });
  test.after(() => {
    server.forceShutdown();
  });
  return `127.0.0.1:${String(port)}`;
}

/** Return the error that a handler answers with, as the real server packs it. */
export function failure(
  code: Code,
  message: string,
  details: [DescMessage, MessageInitShape<DescMessage>][] = [],
  trailers: Record<string, string> = {},
): { code: status; details: string; metadata: Metadata } {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(trailers)) metadata.set(key, value);
  if (details.length > 0) {
    const packed = details.map(([schema, init]) => anyPack(schema, create(schema, init)));
    const encoded = toBinary(StatusSchema, create(StatusSchema, { details: packed }));
    metadata.set("grpc-status-details-bin", Buffer.from(encoded));
  }
  return { code: status[code], details: message, metadata };
}

function definition(service: DescService): ServiceDefinition {
  const methods = service.methods.map(({ name, localName, methodKind, input, output }) => [
    localName,
    {
      path: `/${service.typeName}/${name}`,
      requestStream: methodKind === "bidi_streaming",
      responseStream: methodKind !== "unary",
      requestSerialize: encoder(input),
      requestDeserialize: (bytes: Buffer) => fromBinary(input, bytes),
      responseSerialize: encoder(output),
      responseDeserialize: (bytes: Buffer) => fromBinary(output, bytes),
    },
  ]);
  return Object.fromEntries(methods) as ServiceDefinition;
}

function encoder(schema: DescMessage): (fields: MessageInitShape<DescMessage>) => Buffer {
  return (fields) => Buffer.from(toBinary(schema, create(schema, fields) as Message));
}
