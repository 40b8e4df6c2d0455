//! One stream of sends, from the caller's side.

use herald_sdk::tonic::body::Body;
use herald_sdk::tonic::client::GrpcService;
use herald_sdk::tonic::codegen::StdError;
use herald_sdk::tonic::{Request, Status, Streaming};
use herald_sdk::v1;
use herald_sdk::v1::messaging_service_client::MessagingServiceClient;
use herald_sdk::v1::send_outcome::Outcome;
use herald_sdk::v1::stream_messages_response::Frame;
use herald_sdk::{Client, Error};
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::support::{item_error, sms, soon};

/// An open stream. What goes up waits here for nothing but a few frames.
pub(super) struct Upload {
    pub(super) up: mpsc::Sender<v1::StreamMessagesRequest>,
    pub(super) down: Streaming<v1::StreamMessagesResponse>,
    pub(super) max_in_flight: i32,
}

impl Upload {
    pub(super) async fn open(client: &Client) -> Result<Self, Status> {
        Self::over(client.raw().messaging()).await
    }

    pub(super) async fn over<T>(mut client: MessagingServiceClient<T>) -> Result<Self, Status>
    where
        T: GrpcService<Body, Error: Into<StdError>> + Send,
        T::ResponseBody: http_body::Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
    {
        let (up, frames) = mpsc::channel(8);
        let request = Request::new(ReceiverStream::new(frames));
        let mut down = soon("the stream", client.stream_messages(request)).await?.into_inner();
        let first = soon("the first frame", down.message()).await?.expect("a stream begins with a frame");
        let Some(Frame::Opened(opened)) = first.frame else { panic!("the first frame is {first:?}") };
        Ok(Self { up, down, max_in_flight: opened.max_in_flight })
    }

    pub(super) async fn send(&self, frame: v1::StreamMessagesRequest) {
        soon("room for a frame", self.up.send(frame)).await.expect("the stream takes frames");
    }

    pub(super) async fn next_ack(&mut self) -> Option<Result<v1::StreamAck, Status>> {
        next_ack(&mut self.down).await
    }

    /// Sends nothing more. Answers the acknowledgements to come, and how the stream ended.
    pub(super) async fn half_close(self) -> (Vec<v1::StreamAck>, Result<(), Status>) {
        let Self { up, mut down, .. } = self;
        drop(up);
        rest(&mut down).await
    }
}

pub(super) async fn next_ack(
    down: &mut Streaming<v1::StreamMessagesResponse>,
) -> Option<Result<v1::StreamAck, Status>> {
    let frame = match soon("an acknowledgement", down.message()).await {
        Ok(Some(frame)) => frame,
        Ok(None) => return None,
        Err(status) => return Some(Err(status)),
    };
    let Some(Frame::Ack(ack)) = frame.frame else { panic!("that is no acknowledgement: {frame:?}") };
    Some(Ok(ack))
}

/// All acknowledgements to come, and how the stream ended.
pub(super) async fn rest(
    down: &mut Streaming<v1::StreamMessagesResponse>,
) -> (Vec<v1::StreamAck>, Result<(), Status>) {
    let mut acks = Vec::new();
    loop {
        match next_ack(down).await {
            Some(Ok(ack)) => acks.push(ack),
            Some(Err(status)) => return (acks, Err(status)),
            None => return (acks, Ok(())),
        }
    }
}

/// A message whose key is its tag.
pub(super) fn frame(key: &str) -> v1::StreamMessagesRequest {
    let message = v1::SendMessageRequest { idempotency_key: key.into(), ..sms("+12025550100", "Hello") };
    v1::StreamMessagesRequest { tag: key.into(), message: Some(message) }
}

pub(super) fn accepted(ack: &v1::StreamAck) -> &v1::Accepted {
    match outcome(ack) {
        Outcome::Accepted(receipt) => receipt,
        Outcome::Error(error) => panic!("{} is refused: {}", ack.tag, item_error(error)),
    }
}

pub(super) fn refused(ack: &v1::StreamAck) -> Error {
    match outcome(ack) {
        Outcome::Accepted(_) => panic!("{} is not refused", ack.tag),
        Outcome::Error(error) => item_error(error),
    }
}

pub(super) fn outcome(ack: &v1::StreamAck) -> &Outcome {
    ack.outcome.as_ref().and_then(|outcome| outcome.outcome.as_ref()).expect("an outcome")
}
