// Read and write messages that are preceded by their length: four bytes, big-endian.

import { once } from "node:events";
import type { Readable, Writable } from "node:stream";

const LENGTH_BYTES = 4;

/** Yield each message of a stream until it ends. */
export async function* frames(input: Readable): AsyncGenerator<Buffer, void, undefined> {
  let chunks: Buffer[] = [];
  let numBytes = 0;
  let wanted = LENGTH_BYTES;
  let inHead = true;
  for await (const chunk of input as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    numBytes += chunk.length;
    while (numBytes >= wanted) {
      const bytes = Buffer.concat(chunks);
      const part = bytes.subarray(0, wanted);
      chunks = [bytes.subarray(wanted)];
      numBytes -= wanted;
      wanted = inHead ? part.readUInt32BE() : LENGTH_BYTES;
      if (!inHead) yield part;
      inHead = !inHead;
    }
  }
}

/** Write a message, and wait where the reader is behind. */
export async function writeFrame(output: Writable, message: Uint8Array): Promise<void> {
  const head = Buffer.alloc(LENGTH_BYTES);
  head.writeUInt32BE(message.length);
  output.write(head);
  if (!output.write(message)) await once(output, "drain");
}
