//! `herald call METHOD JSON`: any method, known by reflection alone.

use anyhow::{Context, anyhow, bail};
use futures_util::StreamExt;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use tonic::Status;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::connect::Global;
use super::exit::Failed;

/// Arguments of `herald call`.
#[derive(clap::Args)]
pub struct Args {
    /// `BillingService/GetBalance`, or with its package `herald.v1.BillingService/GetBalance`.
    method: String,
    /// The request as JSON; `-` reads it from standard input.
    #[arg(default_value = "{}")]
    request: String,
}

pub async fn run(global: &Global, args: Args) -> Result<(), Failed> {
    let (service, method) = split_name(&args.method).map_err(|error| Failed::new(2, error))?;
    let json = if args.request == "-" { std::io::read_to_string(std::io::stdin())? } else { args.request };
    let channel = global.channel()?;
    let method = find_method(channel.clone(), &service, &method).await?;
    let request = read_request(method.input(), &json).map_err(|error| Failed::new(2, error))?;

    let mut call = tonic::Request::new(request);
    global.authorize(call.metadata_mut())?;
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path = path.parse().map_err(|_| anyhow!("{path} is not a path"))?;
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Failed::new(7, error.into()))?;
    let codec = DynamicCodec(method.output());
    let refused = |status: Status| Failed::from(herald_sdk::Error::from(status));
    if method.is_client_streaming() {
        return Err(anyhow!("{} takes a stream; call it from an SDK", args.method).into());
    }
    if !method.is_server_streaming() {
        let response = client.unary(call, path, codec).await.map_err(refused)?;
        return print(response.get_ref());
    }
    let mut frames = client.server_streaming(call, path, codec).await.map_err(refused)?.into_inner();
    while let Some(frame) = frames.next().await {
        print(&frame.map_err(refused)?)?;
    }
    Ok(())
}

fn split_name(name: &str) -> anyhow::Result<(String, String)> {
    let name = name.trim_start_matches('/');
    let (service, method) = name.rsplit_once(['/', '.']).context("say SERVICE/METHOD")?;
    let service = if service.contains('.') { service.to_owned() } else { format!("herald.v1.{service}") };
    Ok((service, method.to_owned()))
}

fn read_request(input: MessageDescriptor, json: &str) -> anyhow::Result<DynamicMessage> {
    let mut text = serde_json::Deserializer::from_str(json);
    let request = DynamicMessage::deserialize(input, &mut text).context("the request does not fit")?;
    text.end().context("there is something after the request")?;
    Ok(request)
}

fn print(message: &DynamicMessage) -> Result<(), Failed> {
    let mut out = Vec::new();
    let mut json = serde_json::Serializer::pretty(&mut out);
    let options = SerializeOptions::new().skip_default_fields(false);
    message.serialize_with_options(&mut json, &options).context("the answer cannot be shown as JSON")?;
    println!("{}", String::from_utf8_lossy(&out));
    Ok(())
}

/// Asks the server for the file that has the service, and for all that it imports.
async fn find_method(channel: Channel, service: &str, method: &str) -> anyhow::Result<MethodDescriptor> {
    let mut client = ServerReflectionClient::new(channel);
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol(service.to_owned())),
    };
    let answers = client.server_reflection_info(tokio_stream::iter([ask])).await;
    let mut answers = answers.context("the server does not answer reflection")?.into_inner();
    let answer: ServerReflectionResponse =
        answers.next().await.context("the server does not answer reflection")??;
    let files = match answer.message_response {
        Some(MessageResponse::FileDescriptorResponse(files)) => files.file_descriptor_proto,
        Some(MessageResponse::ErrorResponse(error)) => {
            bail!("there is no service {service}: {}", error.error_message)
        }
        _ => bail!("the server's reflection answers something else"),
    };
    let pool = with_imports(client, files).await?;
    let service =
        pool.get_service_by_name(service).with_context(|| format!("there is no service {service}"))?;
    let found = service.methods().find(|found| found.name() == method);
    found.with_context(|| {
        let names: Vec<String> = service.methods().map(|method| method.name().to_owned()).collect();
        format!("{} has no method {method}; it has {}", service.full_name(), names.join(", "))
    })
}

/// Servers may answer one file at a time: its imports are asked for until none is missing.
async fn with_imports(
    mut client: ServerReflectionClient<Channel>,
    mut encoded: Vec<Vec<u8>>,
) -> anyhow::Result<DescriptorPool> {
    let mut files: Vec<prost_types::FileDescriptorProto> = Vec::new();
    while let Some(bytes) = encoded.pop() {
        let file = prost_types::FileDescriptorProto::decode(bytes.as_slice())?;
        if files.iter().any(|known| known.name == file.name) {
            continue;
        }
        for import in &file.dependency {
            if files.iter().any(|known| known.name.as_ref() == Some(import)) {
                continue;
            }
            let ask = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::FileByFilename(import.clone())),
            };
            let mut answers = client.server_reflection_info(tokio_stream::iter([ask])).await?.into_inner();
            if let Some(ServerReflectionResponse {
                message_response: Some(MessageResponse::FileDescriptorResponse(files)),
                ..
            }) = answers.next().await.transpose()?
            {
                encoded.extend(files.file_descriptor_proto);
            }
        }
        files.push(file);
    }
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_set(prost_types::FileDescriptorSet { file: files })
        .context("the server's descriptors do not fit together")?;
    Ok(pool)
}

/// Carries messages that are known by their descriptor only.
struct DynamicCodec(MessageDescriptor);

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = DynamicEncoder;
    type Decoder = DynamicDecoder;

    fn encoder(&mut self) -> DynamicEncoder {
        DynamicEncoder
    }

    fn decoder(&mut self) -> DynamicDecoder {
        DynamicDecoder(self.0.clone())
    }
}

struct DynamicEncoder;

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

struct DynamicDecoder(MessageDescriptor);

impl Decoder for DynamicDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.0.clone(), buffer)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_means_our_package() {
        let expected = Ok(("herald.v1.BillingService".to_owned(), "GetBalance".to_owned()));
        for name in
            ["BillingService/GetBalance", "herald.v1.BillingService/GetBalance", "BillingService.GetBalance"]
        {
            assert_eq!(split_name(name).map_err(|error| error.to_string()), expected, "{name}");
        }
        assert!(split_name("GetBalance").is_err());
    }
}
