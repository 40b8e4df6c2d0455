//! The methods of this server, from its descriptors: the only names that reach logs and metric labels.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{FileDescriptorProto, FileDescriptorSet};

use crate::proto::DESCRIPTORS;

/// The service of `herald.v1` that providers call.
const PROVIDERS: &str = "ReportService";

/// What a call must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpensWith {
    /// Nothing: health and reflection tell nothing about a client.
    Nothing,
    ApiKey,
    /// A provider's key, which the handler verifies.
    ProviderKey,
}

/// One method, by its name on the wire.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    /// As in `herald.v1.MessagingService`.
    pub service: String,
    pub name: String,
    pub client_streams: bool,
    pub server_streams: bool,
    pub opens_with: OpensWith,
    /// A unary call whose request carries a list of messages, such as a batch to send. It may be larger than others.
    pub takes_list: bool,
}

/// Paths that no service has: strangers must not fill the logs or the metrics with names of their own.
static UNKNOWN: LazyLock<Method> = LazyLock::new(|| Method {
    service: "unknown".to_owned(),
    name: "unknown".to_owned(),
    client_streams: false,
    server_streams: false,
    opens_with: OpensWith::ApiKey,
    takes_list: false,
});

static METHODS: LazyLock<HashMap<String, Method>> = LazyLock::new(|| {
    let files = FileDescriptorSet::decode(DESCRIPTORS).expect("the build script wrote the descriptors").file;
    let ours = files.iter().flat_map(|file| {
        file.service.iter().flat_map(|service| {
            service.method.iter().map(|method| Method {
                service: format!("{}.{}", file.package(), service.name()),
                name: method.name().to_owned(),
                client_streams: method.client_streaming(),
                server_streams: method.server_streaming(),
                opens_with: if service.name() == PROVIDERS {
                    OpensWith::ProviderKey
                } else {
                    OpensWith::ApiKey
                },
                takes_list: !method.client_streaming() && has_list(&files, method.input_type()),
            })
        })
    });
    let open = |service: &str, name: &str, client_streams, server_streams| Method {
        service: service.to_owned(),
        name: name.to_owned(),
        client_streams,
        server_streams,
        opens_with: OpensWith::Nothing,
        takes_list: false,
    };
    let standard = [
        open("grpc.health.v1.Health", "Check", false, false),
        open("grpc.health.v1.Health", "List", false, false),
        open("grpc.health.v1.Health", "Watch", false, true),
        open("grpc.reflection.v1.ServerReflection", "ServerReflectionInfo", true, true),
        open("grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo", true, true),
    ];
    ours.chain(standard).map(|method| (format!("/{}/{}", method.service, method.name), method)).collect()
});

/// Whether the message `.package.Name` has a field that repeats messages. A map is none.
fn has_list(files: &[FileDescriptorProto], name: &str) -> bool {
    let message = files.iter().find_map(|file| {
        let local = name.strip_prefix('.')?.strip_prefix(file.package())?.strip_prefix('.')?;
        file.message_type.iter().find(|message| message.name() == local)
    });
    let Some(message) = message else { return false };
    let is_map = |name: &str| {
        let entry = message.nested_type.iter().find(|nested| name.rsplit('.').next() == Some(nested.name()));
        entry.is_some_and(|entry| entry.options.as_ref().is_some_and(|options| options.map_entry()))
    };
    message.field.iter().any(|field| {
        field.label() == Label::Repeated && field.r#type() == Type::Message && !is_map(field.type_name())
    })
}

impl Method {
    /// The method that `path` calls.
    pub fn of(path: &str) -> &'static Self {
        METHODS.get(path).unwrap_or(&UNKNOWN)
    }

    pub(super) fn streams(&self) -> bool {
        self.client_streams || self.server_streams
    }

    /// As the `grpc_type` label of the usual dashboards.
    pub(super) fn kind(&self) -> &'static str {
        match (self.client_streams, self.server_streams) {
            (false, false) => "unary",
            (true, false) => "client_stream",
            (false, true) => "server_stream",
            (true, true) => "bidi_stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_methods_need_a_key_and_health_reflection_and_providers_reports_do_not() {
        for (path, expected) in [
            ("/herald.v1.ReportService/IngestDeliveryReports", OpensWith::ProviderKey),
            ("/herald.v1.MessagingService/SendMessage", OpensWith::ApiKey),
            ("/grpc.health.v1.Health/Check", OpensWith::Nothing),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", OpensWith::Nothing),
        ] {
            assert_eq!(Method::of(path).opens_with, expected, "{path}");
        }
    }

    #[test]
    fn a_path_of_a_strangers_making_is_unknown_and_needs_a_key() {
        for path in
            ["/grpc.health.v1.Health/Check/", "/grpc.health.v1.HealthX/Check", "/+12025550100", "", "*"]
        {
            assert_eq!(Method::of(path), &*UNKNOWN, "{path}");
        }
    }

    #[test]
    fn a_list_is_a_field_that_repeats_messages() {
        let files = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors").file;
        for (name, expected) in [
            ("ListMessagesResponse", true),
            ("SendMessageRequest", false),
            ("ListEventsRequest", false),
            ("CreateClientRequest", false),
            ("Absent", false),
        ] {
            assert_eq!(has_list(&files, &format!(".herald.v1.{name}")), expected, "{name}");
        }
        assert!(!Method::of("/herald.v1.MessagingService/SendMessage").takes_list);
    }

    #[test]
    fn subscriptions_stream() {
        assert_eq!(Method::of("/herald.v1.EventService/SubscribeEvents").kind(), "server_stream");
        assert!(!Method::of("/herald.v1.MessagingService/SendMessage").streams());
    }
}
