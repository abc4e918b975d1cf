import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import type { sendUnaryData, ServerDuplexStream, ServerUnaryCall } from "@grpc/grpc-js";

import {
  type Client,
  createClient,
  FinesieveError,
  RerankService,
  RetrievalService,
  type StreamRerankRequest,
} from "../src/index.js";
import { failure, serve } from "./scripted-server.js";

type Unary<I = unknown> = (call: ServerUnaryCall<I, object>, answer: sendUnaryData<object>) => void;
type Rerank = (call: ServerDuplexStream<StreamRerankRequest, object>) => void;

async function retrieval(t: TestContext, handlers: Record<string, Unary>): Promise<Client> {
  return clientOf(t, await serve(t, RetrievalService, handlers));
}

async function rerank(t: TestContext, streamRerank: Rerank): Promise<Client> {
  return clientOf(t, await serve(t, RerankService, { streamRerank }));
}

function clientOf(t: TestContext, target: string): Client {
  const client = createClient(target);
  t.after(client.close);
  return client;
}

function code(expected: string): (error: unknown) => boolean {
  return (error) => error instanceof FinesieveError && error.code === expected;
}

/** What one side of a test waits for until the other side opens it. */
class Gate {
  open: () => void = () => undefined;
  readonly opened = new Promise<void>((resolve) => {
    this.open = resolve;
  });
}

async function all<T>(answers: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const answer of answers) collected.push(answer);
  return collected;
}

const never: Unary = () => undefined;

test("a count beyond 2^53 keeps its last digit", async (t) => {
  const count = 2n ** 53n + 1n;
  const client = await retrieval(t, {
    getCollection: (_, answer) => {
      answer(null, { collection: { passageCount: count } });
    },
  });

  const { collection } = await client.getCollection({ name: "docs" });

  assert.equal(collection?.passageCount, count);
});

test("metadata goes and comes as a plain object", async (t) => {
  const metadata = { year: 2026, tags: ["a", "b"], author: { name: "Ada" }, draft: null };
  let stored: object[] = [];
  const client = await retrieval(t, {
    upsertPassages: (call: ServerUnaryCall<{ passages: object[] }, object>, answer) => {
      stored = call.request.passages;
      answer(null, {});
    },
    getPassages: (_, answer) => {
      answer(null, { passages: stored });
    },
  } as Record<string, Unary>);

  await client.upsertPassages({ collection: "docs", passages: [{ id: "a", metadata }] });
  const { passages } = await client.getPassages({ collection: "docs", ids: ["a"] });

  assert.deepEqual(passages[0]?.metadata, metadata);
});

test("a call ends at its deadline", async (t) => {
  const client = await retrieval(t, { getCollection: never });

  await assert.rejects(
    client.getCollection({ name: "docs" }, { timeoutMs: 50 }),
    code("DEADLINE_EXCEEDED"),
  );
});

test("a client's own deadline holds where a call names none", async (t) => {
  const target = await serve(t, RetrievalService, { getCollection: never });
  const client = createClient(target, { timeoutMs: 50 });
  t.after(client.close);

  await assert.rejects(client.getCollection({ name: "docs" }), code("DEADLINE_EXCEEDED"));
});

test("a signal cancels a call, here and at the server", async (t) => {
  const stop = new AbortController();
  const cancelledThere = new Gate();
  const client = await retrieval(t, {
    getCollection: (call) => {
      call.on("cancelled", cancelledThere.open);
      stop.abort("enough");
    },
  });

  const called = client.getCollection({ name: "docs" }, { signal: stop.signal });

  await assert.rejects(called, { code: "CANCELLED", cause: "enough" });
  await cancelledThere.opened;
});

test("an aborted signal makes no call", async (t) => {
  let numCalls = 0;
  const client = await retrieval(t, {
    getCollection: (_, answer) => {
      numCalls++;
      answer(null, {});
    },
  });

  const options = { signal: AbortSignal.abort() };

  await assert.rejects(client.getCollection({ name: "docs" }, options), code("CANCELLED"));
  assert.equal(numCalls, 0);
});

