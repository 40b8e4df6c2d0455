//! The streams and consumers, made when they are missing: by any node, by several at once, at any time.

use std::error::Error as _;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{
    CreateStreamError, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind, RequestError,
    RequestErrorKind,
};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};
use tokio::time::{Instant, sleep};

/// A lane's ids are spread over so many shares by client: each has its own consumer, so that one client's backlog holds
/// up one share of the clients.
pub(crate) const SHARES: usize = 8;

/// How long a node that starts waits for JetStream, and until it asks again.
const LEADERLESS: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

/// In the stream's metadata: how often its sequence went back.
const SETBACKS: &str = "herald.setbacks";

/// What the streams are called, and how they are kept. All nodes of an installation have the same.
#[derive(Clone, Debug)]
pub struct Options {
    /// Before every subject: empty, or ending in a dot.
    pub prefix: String,
    /// The stream of ids; the dead letters' is called this and `_DEAD_LETTERS`.
    pub stream: String,
    /// 1, or 3 in a cluster.
    pub replicas: usize,
    /// After this without an answer a taken id goes to another taker: above the provider's time-out and a commit.
    pub ack_wait: Duration,
    /// Ids of one share that may be out at once, over all nodes: about twice the provider's window.
    pub max_out: i64,
    /// The same offer within this time is stored once.
    pub duplicate_window: Duration,
    /// Dead letters are kept so long, and up to so many bytes, which the server sets aside.
    pub dead_letter_age: Duration,
    pub dead_letter_bytes: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            stream: "HERALD_SEND".to_owned(),
            replicas: 1,
            ack_wait: Duration::from_secs(60),
            max_out: 2_000,
            duplicate_window: Duration::from_secs(120),
            dead_letter_age: Duration::from_secs(7 * 24 * 3_600),
            dead_letter_bytes: 1 << 30,
        }
    }
}

/// Why a stream is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The server runs without JetStream, or none that runs it can be reached.
    #[error(
        "NATS answers, but JetStream does not: start the server with it (-js), and check the account's limits"
    )]
    NoJetStream,
    #[error("JetStream refused the stream {stream}")]
    Refused {
        stream: String,
        #[source]
        source: CreateStreamError,
    },
    #[error("the subject prefix {0:?} is not empty and does not end in a dot, or holds what no subject may")]
    MalformedPrefix(String),
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), StreamError> {
        let is_good = self.prefix.is_empty() || self.prefix.strip_suffix('.').is_some_and(is_subject);
        if is_good { Ok(()) } else { Err(StreamError::MalformedPrefix(self.prefix.clone())) }
    }

    pub(crate) fn subject(&self, lane: &str, share: usize) -> String {
        format!("{}sms.send.{lane}.{share}", self.prefix)
    }

    /// The lane of a subject that [`subject`](Self::subject) made.
    pub(crate) fn lane_of<'a>(&self, subject: &'a str) -> Option<&'a str> {
        let rest = subject.strip_prefix(self.prefix.as_str())?.strip_prefix("sms.send.")?;
        rest.rsplit_once('.').map(|(lane, _)| lane)
    }

    pub(crate) fn dead_letter_subject(&self) -> String {
        format!("{}sms.dlq", self.prefix)
    }

    pub(crate) fn bell_subject(prefix: &str) -> String {
        format!("{prefix}sms.bell")
    }

    fn send_stream(&self) -> Config {
        Config {
            name: self.stream.clone(),
            description: Some("Herald: ids of messages that are due".to_owned()),
            subjects: vec![format!("{}sms.send.>", self.prefix)],
            retention: RetentionPolicy::WorkQueue,
            duplicate_window: self.duplicate_window,
            ..self.any_stream()
        }
    }

    fn dead_letter_stream(&self) -> Config {
        Config {
            name: format!("{}_DEAD_LETTERS", self.stream),
            description: Some("Herald: messages that were given up".to_owned()),
            subjects: vec![self.dead_letter_subject()],
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            max_age: self.dead_letter_age,
            max_bytes: self.dead_letter_bytes,
            duplicate_window: self.duplicate_window,
            ..self.any_stream()
        }
    }

    fn any_stream(&self) -> Config {
        Config {
            storage: StorageType::File,
            num_replicas: self.replicas,
            max_messages: -1,
            max_messages_per_subject: -1,
            max_bytes: -1,
            max_message_size: -1,
            max_consumers: -1,
            ..Config::default()
        }
    }
}

/// Dots between names of what a subject, a consumer and a file may be called.
pub(crate) fn is_subject(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.split('.').all(is_name)
}

