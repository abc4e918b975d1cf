// Answer a question from a collection, and say which passages the answer rests on.
//
//     npm run rag -- localhost:50051 docs "how do I copy a folder with everything in it?"
//
// OPENAI_BASE_URL or OPENAI_API_KEY, with OPENAI_MODEL, say which model answers. With neither of
// the two, the best passages' own words are the answer.

import { cited, createClient, FinesieveError, LongPassage, prompt } from "@finesieve/client";
import type { SearchHit } from "@finesieve/client";
import OpenAI from "openai";

const { OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_MODEL } = process.env;
const NUM_PASSAGES = 5;
const NUM_QUOTES = 3;
const MAX_QUOTE_TOKENS = 64;

const [target, collection, question] = process.argv.slice(2);
if (!target || !collection || !question) {
  console.error("usage: npm run rag -- TARGET COLLECTION QUESTION");
  process.exit(2);
}
try {
  await answer(target, collection, question);
} catch (error) {
  if (!(error instanceof FinesieveError || error instanceof OpenAI.OpenAIError)) throw error;
  console.error(
    error instanceof FinesieveError ? `${error.code}: ${error.message}` : error.message,
  );
  process.exitCode = 1;
}

async function answer(target: string, collection: string, question: string): Promise<void> {
  const hits = await search(target, collection, question);
  if (hits.length === 0) console.log("Nothing was found.");
  else if (OPENAI_API_KEY || OPENAI_BASE_URL) printSources(await generate(question, hits), hits);
  else for (const hit of hits.slice(0, NUM_QUOTES)) console.log(`${quote(hit)} — ${source(hit)}`);
}

async function search(target: string, collection: string, query: string): Promise<SearchHit[]> {
  const client = createClient(target);
  try {
    const { hits } = await client.search({
      collection,
      query,
      topN: NUM_PASSAGES,
      // Scored in chunks, a long passage tells which part of it is the best one.
      rerank: { longPassage: LongPassage.CHUNK, maxPassageTokens: MAX_QUOTE_TOKENS },
    });
    return hits;
  } finally {
    client.close();
  }
}

/** Print the model's answer while it comes; return it. */
async function generate(question: string, hits: SearchHit[]): Promise<string> {
  if (!OPENAI_MODEL) throw new OpenAI.OpenAIError("no model; set OPENAI_MODEL");
  const openai = new OpenAI({ apiKey: OPENAI_API_KEY || "none" });
  const pieces = await openai.chat.completions.create({
    model: OPENAI_MODEL,
    messages: [{ role: "user", content: prompt(question, hits) }],
    stream: true,
  });
  let answer = "";
  for await (const piece of pieces) {
    const text = piece.choices[0]?.delta.content ?? "";
    process.stdout.write(text);
    answer += text;
  }
  console.log();
  return answer;
}

function printSources(answer: string, hits: SearchHit[]): void {
  const ids = cited(answer, hits);
  for (const [index, found] of hits.entries()) {
    const id = found.hit?.passage?.id;
    if (id !== undefined && ids.includes(id))
      console.log(`[${String(index + 1)}] ${source(found)}`);
  }
}

/** Return the best part of a hit's text; spans count characters, not UTF-16 units. */
function quote({ hit }: SearchHit): string {
  const characters = Array.from(hit?.passage?.text ?? "");
  return characters.slice(hit?.bestSpan?.start, hit?.bestSpan?.end).join("").trim();
}

function source({ hit }: SearchHit): string {
  return [hit?.passage?.title, `(${hit?.passage?.id ?? ""})`].filter(Boolean).join(" ");
}
