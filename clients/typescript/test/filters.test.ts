import assert from "node:assert/strict";
import { test } from "node:test";

import { toJson } from "@bufbuild/protobuf";

import { type Filter, FilterSchema, where } from "../src/index.js";

function json(filter: Filter): unknown {
  return toJson(FilterSchema, filter);
}

test("conditions are the contract's filters", () => {
  const filter = where.allOf(
    where.equals("lang", "en", 1, true, null),
    where.range("year", { gte: 2020, lt: 2030 }),
    where.anyOf(where.exists("author.name"), where.document("d")),
    where.noneOf(where.range("date", { gt: "2020-01-01" })),
  );

  assert.deepEqual(json(filter), {
    allOf: {
      filters: [
        { match: { field: "lang", anyOf: ["en", 1, true, null] } },
        { range: { field: "year", gte: 2020, lt: 2030 } },
        { anyOf: { filters: [{ exists: { field: "author.name" } }, { documentId: "d" }] } },
        { noneOf: { filters: [{ range: { field: "date", gt: "2020-01-01" } }] } },
      ],
    },
  });
});