/// Both streams are there, for a node that starts. A cluster that has just started has no leader for a while, and says nothing: it is
/// asked again, for [`LEADERLESS`] at most.
pub(crate) async fn await_streams(jetstream: &Context, options: &Options) -> Result<(), StreamError> {
    let give_up = Instant::now() + LEADERLESS;
    loop {
        match ensure_streams(jetstream, options).await {
            Err(StreamError::Refused { source, .. })
                if is_leaderless(&source) && Instant::now() < give_up =>
            {
                tracing::warn!(error = %source, "JetStream does not answer yet; it is asked again");
                sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

fn is_leaderless(error: &CreateStreamError) -> bool {
    use ErrorCode as Code;
    match error.kind() {
        CreateStreamErrorKind::TimedOut => true,
        CreateStreamErrorKind::JetStream(cause) => {
            [Code::CLUSTER_NOT_AVAILABLE, Code::CLUSTER_NOT_LEADER].contains(&cause.error_code())
        }
        _ => false,
    }
}

/// Both streams are there, as the options say.
pub(crate) async fn ensure_streams(jetstream: &Context, options: &Options) -> Result<(), StreamError> {
    for config in [options.send_stream(), options.dead_letter_stream()] {
        let stream = config.name.clone();
        ensure(jetstream, config).await.map_err(|source| match source.kind() {
            CreateStreamErrorKind::JetStreamUnavailable => StreamError::NoJetStream,
            CreateStreamErrorKind::JetStream(error)
                if error.error_code() == ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT =>
            {
                StreamError::NoJetStream
            }
            _ => StreamError::Refused { stream, source },
        })?;
    }
    Ok(())
}

async fn ensure(jetstream: &Context, config: Config) -> Result<(), CreateStreamError> {
    let Some(found) = find(jetstream, &config.name).await? else {
        return match jetstream.create_stream(config.clone()).await {
            Ok(_) => Ok(()),
            // Another node made it at this moment, maybe with settings of another version.
            Err(error) if is_taken(&error) => Ok(()),
            Err(error) => Err(error),
        };
    };
    // What is not ours to say, and what the server adds, stays.
    let wanted = Config {
        description: config.description,
        subjects: config.subjects,
        num_replicas: config.num_replicas,
        duplicate_window: config.duplicate_window,
        max_age: config.max_age,
        max_bytes: config.max_bytes,
        ..found.config.clone()
    };
    if wanted != found.config {
        jetstream.update_stream(&wanted).await?;
    }
    Ok(())
}

async fn find(jetstream: &Context, stream: &str) -> Result<Option<Info>, CreateStreamError> {
    match jetstream.get_stream(stream).await {
        Ok(stream) => Ok(Some(stream.cached_info().clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(cause) if cause.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                Ok(None)
            }
            GetStreamErrorKind::JetStream(cause) => Err(cause.into()),
            _ => Err(CreateStreamError::with_source(unanswered(&error), error)),
        },
    }
}

/// Where nobody listens there is no JetStream; a cluster without a leader listens, and says nothing.
fn unanswered(error: &GetStreamError) -> CreateStreamErrorKind {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<RequestError>());
    match cause.map(RequestError::kind) {
        Some(RequestErrorKind::TimedOut) => CreateStreamErrorKind::TimedOut,
        _ => CreateStreamErrorKind::JetStreamUnavailable,
    }
}

fn is_taken(error: &CreateStreamError) -> bool {
    matches!(error.kind(), CreateStreamErrorKind::JetStream(cause) if cause.error_code() == ErrorCode::STREAM_NAME_EXIST)
}

/// Notes in the stream itself that its sequence went back for the `setbacks`th time, so that all nodes name the same
/// epoch. Several nodes may note the same.
pub(crate) async fn note_setback(
    jetstream: &Context,
    stream: &str,
    setbacks: u64,
) -> Result<(), CreateStreamError> {
    if let Some(found) = find(jetstream, stream).await? {
        let mut config = found.config;
        config.metadata.insert(SETBACKS.to_owned(), setbacks.to_string());
        jetstream.update_stream(&config).await?;
    }
    Ok(())
}

pub(crate) fn setbacks(metadata: &std::collections::HashMap<String, String>) -> u64 {
    metadata.get(SETBACKS).and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// The consumer of one share of a lane, made or brought up to date.
pub(crate) async fn ensure_consumer(
    jetstream: &Context,
    options: &Options,
    lane: &str,
    share: usize,
) -> Result<PullConsumer, async_nats::jetstream::stream::ConsumerError> {
    let config = pull::Config {
        // A name without dots, and no two lanes have the same: neither may hold a plus.
        durable_name: Some(format!("{}+{share}", lane.replace('.', "+"))),
        filter_subject: options.subject(lane, share),
        ack_policy: AckPolicy::Explicit,
        ack_wait: options.ack_wait,
        // Counts and claims live in the store; a limit here would strand ids.
        max_deliver: -1,
        max_ack_pending: options.max_out,
        ..pull::Config::default()
    };
    jetstream.create_consumer_on_stream(config, &options.stream).await
}
