//! Looks at the stream each second: whether it is there, since when, and how much waits in it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::context::RequestErrorKind;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::{Context, ErrorCode};
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::connection::Connection;
use crate::stream::{self, Options};

const INTERVAL: Duration = Duration::from_secs(1);
/// A look that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was seen last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight {
    /// JetStream answers, and the stream is there.
    pub is_there: bool,
    /// When the stream was made, and how often it went back since. Empty = not seen yet.
    pub epoch: String,
    /// Ids by lane, those that are out included.
    pub waiting: HashMap<String, usize>,
}

pub(crate) struct Watch {
    connection: Connection,
    jetstream: Context,
    options: Arc<Options>,
    sight: watch::Sender<Sight>,
    look_now: Notify,
    /// See [`begin_anew`](Watch::begin_anew).
    must_begin_anew: AtomicBool,
}

/// What is read of the server's answer.
#[derive(Deserialize)]
struct StreamInfo {
    created: String,
    config: StreamConfig,
    state: StreamState,
}

#[derive(Deserialize)]
struct StreamConfig {
    #[serde(default)]
    metadata: HashMap<String, String>,
}

#[derive(Deserialize)]
struct StreamState {
    last_seq: u64,
    #[serde(default)]
    subjects: HashMap<String, usize>,
}

/// Where the stream stood at the last look.
#[derive(Default)]
struct Mark {
    epoch: String,
    last_seq: u64,
}

impl Watch {
    pub(crate) fn new(connection: Connection, jetstream: Context, options: Arc<Options>) -> Self {
        Self {
            connection,
            jetstream,
            options,
            sight: watch::Sender::default(),
            look_now: Notify::new(),
            must_begin_anew: AtomicBool::new(false),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Sight> {
        self.sight.subscribe()
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.connection.is_up() && self.sight.borrow().is_there
    }

    pub(crate) async fn until_usable(&self) {
        let mut sight = self.subscribe();
        while !self.is_usable() {
            // Each look is told, so a connection that is up again is noticed by the next one.
            let _ = sight.changed().await;
        }
    }

    pub(crate) fn waiting(&self, lane: &str) -> usize {
        self.sight.borrow().waiting.get(lane).copied().unwrap_or(0)
    }

    /// Something found the stream missing or silent: until the next look says otherwise, it is not used.
    pub(crate) fn doubt(&self) {
        self.sight.send_if_modified(|sight| std::mem::replace(&mut sight.is_there, false));
        self.look_now.notify_one();
    }

    /// More offers failed than were kept: as soon as the stream is seen it gets another epoch, as if it had lost them.
    pub(crate) fn begin_anew(&self) {
        self.must_begin_anew.store(true, Ordering::Release);
    }

    /// For ever.
    pub(crate) async fn run(&self) {
        let mut connects = self.connection.connects.clone();
        let mut mark = Mark::default();
        loop {
            self.look(&mut mark).await;
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = self.look_now.notified() => {}
                Ok(()) = connects.changed() => {}
            }
        }
    }

    async fn look(&self, mark: &mut Mark) {
        let looked = timeout(PATIENCE, self.look_once(mark)).await;
        let told = match &looked {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        if self.sight.send_if_modified(|sight| std::mem::replace(&mut sight.is_there, false)) {
            tracing::warn!("the stream {} cannot be used: {told}", self.options.stream);
        }
        // Not at once again, whoever is in doubt.
        tokio::time::sleep(INTERVAL / 4).await;
    }

    async fn look_once(&self, mark: &mut Mark) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let info = match self.read().await? {
            Some(info) => info,
            None => {
                tracing::warn!("the stream {} is missing and is made anew", self.options.stream);
                stream::ensure_streams(&self.jetstream, &self.options).await?;
                self.read().await?.ok_or("it is missing again")?
            }
        };
        let setbacks = stream::setbacks(&info.config.metadata);
        let epoch = format!("{}/{setbacks}", info.created);
        let went_back = epoch == mark.epoch && info.state.last_seq < mark.last_seq;
        if went_back || self.must_begin_anew.load(Ordering::Acquire) {
            tracing::warn!(
                "the stream {} stood at {} and is at {}: it lacks ids that were offered",
                self.options.stream,
                mark.last_seq,
                info.state.last_seq
            );
            // Before the epoch that covers them: what fails from here on asks for another.
            self.must_begin_anew.store(false, Ordering::Release);
            if let Err(error) =
                stream::note_setback(&self.jetstream, &self.options.stream, setbacks + 1).await
            {
                self.begin_anew();
                return Err(error.into());
            }
            // The next look tells of the new epoch.
            self.look_now.notify_one();
            return Ok(());
        }
        *mark = Mark { epoch: epoch.clone(), last_seq: info.state.last_seq };
        let mut waiting: HashMap<String, usize> = HashMap::new();
        for (subject, count) in &info.state.subjects {
            if let Some(lane) = self.options.lane_of(subject) {
                *waiting.entry(lane.to_owned()).or_default() += count;
            }
        }
        self.sight.send_replace(Sight { is_there: true, epoch, waiting });
        Ok(())
    }

    /// `None` = there is no such stream.
    async fn read(&self) -> Result<Option<StreamInfo>, Box<dyn std::error::Error + Send + Sync>> {
        let subject = format!("STREAM.INFO.{}", self.options.stream);
        let filter = format!("{}sms.send.>", self.options.prefix);
        let payload = serde_json::json!({ "subjects_filter": filter });
        let answer: Result<Response<StreamInfo>, _> = self.jetstream.request(subject, &payload).await;
        match answer {
            Ok(Response::Ok(info)) => Ok(Some(info)),
            Ok(Response::Err { error }) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
            Ok(Response::Err { error }) => Err(Box::new(error)),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                Err("JetStream is unavailable".into())
            }
            Err(error) => Err(Box::new(error)),
        }
    }
}
