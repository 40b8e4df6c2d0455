//! Calls by descriptor, with any bytes and any metadata: what no generated client would send.

use std::sync::LazyLock;

use herald_sdk::tonic::client::Grpc;
use herald_sdk::tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use herald_sdk::tonic::transport::{Channel, Endpoint};
use herald_sdk::tonic::{Request, Status};
use prost::Message;
use prost::bytes::{Buf, BufMut, Bytes};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};

use super::herald::Herald;
use super::wait::soon;

/// The API as the server's build compiled it.
pub(crate) static API: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin")).as_slice())
        .expect("the build wrote descriptors")
});

/// The package of the API.
pub(crate) const PACKAGE: &str = "herald.v1";

/// Every method of the API.
pub(crate) fn methods() -> Vec<MethodDescriptor> {
    let ours = API.services().filter(|service| service.parent_file().package_name() == PACKAGE);
    ours.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// The method that is called `MessagingService/SendMessage`, say.
pub(crate) fn method(name: &str) -> MethodDescriptor {
    methods().into_iter().find(|method| short_name(method) == name).expect("the method exists")
}

/// `MessagingService/SendMessage`.
pub(crate) fn short_name(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().name(), method.name())
}

pub(crate) fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// A request of the method from JSON.
pub(crate) fn request(method: &MethodDescriptor, json: serde_json::Value) -> Bytes {
    let request = DynamicMessage::deserialize(method.input(), json).expect("the request fits its method");
    request.encode_to_vec().into()
}

/// A caller with any metadata.
#[derive(Clone)]
pub(crate) struct Caller {
    channel: Channel,
    metadata: Vec<(&'static str, String)>,
}

impl Caller {
    /// One without a key.
    pub(crate) fn new(herald: &Herald) -> Self {
        let endpoint = Endpoint::from_shared(herald.url()).expect("the address is well formed");
        Self { channel: endpoint.connect_lazy(), metadata: Vec::new() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.metadata.push((name, value.to_owned()));
        self
    }

    pub(crate) fn with_key(self, key: &str) -> Self {
        self.with("x-api-key", key)
    }

    /// Sends the bytes as the one request of `path`; answers the first message, as bytes. Of a stream that begins
    /// with an error there is no first message.
    pub(crate) async fn call(&self, path: &str, body: Bytes) -> Result<Bytes, Status> {
        first(self.answers(path, body, 1).await)
    }

    /// The same, but reads on to the end: an error at any place of the stream is told.
    pub(crate) async fn call_to_the_end(&self, path: &str, body: Bytes) -> Result<Bytes, Status> {
        first(self.answers(path, body, usize::MAX).await)
    }

    /// Up to `most` messages, and the error that they ended with.
    pub(crate) async fn answers(
        &self,
        path: &str,
        body: Bytes,
        most: usize,
    ) -> (Vec<Bytes>, Result<(), Status>) {
        let mut request = Request::new(body);
        for (name, value) in &self.metadata {
            request.metadata_mut().insert(*name, value.parse().expect("metadata is ASCII"));
        }
        let mut told = Vec::new();
        let call = async {
            let mut client = Grpc::new(self.channel.clone());
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let path = path.parse().expect("a path");
            let mut answers = client.server_streaming(request, path, Octets).await?.into_inner();
            while told.len() < most
                && let Some(answer) = answers.message().await?
            {
                told.push(answer);
            }
            Ok(())
        };
        let ended = soon(path, call).await;
        (told, ended)
    }
}

fn first((told, ended): (Vec<Bytes>, Result<(), Status>)) -> Result<Bytes, Status> {
    ended.map(|()| told.into_iter().next().unwrap_or_default())
}

/// Messages as they are on the wire.
struct Octets;

impl Codec for Octets {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Octets {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Octets {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
