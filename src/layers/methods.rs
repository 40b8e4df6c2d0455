//! The methods of this server, from its descriptors: the only names that reach logs and metric labels.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message;
use prost_types::FileDescriptorSet;

use crate::proto::DESCRIPTORS;

/// One method, by its name on the wire.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Method {
    /// As in `herald.v1.MessagingService`.
    pub(super) service: String,
    pub(super) name: String,
    pub(super) client_streams: bool,
    pub(super) server_streams: bool,
    /// Needs no API key: health and reflection tell nothing about a client.
    pub(super) is_open: bool,
}

/// Paths that no service has: strangers must not fill the logs or the metrics with names of their own.
static UNKNOWN: LazyLock<Method> = LazyLock::new(|| Method {
    service: "unknown".to_owned(),
    name: "unknown".to_owned(),
    client_streams: false,
    server_streams: false,
    is_open: false,
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
                is_open: false,
            })
        })
    });
    let open = |service: &str, name: &str, client_streams, server_streams| Method {
        service: service.to_owned(),
        name: name.to_owned(),
        client_streams,
        server_streams,
        is_open: true,
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

impl Method {
    /// The method that `path` calls.
    pub(super) fn of(path: &str) -> &'static Self {
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
    fn our_methods_need_a_key_and_health_and_reflection_do_not() {
        assert!(!Method::of("/herald.v1.MessagingService/SendMessage").is_open);
        assert!(Method::of("/grpc.health.v1.Health/Check").is_open);
        assert!(Method::of("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo").is_open);
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
    fn subscriptions_stream() {
        assert_eq!(Method::of("/herald.v1.EventService/SubscribeEvents").kind(), "server_stream");
        assert!(!Method::of("/herald.v1.MessagingService/SendMessage").streams());
    }
}
