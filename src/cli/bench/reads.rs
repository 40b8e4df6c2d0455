//! Reads beside the load: messages that are known, lists of messages near and far, the log.
//!
//! What is read comes from what was read before: a list shows ids to ask for and leads to a page behind it. So old messages are
//! found as well as those of this run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use herald_sdk::{Client, Error, v1};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Window;
use super::load::{Outcome, Schedule};
use super::summary::Latency;

/// Reads in flight at once.
const CALLERS: usize = 64;
/// Clients whose data is read, the first of those that send: they stand for all.
const READERS: usize = 16;
/// Moments between the client's first and now from which its lists are read.
const MOMENTS: u32 = 20;
/// What is remembered of each kind. What comes then takes the place of another.
const KNOWN: usize = 10_000;

/// What is read. Each has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// GetMessage of a message that is known.
    GetMessage,
    /// ListMessages: the newest.
    FirstPage,
    /// ListMessages from somewhere in the past on.
    DeepPage,
    /// ListEvents from the oldest event on, or from the end.
    ListEvents,
}

const KINDS: [Kind; 4] = [Kind::GetMessage, Kind::FirstPage, Kind::DeepPage, Kind::ListEvents];

/// The reads of a run.
pub struct Reads {
    readers: Vec<Reader>,
    rate: u32,
}

/// While they are made.
struct Running {
    readers: Vec<Reader>,
    schedule: Schedule,
    window: Window,
}

/// A client's data, as far as it is known.
struct Reader {
    client: Client,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    ids: Vec<String>,
    pages: Vec<v1::ListMessagesRequest>,
    positions: Vec<String>,
}

/// What became of them.
#[derive(Serialize)]
pub struct ReadSummary {
    /// Reads due in a second.
    pub rate: u32,
    /// Due, but every caller was busy.
    pub unread: u64,
    pub kinds: BTreeMap<Kind, KindSummary>,
}

#[derive(Serialize)]
pub struct KindSummary {
    pub per_second: f64,
    /// From when a read was due to its answer.
    pub latency: Latency,
    pub errors: BTreeMap<String, u64>,
}

impl Reads {
    /// Looks round in what is stored.
    pub async fn of(clients: &[Client], rate: u32) -> Result<Self, Error> {
        let mut readers = Vec::new();
        for client in clients.iter().take(READERS) {
            readers.push(Reader::look_round(client.clone()).await?);
        }
        Ok(Self { readers, rate })
    }

    /// Runs to the end of the window.
    pub async fn run(self, begin: Instant, window: Window) -> ReadSummary {
        let Self { readers, rate } = self;
        let schedule = Schedule::new(Some(rate), begin, window.end);
        let reads = Arc::new(Running { readers, schedule, window });
        let mut running = JoinSet::new();
        for caller in 0..CALLERS {
            running.spawn(reads.clone().call(caller));
        }
        let mut total: BTreeMap<Kind, Outcome> = BTreeMap::new();
        while let Some(ended) = running.join_next().await {
            for (kind, outcome) in ended.expect("a caller does not panic") {
                total.entry(kind).or_insert_with(Outcome::new).add(outcome);
            }
        }
        let done: u64 = total.values().map(|outcome| outcome.sent).sum();
        let seconds = (reads.window.end - reads.window.start).as_secs_f64();
        let of = |outcome: Outcome| KindSummary {
            per_second: outcome.accepted as f64 / seconds,
            latency: Latency::of(&outcome.latency),
            errors: outcome.errors,
        };
        ReadSummary {
            rate,
            unread: reads.schedule.planned().unwrap_or(done).saturating_sub(done),
            kinds: total.into_iter().map(|(kind, outcome)| (kind, of(outcome))).collect(),
        }
    }
}

impl Running {
    /// Reads what is due, each time another kind and another client's.
    async fn call(self: Arc<Self>, caller: usize) -> BTreeMap<Kind, Outcome> {
        let mut outcomes = BTreeMap::new();
        let mut turn = caller;
        while let Some(due) = self.schedule.next().await {
            let reader = &self.readers[turn / KINDS.len() % self.readers.len()];
            let (kind, result) = reader.read(KINDS[turn % KINDS.len()]).await;
            turn += 1;
            let outcome: &mut Outcome = outcomes.entry(kind).or_insert_with(Outcome::new);
            outcome.sent += 1;
            match result {
                Ok(()) => outcome.accept(self.window, due, Instant::now()),
                Err(error) => outcome.refuse(self.window, due, error),
            }
        }
        outcomes
    }
}

