//! Read and write a passage's metadata as JSON.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::{Map, Number, Value as Json};

/// Return JSON as the contract has it: for values of filters.
///
/// Numbers become doubles: write integers beyond 2^53 as strings.
pub fn value_of(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(it) => Kind::BoolValue(it),
        Json::Number(it) => Kind::NumberValue(it.as_f64().unwrap_or(f64::NAN)),
        Json::String(it) => Kind::StringValue(it),
        Json::Array(it) => Kind::ListValue(ListValue {
            values: it.into_iter().map(value_of).collect(),
        }),
        Json::Object(it) => Kind::StructValue(struct_of(it)),
    };
    Value { kind: Some(kind) }
}

/// Return a JSON object as the contract has it: for a passage's metadata.
pub fn struct_of(json: Map<String, Json>) -> Struct {
    Struct {
        fields: json
            .into_iter()
            .map(|(name, value)| (name, value_of(value)))
            .collect(),
    }
}

/// Return a passage's metadata as a JSON object; numbers without a fraction are integers.
pub fn json_of(metadata: &Struct) -> Json {
    Json::Object(
        metadata
            .fields
            .iter()
            .map(|(name, value)| (name.clone(), json(value)))
            .collect(),
    )
}

fn json(value: &Value) -> Json {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(it)) => Json::Bool(*it),
        Some(Kind::NumberValue(it)) => number(*it),
        Some(Kind::StringValue(it)) => Json::String(it.clone()),
        Some(Kind::ListValue(it)) => Json::Array(it.values.iter().map(json).collect()),
        Some(Kind::StructValue(it)) => json_of(it),
    }
}

/// Return a number as people write it; null where JSON has none such.
fn number(number: f64) -> Json {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if number.fract() == 0.0 && number.abs() <= EXACT {
        Json::from(number as i64)
    } else {
        Number::from_f64(number).map_or(Json::Null, Json::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metadata_comes_back_as_it_was() {
        let json = json!({
            "year": 2024,
            "rating": 4.5,
            "tags": ["a", null, true],
            "author": {"name": "Ngô Bảo Châu"},
        });
        let Json::Object(object) = json.clone() else {
            unreachable!()
        };

        assert_eq!(json_of(&struct_of(object)), json);
    }

    #[test]
    fn what_json_cannot_say_is_null() {
        let value = Value {
            kind: Some(Kind::NumberValue(f64::INFINITY)),
        };
        let fields = [("x".to_owned(), value), ("y".to_owned(), Value::default())].into();

        assert_eq!(json_of(&Struct { fields }), json!({"x": null, "y": null}));
    }
}
