// Write conditions on passages: where.allOf(where.range("year", { gte: 2020 }), ...).

import { create, fromJson } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";

import { type Filter, FilterSchema, FiltersSchema } from "./gen/finesieve/v1/passages_pb.js";

/** Bounds are all numbers or all strings; strings order by code point, as RFC 3339 dates do. */
export interface Bounds<T extends number | string> {
  gt?: T | undefined;
  gte?: T | undefined;
  lt?: T | undefined;
  lte?: T | undefined;
}

type Scalar = string | number | boolean | null;

/** Conditions. A field is a dotted path into metadata, such as "author.name". */
export const where = {
  /** The field is one of the values; a list, where one of its elements is. */
  equals: (field: string, ...values: Scalar[]): Filter =>
    create(FilterSchema, {
      condition: { case: "match", value: { field, anyOf: values.map(valueOf) } },
    }),
  range: <T extends number | string>(field: string, { gt, gte, lt, lte }: Bounds<T>): Filter =>
    create(FilterSchema, {
      condition: {
        case: "range",
        value: {
          field,
          ...(gt !== undefined && { gt: valueOf(gt) }),
          ...(gte !== undefined && { gte: valueOf(gte) }),
          ...(lt !== undefined && { lt: valueOf(lt) }),
          ...(lte !== undefined && { lte: valueOf(lte) }),
        },
      },
    }),
  /** The field has any value. */
  exists: (field: string): Filter =>
    create(FilterSchema, { condition: { case: "exists", value: { field } } }),
  /** The passage was cut from this document. */
  document: (documentId: string): Filter =>
    create(FilterSchema, { condition: { case: "documentId", value: documentId } }),
  allOf: (...filters: Filter[]): Filter => joined("allOf", filters),
  anyOf: (...filters: Filter[]): Filter => joined("anyOf", filters),
  noneOf: (...filters: Filter[]): Filter => joined("noneOf", filters),
};

function joined(kind: "allOf" | "anyOf" | "noneOf", filters: Filter[]): Filter {
  return create(FilterSchema, {
    condition: { case: kind, value: create(FiltersSchema, { filters }) },
  });
}

function valueOf(value: Scalar): Value {
  return fromJson(ValueSchema, value);
}