impl Reader {
    async fn look_round(client: Client) -> Result<Self, Error> {
        let account = client.account().await?;
        let made = account.client.and_then(|client| client.create_time);
        let made = made.and_then(|time| SystemTime::try_from(time).ok()).unwrap_or_else(SystemTime::now);
        let age = made.elapsed().unwrap_or_default();
        // The first frame has the position of the end.
        let mut log = client.subscribe_delivery_reports(v1::SubscribeDeliveryReportsRequest::default());
        let end = log.next().await.transpose()?.map(|frame| frame.resume_token);
        let reader = Self { client, known: Mutex::default() };
        reader.learn(|known| known.positions.extend(std::iter::once(String::new()).chain(end)));
        for moment in 1..=MOMENTS {
            let before = made + age * moment / MOMENTS;
            reader
                .list(v1::ListMessagesRequest { created_before: Some(before.into()), ..Default::default() })
                .await?;
        }
        Ok(reader)
    }

    /// Answers what was read: while nothing is known, the newest messages.
    async fn read(&self, kind: Kind) -> (Kind, Result<(), Error>) {
        let newest = v1::ListMessagesRequest::default();
        match kind {
            Kind::GetMessage => match self.learn(|known| any(&known.ids)) {
                Some(id) => (kind, self.client.get_message(id).await.map(drop)),
                None => (Kind::FirstPage, self.list(newest).await),
            },
            Kind::FirstPage => (kind, self.list(newest).await),
            Kind::DeepPage => match self.learn(|known| any(&known.pages)) {
                Some(page) => (kind, self.list(page).await),
                None => (Kind::FirstPage, self.list(newest).await),
            },
            Kind::ListEvents => (kind, self.list_events().await),
        }
    }

    /// A page of messages. Its ids are known then, and the page behind it.
    async fn list(&self, asked: v1::ListMessagesRequest) -> Result<(), Error> {
        let page = self.client.list_messages(asked.clone()).await?;
        self.learn(|known| {
            for message in page.messages {
                remember(&mut known.ids, message.id);
            }
            if !page.next_page_token.is_empty() {
                let behind = v1::ListMessagesRequest { page_token: page.next_page_token, ..asked };
                remember(&mut known.pages, behind);
            }
        });
        Ok(())
    }

    /// A page of the log, from which the next goes on.
    async fn list_events(&self) -> Result<(), Error> {
        let (place, resume_token) = self.learn(|known| {
            let place = rand::random_range(0..known.positions.len());
            (place, known.positions[place].clone())
        });
        let page =
            self.client.list_events(v1::ListEventsRequest { resume_token, ..Default::default() }).await?;
        self.learn(|known| known.positions[place] = page.resume_token);
        Ok(())
    }

    fn learn<T>(&self, with: impl FnOnce(&mut Known) -> T) -> T {
        with(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn any<T: Clone>(known: &[T]) -> Option<T> {
    (!known.is_empty()).then(|| known[rand::random_range(0..known.len())].clone())
}

fn remember<T>(known: &mut Vec<T>, new: T) {
    if known.len() < KNOWN {
        known.push(new);
    } else {
        known[rand::random_range(0..KNOWN)] = new;
    }
}

impl ReadSummary {
    /// For a person: a line each.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let first = ("reads", format!("{}/s due, {} unread", self.rate, self.unread));
        let kinds = self.kinds.iter().map(|(kind, read)| {
            let name = match kind {
                Kind::GetMessage => "  GetMessage",
                Kind::FirstPage => "  first page",
                Kind::DeepPage => "  deep page",
                Kind::ListEvents => "  ListEvents",
            };
            let errors: Vec<_> = read.errors.iter().map(|(why, count)| format!(", {why} {count}")).collect();
            (name, format!("{:.0}/s, {}{}", read.per_second, read.latency, errors.concat()))
        });
        std::iter::once(first).chain(kinds).collect()
    }
}