test("an error's stack names who called", async (t) => {
  const client = await retrieval(t, {
    getCollection: (_, answer) => {
      answer(failure("NOT_FOUND", "no such collection"), null);
    },
  });

  async function theCaller() {
    await client.getCollection({ name: "docs" });
  }

  await assert.rejects(theCaller(), ({ stack = "" }: Error) => stack.includes("theCaller"));
});

test("a call of a closed client is told, and breaks nothing", async () => {
  const client = createClient();
  client.close();

  await assert.rejects(client.listModels({}), code("CANCELLED"));
  await assert.rejects(all(client.streamRerank([])), code("CANCELLED"));
  await assert.rejects(all(client.exportTrainingPairs({})), code("CANCELLED"));
});

test("a field that cannot be encoded fails its call alone", async (t) => {
  const client = await retrieval(t, {
    retrieve: (_, answer) => {
      answer(null, {});
    },
  });

  await assert.rejects(client.retrieve({ collection: "docs", topK: -1 }), /top_k/);
  await client.retrieve({ collection: "docs", topK: 1 });
});

test("what can be repeated is tried again after the server's own pause", async (t) => {
  let numCalls = 0;
  const client = await retrieval(t, {
    getCollection: (_, answer) => {
      const hasRoom = ++numCalls === 3;
      if (hasRoom) answer(null, { collection: { name: "docs" } });
      else
        answer(failure("RESOURCE_EXHAUSTED", "full", [], { "grpc-retry-pushback-ms": "1" }), null);
    },
  });

  const { collection } = await client.getCollection({ name: "docs" });

  assert.equal(collection?.name, "docs");
});

test("what is large is tried again, too", async (t) => {
  let numCalls = 0;
  const client = await retrieval(t, {
    upsertPassages: (_, answer) => {
      if (++numCalls === 3) answer(null, {});
      else
        answer(failure("RESOURCE_EXHAUSTED", "full", [], { "grpc-retry-pushback-ms": "1" }), null);
    },
  });

  await client.upsertPassages({ collection: "docs", passages: [{ text: "x".repeat(3e6) }] });

  assert.equal(numCalls, 3);
});

test("a server that says so is not asked again", async (t) => {
  let numCalls = 0;
  const client = await retrieval(t, {
    getCollection: (_, answer) => {
      numCalls++;
      answer(failure("RESOURCE_EXHAUSTED", "full", [], { "grpc-retry-pushback-ms": "-1" }), null);
    },
  });

  await assert.rejects(client.getCollection({ name: "docs" }), code("RESOURCE_EXHAUSTED"));
  assert.equal(numCalls, 1);
});

test("what cannot be repeated is tried once", async (t) => {
  let numCalls = 0;
  const client = await retrieval(t, {
    createCollection: (_, answer) => {
      numCalls++;
      answer(failure("UNAVAILABLE", "gone"), null);
    },
  });

  await assert.rejects(client.createCollection({ name: "docs" }), code("UNAVAILABLE"));
  assert.equal(numCalls, 1);
});

const echo: Rerank = (call) => {
  call.on("data", ({ requestId }: StreamRerankRequest) => call.write({ requestId }));
  call.on("end", () => {
    call.end();
  });
};

function* numbered(times: number) {
  for (let number = 0; number < times; number++) yield { requestId: String(number) };
}

test("a stream takes requests and gives answers at the same time", async (t) => {
  const client = await rerank(t, echo);
  const asked = new Gate();
  async function* requests() {
    yield { requestId: "first" };
    await asked.opened; // holds the second back until the first is answered
    yield { requestId: "second" };
  }
  const ids: string[] = [];

  for await (const { requestId } of client.streamRerank(requests())) {
    ids.push(requestId);
    asked.open();
  }

  assert.deepEqual(ids, ["first", "second"]);
});

test("a long stream arrives whole and in order", async (t) => {
  const client = await rerank(t, echo);
  let next = 0;

  for await (const { requestId } of client.streamRerank(numbered(5000))) {
    assert.equal(requestId, String(next++));
  }

  assert.equal(next, 5000);
});

