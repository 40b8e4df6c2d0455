//! Resources of the API as ProtoJSON, for the audit trail and the archive.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};

use crate::proto::{DESCRIPTORS, v1};

static API: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("the build script wrote the descriptors"));

/// A message of the API that knows its name.
pub trait Resource: Message {
    /// As in `herald.v1.Client`.
    const NAME: &'static str;
}

macro_rules! resources {
    ($($name:ident),+) => {
        $(impl Resource for v1::$name {
            const NAME: &'static str = concat!("herald.v1.", stringify!($name));
        })+

        #[cfg(test)]
        const NAMES: &[&str] = &[$(<v1::$name as Resource>::NAME),+];
    };
}

resources!(
    ApiKey,
    AuditEntry,
    Client,
    DeadLetter,
    Event,
    Message,
    ProviderKey,
    Rate,
    Retention,
    RotateApiKeyResponse
);

/// One line of JSON, with the names of protobuf's JSON mapping; fields that are empty are left out.
pub fn proto_json<R: Resource>(resource: &R) -> String {
    let descriptor = API.get_message_by_name(R::NAME).expect("every resource is described");
    let message = DynamicMessage::decode(descriptor, resource.encode_to_vec().as_slice())
        .expect("the descriptors are those that the message was generated from");
    serde_json::to_string(&message).expect("its timestamps and spans are in range")
}

/// A list of resources as one JSON array; empty for none.
pub fn proto_json_list<R: Resource>(resources: impl IntoIterator<Item = R>) -> String {
    let items: Vec<String> = resources.into_iter().map(|resource| proto_json(&resource)).collect();
    if items.is_empty() { String::new() } else { format!("[{}]", items.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_is_described() {
        for name in NAMES {
            assert!(API.get_message_by_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn names_are_those_of_the_json_mapping_and_empty_fields_are_left_out() {
        let rate = v1::Rate { currency: "USD".into(), prefix: String::new(), part_price_micros: 7 };
        assert_eq!(proto_json(&rate), r#"{"currency":"USD","partPriceMicros":"7"}"#);
        assert_eq!(proto_json_list([rate]), r#"[{"currency":"USD","partPriceMicros":"7"}]"#);
        assert_eq!(proto_json_list(Vec::<v1::Rate>::new()), "");
    }
}
