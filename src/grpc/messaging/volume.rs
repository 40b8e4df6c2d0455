//! A stream of sends: messages as they come, each acknowledged once.
//!
//! The stream has two ends that run at the same time and share nothing but what is in flight:
//!
//! - *Reading*: takes a place in flight (of [`IN_FLIGHT`]), reads one frame, asks the limiter about its message, and begins
//!   again; some are asked about at once (of [`ASKING`]), and each is handed over for decision in its turn. It waits for a free
//!   place while too much is unacknowledged, and for the client's rate while that is used up; meanwhile HTTP/2 flow control
//!   holds the caller back.
//! - *Writing*: takes the decisions as they come, writes an acknowledgement for each, and gives the place back when the
//!   response channel has taken it. That channel is short, so a caller that does not read its acknowledgements stops
//!   the reading: what the stream holds in memory is bounded by the places.
//!
//! It ends in one of these ways:
//!
//! | what happens | what was read | the stream ends with |
//! |---|---|---|
//! | half-close | is acknowledged | OK |
//! | a frame that is none | is acknowledged, up to that frame | INVALID_FIELD |
//! | the server stops | is acknowledged, for a few seconds | SHUTTING_DOWN |
//! | the key ends | is decided | API_KEY_INVALID, at once |
//! | the caller takes no acknowledgement for a minute | is decided | OVERLOADED, if it ever reads on |
//! | the caller leaves | is decided | |
//!
//! What was handed over is decided whatever becomes of the stream; the caller learns it by sending it again with the same
//! key.

use std::sync::Arc;
use std::time::Duration;

use delivery::accept::{Asked, OverRate, Pending};
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use futures_util::{StreamExt, future};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::{ASKING, ask, hand_over};
use crate::app::App;
use crate::auth::AuthError;
use crate::grpc::caller::Caller;
use crate::grpc::convert::count;
use crate::grpc::convert::send::outcome;
use crate::grpc::stream::{FrameStream, STALL, recheck};
use crate::layers::request_id::{self, RequestId};
use crate::proto::v1;
use crate::proto::v1::stream_messages_response::Frame;
use crate::status;

/// Messages that may be unacknowledged.
const IN_FLIGHT: usize = 1_000;
/// Acknowledgements that wait for the caller.
const ACKS: usize = 64;
/// Longest tag, in bytes.
const TAG_MAX: usize = 128;
/// How long a server that stops goes on acknowledging what it has read.
const LAST_ACKS: Duration = Duration::from_secs(5);

/// What the stream answers.
pub type Acks = FrameStream<v1::StreamMessagesResponse>;

/// Opens the stream.
pub fn open(
    app: Arc<App>,
    caller: Caller,
    frames: Streaming<v1::StreamMessagesRequest>,
) -> Result<Acks, Status> {
    let place = app.places.take(&caller.principal.key_id)?;
    let (acks, waiting) = mpsc::channel(ACKS);
    let (end, ended) = oneshot::channel();
    let cut = CancellationToken::new();
    let request_id = request_id::current();
    let volume = Volume { app, caller, acks, request_id: request_id.clone() };
    let run = {
        let cut = cut.clone();
        async move {
            let why = volume.run(frames, &cut).await;
            drop(place);
            // A caller that left does not ask why.
            let _ = end.send(why);
        }
    };
    match request_id {
        Some(request_id) => tokio::spawn(request_id.during(run)),
        None => tokio::spawn(run),
    };
    // The end comes after the acknowledgements that still wait, unless they are cut off.
    let last = futures_util::stream::once(ended)
        .filter_map(|why| future::ready(why.ok().and_then(End::into_error).map(Err)));
    let waiting = ReceiverStream::new(waiting).take_until(cut.cancelled_owned());
    Ok(Box::pin(waiting.map(Ok).chain(last)))
}

/// How the stream ends.
enum End {
    /// The caller has nothing more to send, and everything is acknowledged.
    Complete,
    Failed(Status),
}

impl End {
    fn into_error(self) -> Option<Status> {
        match self {
            Self::Complete => None,
            Self::Failed(status) => Some(status),
        }
    }
}

struct Volume {
    app: Arc<App>,
    caller: Caller,
    acks: mpsc::Sender<v1::StreamMessagesResponse>,
    request_id: Option<RequestId>,
}

/// A message as it was read.
struct Message {
    tag: String,
    message: v1::SendMessageRequest,
}

/// A message that the limiter was asked about.
struct AskedFor {
    index: i64,
    tag: String,
    asked: Result<Asked, Status>,
    place: OwnedSemaphorePermit,
}

/// A message that was read and is not acknowledged.
struct InFlight {
    index: i64,
    tag: String,
    begun: Result<Pending, Status>,
    place: OwnedSemaphorePermit,
}

impl Volume {
    async fn run(self, frames: Streaming<v1::StreamMessagesRequest>, cut: &CancellationToken) -> End {
        let opened = v1::StreamOpened { max_in_flight: count(IN_FLIGHT) };
        if self.write(Frame::Opened(opened)).await.is_err() {
            return End::Complete;
        }
        // As long as the places, so that handing over never waits.
        let (begun, in_flight) = mpsc::channel(IN_FLIGHT);
        let reading = async { Ok(self.read(frames, begun).await) };
        tokio::select! {
            biased;
            why = self.key_ends() => {
                cut.cancel();
                End::Failed(why)
            }
            ended = async { tokio::try_join!(reading, self.acknowledge(in_flight)) } => match ended {
                Ok((end, ())) => end,
                Err(why) => End::Failed(why),
            }
        }
    }

