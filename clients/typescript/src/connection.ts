// Decide how a server is reached: its address, TLS, token, retries and limits of the channel.

import { readFileSync } from "node:fs";
import { BlockList, isIPv4, isIPv6 } from "node:net";

import { type ChannelOptions, Client as Channel, Metadata, credentials } from "@grpc/grpc-js";

import { SERVICE_CONFIG, VERSION } from "./gen/constants.js";

export const DEFAULT_TARGET = "localhost:50051";
export const DEFAULT_TIMEOUT_MS = 30_000;
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
// What may be held to be tried again: of one call, more than the server takes; of all together.
const RETRY_BUFFERS = {
  "grpc.per_rpc_retry_buffer_size": 64 * 1024 * 1024,
  "grpc.retry_buffer_size": 256 * 1024 * 1024,
};
const HOST_AND_PORT = /^(?:dns:\/\/\/)?(?:\[(?<ipv6>[\da-f:.]+)\]|(?<host>[\da-z.-]+))(?::\d+)?$/i;

/** Paths of PEM files. Without `rootCertificates` Node's own authorities are trusted. */
export interface Tls {
  rootCertificates?: string | undefined;
  /** Proves, together with `clientKey`, who the client is. */
  clientCertificate?: string | undefined;
  clientKey?: string | undefined;
  /** What the server's certificate must name where that is not the host in the target. */
  serverName?: string | undefined;
}

export interface ClientOptions {
  /** Speak TLS. */
  tls?: Tls | true | undefined;
  /** Travels as a bearer token, and only over TLS or to this same machine. */
  token?: string | undefined;
  /** Default deadline of calls that are not streams, in milliseconds. Default: 30,000. */
  timeoutMs?: number | undefined;
}

/** A channel to one server, and what each call on it carries. */
export interface Connection {
  target: string;
  channel: Channel;
  /** For streams of requests: it keeps little for another try, so that their sender is held back. */
  streams: Channel;
  metadata: Metadata;
  timeoutMs: number;
}

/** Open a channel; nothing is sent before the first call. */
export function connect(target: string, options: ClientOptions): Connection {
  const { token, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const tls = options.tls === true ? {} : options.tls;
  if (token && !tls && !isLoopback(target)) {
    throw new Error(`a token would travel to ${target} in the clear; speak TLS`);
  }
  const metadata = new Metadata();
  if (token) metadata.set("authorization", `Bearer ${token}`);
  const security = tls ? tlsCredentials(tls) : credentials.createInsecure();
  const common = channelOptions(target, tls);
  return {
    target,
    channel: new Channel(target, security, { ...common, ...RETRY_BUFFERS }),
    streams: new Channel(target, security, common),
    metadata,
    timeoutMs,
  };
}

/** Tell whether a target can only mean this same machine; what is not understood may not. */
export function isLoopback(target: string): boolean {
  if (target.startsWith("unix:")) return true;
  const { ipv6 = "", host = "" } = HOST_AND_PORT.exec(target)?.groups ?? {};
  if (isIPv4(host)) return LOOPBACK.check(host, "ipv4");
  if (isIPv6(ipv6)) return LOOPBACK.check(ipv6, "ipv6");
  return host === "localhost";
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

function tlsCredentials({ rootCertificates, clientCertificate, clientKey }: Tls) {
  if (!clientCertificate !== !clientKey) {
    throw new Error("clientCertificate and clientKey belong together; one is missing");
  }
  return credentials.createSsl(read(rootCertificates), read(clientKey), read(clientCertificate));
}

function read(path: string | undefined): Buffer | null {
  return path ? readFileSync(path) : null;
}

function channelOptions(target: string, tls: Tls | undefined): ChannelOptions {
  return {
    // gRPC obeys the server's grpc-retry-pushback-ms before any wait that is named there.
    "grpc.service_config": SERVICE_CONFIG,
    "grpc.service_config_disable_resolution": 1, // no TXT record overrides it
    "grpc.max_receive_message_length": MAX_ANSWER_BYTES,
    "grpc.max_send_message_length": -1, // the server says what is too long
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.primary_user_agent": `finesieve-typescript/${VERSION}`,
    ...(isLoopback(target) && { "grpc.enable_http_proxy": 0 }), // that is another machine
    ...(tls?.serverName && { "grpc.ssl_target_name_override": tls.serverName }),
  };
}