test("requests are not taken faster than the server reads them", async (t) => {
  const client = await rerank(t, () => undefined); // reads nothing
  let numTaken = 0;
  const request = { request: { query: "x".repeat(100_000) } };
  function* requests() {
    for (; numTaken < 1000; numTaken++) yield request;
  }

  const answers = client.streamRerank(requests(), { timeoutMs: 500 });

  await assert.rejects(answers[Symbol.asyncIterator]().next(), code("DEADLINE_EXCEEDED"));
  assert.ok(numTaken < 200, `${String(numTaken)} requests of 100 kB were taken`);
});

test("answers are not fetched faster than they are read", async (t) => {
  let numWritten = 0;
  const answer = { response: { model: "x".repeat(100_000) } };
  const client = await rerank(t, (call) => {
    const write = () => {
      while (numWritten < 1000) {
        numWritten++;
        if (!call.write({ outcome: { case: "response", value: answer.response } })) {
          call.once("drain", write);
          return;
        }
      }
    };
    write();
  });

  for await (const _ of client.streamRerank([{}])) {
    await sleep(300);
    break;
  }

  assert.ok(numWritten < 200, `${String(numWritten)} answers of 100 kB were sent`);
});

test("who leaves a stream's loop cancels it at the server", async (t) => {
  const cancelledThere = new Gate();
  const client = await rerank(t, (call) => {
    echo(call);
    call.on("cancelled", cancelledThere.open);
  });
  async function* requests() {
    yield { requestId: "only" };
    await new Promise(() => undefined);
  }

  for await (const _ of client.streamRerank(requests())) break;

  await cancelledThere.opened;
});

test("a signal ends a stream's loop with CANCELLED", async (t) => {
  const client = await rerank(t, echo);
  const stop = new AbortController();
  let numAnswers = 0;
  async function read() {
    for await (const _ of client.streamRerank(numbered(1000), { signal: stop.signal })) {
      if (++numAnswers === 3) stop.abort();
    }
  }

  await assert.rejects(read(), code("CANCELLED"));
  assert.equal(numAnswers, 3);
});

test("what a stream's requests throw comes out of its answers, and cancels it", async (t) => {
  const [arrivedThere, cancelledThere] = [new Gate(), new Gate()];
  const client = await rerank(t, (call) => {
    call.on("data", arrivedThere.open);
    call.on("cancelled", cancelledThere.open);
  });
  async function* requests() {
    yield { requestId: "only" };
    await arrivedThere.opened;
    throw new RangeError("no more");
  }

  await assert.rejects(all(client.streamRerank(requests())), new RangeError("no more"));
  await cancelledThere.opened;
});

test("requests that throw at once are told, too", async (t) => {
  const client = await rerank(t, echo);
  // eslint-disable-next-line require-yield
  function* requests(): Generator<never> {
    throw new RangeError("none");
  }

  await assert.rejects(all(client.streamRerank(requests())), new RangeError("none"));
});

test("a stream that the server ends stops taking requests", async (t) => {
  const client = await rerank(t, (call) => {
    call.end();
  });
  const returned = new Gate();
  async function* requests() {
    try {
      for (;;) {
        yield { requestId: "again" };
        await sleep(1);
      }
    } finally {
      returned.open();
    }
  }

  assert.deepEqual(await all(client.streamRerank(requests())), []);
  await returned.opened;
});

test("an error ends a stream after the answers before it", async (t) => {
  const client = await rerank(t, (call) => {
    call.write({ requestId: "first" });
    call.emit("error", failure("DATA_LOSS", "damaged"));
  });
  const ids: string[] = [];
  async function read() {
    for await (const { requestId } of client.streamRerank([])) ids.push(requestId);
  }

  await assert.rejects(read(), code("DATA_LOSS"));
  assert.deepEqual(ids, ["first"]);
});

test("a stream has no deadline by itself", async (t) => {
  const target = await serve(t, RerankService, { streamRerank: echo });
  const client = createClient(target, { timeoutMs: 50 });
  t.after(client.close);
  async function* requests() {
    await sleep(150);
    yield { requestId: "late" };
  }

  const answers = await all(client.streamRerank(requests()));

  assert.equal(answers[0]?.requestId, "late");
});
