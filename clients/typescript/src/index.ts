// The package: a client, its errors, filters, prompts, and the contract's messages.

export { create, fromJson, toJson } from "@bufbuild/protobuf";

export type { CallOptions } from "./calls.js";
export { type Client, createClient } from "./client.js";
export type { ClientOptions, Tls } from "./connection.js";
export { type Code, errorOfFailure, FinesieveError, type Violation } from "./errors.js";
export { type Bounds, where } from "./filters.js";
export * from "./gen/finesieve/v1/embedding_pb.js";
export * from "./gen/finesieve/v1/feedback_pb.js";
export * from "./gen/finesieve/v1/models_pb.js";
export * from "./gen/finesieve/v1/passages_pb.js";
export * from "./gen/finesieve/v1/rerank_pb.js";
export * from "./gen/finesieve/v1/results_pb.js";
export * from "./gen/finesieve/v1/retrieval_pb.js";
export * from "./gen/finesieve/v1/search_pb.js";
export { cited, prompt } from "./prompt.js";
