//! The fields of a request that hold text or octets, and requests with one of them replaced.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

/// Where a field is in the JSON form of a request: names, and `0` for the first item of a list.
#[derive(Clone, Debug)]
pub(super) struct Field {
    path: Vec<String>,
    pub(super) place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Text,
    Octets,
    /// A name, or a value, of a map of texts.
    MapName,
    MapValue,
}

/// What must be unset beside a field for its request to be good.
const EITHER_OR: [(&str, &str); 3] = [("data", "text"), ("text", "data"), ("text", "part_count")];

impl Field {
    /// Its own name, without those of the messages around it.
    pub(super) fn name(&self) -> &str {
        self.path.iter().rev().find(|step| *step != "0").expect("a field has a name")
    }

    /// The request with the value in this field.
    pub(super) fn fill(&self, request: &Value, value: &Value) -> Value {
        let mut filled = request.clone();
        let (last, around) = self.path.split_last().expect("a path has steps");
        let mut at = &mut filled;
        for step in around {
            at = enter(at, step);
        }
        if let Some(fields) = at.as_object_mut() {
            for (_, other) in EITHER_OR.iter().filter(|(name, _)| name == last) {
                fields.remove(*other);
            }
        }
        *enter(at, last) = match self.place {
            Place::Text | Place::Octets => value.clone(),
            Place::MapName => json!({value.as_str().expect("a name is a text"): "value"}),
            Place::MapValue => json!({"name": value}),
        };
        filled
    }
}

fn enter<'a>(at: &'a mut Value, step: &str) -> &'a mut Value {
    if step == "0" {
        if at.as_array().is_none_or(Vec::is_empty) {
            *at = json!([null]);
        }
        return &mut at[0];
    }
    if !at.is_object() {
        *at = Value::Object(Map::new());
    }
    &mut at[step]
}

/// Every field of the message, and of the messages in it.
pub(super) fn fields(message: &MessageDescriptor) -> Vec<Field> {
    message.fields().flat_map(|field| of_field(&field)).collect()
}

fn of_field(field: &FieldDescriptor) -> Vec<Field> {
    let mut path = vec![field.name().to_owned()];
    if field.is_list() {
        path.push("0".to_owned());
    }
    let here = |place| Field { path: path.clone(), place };
    match field.kind() {
        Kind::String => vec![here(Place::Text)],
        Kind::Bytes => vec![here(Place::Octets)],
        Kind::Message(_) if field.is_map() => vec![here(Place::MapName), here(Place::MapValue)],
        // One text in JSON.
        Kind::Message(mask) if mask.full_name() == "google.protobuf.FieldMask" => vec![here(Place::Text)],
        Kind::Message(inner) => {
            let inner = fields(&inner).into_iter();
            inner.map(|inner| Field { path: [path.clone(), inner.path].concat(), ..inner }).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn fields_are_found_and_filled_wherever_they_are() {
    let send = crate::support::raw::method("MessagingService/SendMessages").input();
    let fields = fields(&send);
    let of = |name: &str| fields.iter().filter(|field| field.name() == name).collect::<Vec<_>>();
    assert_eq!(of("metadata").len(), 2);
    let request = json!({"messages": [{"to": "+1", "text": "a"}], "idempotency_key": "key"});
    let filled = of("data")[0].fill(&request, &json!("YQ=="));
    assert_eq!(filled, json!({"messages": [{"to": "+1", "data": "YQ=="}], "idempotency_key": "key"}));
    let filled = of("metadata")[0].fill(&request, &json!("name"));
    assert_eq!(filled["messages"][0]["metadata"], json!({"name": "value"}));
}