    /// Reads until there is no more to read, or no more may be. Answers how the stream ends once all is acknowledged.
    async fn read(
        &self,
        mut frames: Streaming<v1::StreamMessagesRequest>,
        begun: mpsc::Sender<InFlight>,
    ) -> End {
        let places = Arc::new(Semaphore::new(IN_FLIGHT));
        let mut asking = FuturesOrdered::new();
        let mut end = None;
        let mut index = 0;
        while end.is_none() || !asking.is_empty() {
            let asked = tokio::select! {
                biased;
                Some(asked) = asking.next() => asked,
                frame = self.next_frame(&places, &mut frames), if end.is_none() && asking.len() < ASKING => {
                    match frame {
                        Ok((place, frame)) => {
                            asking.push_back(self.ask(index, place, frame));
                            index += 1;
                        }
                        Err(why) => end = Some(why),
                    }
                    continue;
                }
            };
            let AskedFor { index, tag, asked, place } = asked;
            let one = InFlight { index, tag, begun: hand_over(&self.app, asked), place };
            if begun.send(one).await.is_err() {
                break;
            }
        }
        end.unwrap_or_else(|| End::Failed(status::shutting_down()))
    }

    /// The next message, and its place in flight; or how the stream ends. Cancel-safe.
    async fn next_frame(
        &self,
        places: &Arc<Semaphore>,
        frames: &mut Streaming<v1::StreamMessagesRequest>,
    ) -> Result<(OwnedSemaphorePermit, Message), End> {
        let over = || End::Failed(status::shutting_down());
        // Nobody closes the semaphore.
        let place =
            self.unless_over(places.clone().acquire_owned()).await.and_then(Result::ok).ok_or_else(over)?;
        let frame = match self.unless_over(frames.message()).await {
            Some(Ok(Some(frame))) => frame,
            Some(Ok(None)) => return Err(End::Complete),
            Some(Err(error)) => return Err(End::Failed(error)),
            None => return Err(over()),
        };
        let Some(message) = frame.message else {
            return Err(End::Failed(status::invalid_field("message", "must be set")));
        };
        Ok((place, Message { tag: frame.tag, message }))
    }

    /// `None` = the server stops, or the caller has left.
    async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.app.streams_end.cancelled() => None,
            () = self.acks.closed() => None,
            done = work => Some(done),
        }
    }

    /// One that was read when the server stops is refused, and so acknowledged too.
    async fn ask(
        &self,
        index: i64,
        place: OwnedSemaphorePermit,
        Message { tag, message }: Message,
    ) -> AskedFor {
        let asked = self.unless_over(self.ask_gate(&tag, message)).await;
        AskedFor { index, tag, asked: asked.unwrap_or_else(|| Err(status::shutting_down())), place }
    }

    async fn ask_gate(&self, tag: &str, message: v1::SendMessageRequest) -> Result<Asked, Status> {
        if tag.len() > TAG_MAX {
            return Err(status::invalid_field("tag", "must be at most 128 bytes"));
        }
        if message.idempotency_key.is_empty() {
            return Err(status::idempotency_key_required());
        }
        ask(&self.app, self.caller.client, message, OverRate::Wait).await
    }

    /// Acknowledges what is in flight as it is decided, until the reading has ended and all of it is.
    async fn acknowledge(&self, mut in_flight: mpsc::Receiver<InFlight>) -> Result<(), Status> {
        let mut decisions = FuturesUnordered::new();
        let mut is_reading = true;
        let mut over = std::pin::pin!(self.acks_end());
        while is_reading || !decisions.is_empty() {
            let (ack, place) = tokio::select! {
                biased;
                () = &mut over => return Err(status::shutting_down()),
                Some(decided) = decisions.next() => decided,
                one = in_flight.recv(), if is_reading => {
                    match one {
                        Some(one) => decisions.push(self.decide(one)),
                        None => is_reading = false,
                    }
                    continue;
                }
            };
            tokio::select! {
                biased;
                () = &mut over => return Err(status::shutting_down()),
                written = self.write(Frame::Ack(ack)) => written?,
            }
            drop(place);
        }
        Ok(())
    }

    async fn decide(&self, one: InFlight) -> (v1::StreamAck, OwnedSemaphorePermit) {
        let result = match one.begun {
            Ok(pending) => pending.finish(&self.app.gate).await.map_err(status::accept_error),
            Err(refusal) => Err(refusal),
        };
        let outcome = outcome(result, self.request_id.as_ref());
        (v1::StreamAck { tag: one.tag, index: one.index, outcome: Some(outcome) }, one.place)
    }

    /// Waits for a slow caller, but not for ever.
    async fn write(&self, frame: Frame) -> Result<(), Status> {
        let frame = v1::StreamMessagesResponse { frame: Some(frame) };
        self.acks.send_timeout(frame, STALL).await.map_err(|_| {
            metrics::counter!("herald_slow_subscribers_total").increment(1);
            status::overloaded(Duration::from_secs(1))
        })
    }

    /// When a server that stops has acknowledged for long enough.
    async fn acks_end(&self) {
        self.app.streams_end.cancelled().await;
        tokio::time::sleep(LAST_ACKS).await;
    }

    /// When the key is revoked, or expires.
    async fn key_ends(&self) -> Status {
        let mut recheck = recheck();
        loop {
            recheck.tick().await;
            if !self.caller.is_key_good(&self.app).await {
                return AuthError::Invalid.into();
            }
        }
    }
}
