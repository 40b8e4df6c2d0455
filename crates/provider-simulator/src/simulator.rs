//! The simulator in process.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use message::id::MessageId;
use provider::magic::Answer;
use provider::{Accepted, Provider, ReportBatch, Submission, SubmitError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::{self, Past, Plan, PlannedReport};
use crate::journal::{self, JournalClosed, OpenError, Recovered, Writer};
use crate::order::Order;
use crate::record::{Record, Reply, Report, Scheduled, SubmitRecord};
use crate::schedule::{Clock, Schedule};

/// Messages whose earlier submits are remembered, at most; the oldest are forgotten first. Only those whose
/// script depends on its past count.
const REMEMBERED: usize = 250_000;
/// How long a compacted journal remembers submits that have no report open, in microseconds: three days,
/// longer than any retry goes on.
const REMEMBERED_MICROS: i64 = 3 * 24 * 3_600 * 1_000_000;

/// A provider account that plays its part by itself.
pub struct Simulator {
    core: Core,
    reports: tokio::sync::Mutex<mpsc::Receiver<ReportBatch>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulator").field("config", &self.core.config).finish_non_exhaustive()
    }
}

struct Core {
    config: Config,
    clock: Clock,
    /// Draws the references of this run apart from those of any other.
    run: u32,
    next_ref: AtomicU64,
    next_report: AtomicU64,
    memory: Mutex<Memory>,
    schedule: mpsc::UnboundedSender<Vec<Scheduled>>,
    journal: Mutex<Option<Writer>>,
    has_journal: bool,
    stop: CancellationToken,
}

/// What a submit led to.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) reply: Reply,
    /// When to say so; of a withheld answer, when the submitter gives up.
    pub(crate) at: Instant,
}

impl Simulator {
    /// Starts a simulator. With a journal, reports that were not stored before are scheduled again. Needs a
    /// tokio runtime with time enabled.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        config.validate()?;
        let clock = Clock::start();
        let stop = CancellationToken::new();
        let (schedule, incoming) = mpsc::unbounded_channel();
        let (batches, reports) = mpsc::channel(1);
        let mut tasks = Vec::new();
        let (recovered, writer) = match config.journal.clone() {
            None => (Recovered::default(), None),
            Some(journal) => {
                let (seed, to_schedule) = (config.seed, schedule.clone());
                let since = clock.now() - REMEMBERED_MICROS;
                let runtime = tokio::runtime::Handle::current();
                let opened = tokio::task::spawn_blocking(move || {
                    let _entered = runtime.enter();
                    let matters =
                        |submit: &SubmitRecord| submit.at >= since && has_history(seed, &submit.order);
                    journal::open(&journal, to_schedule, matters)
                });
                let (recovered, writer, task) = opened.await.expect("opening a journal does not panic")?;
                tasks.push(task);
                (recovered, Some(writer))
            }
        };
        let core = Core {
            clock,
            run: rand::random(),
            next_ref: AtomicU64::new(1),
            next_report: AtomicU64::new(recovered.next_report),
            memory: Mutex::default(),
            schedule,
            has_journal: writer.is_some(),
            journal: Mutex::new(writer.clone()),
            stop: stop.clone(),
            config,
        };
        core.recover(recovered);
        let time_scale = core.config.time_scale;
        tasks.push(tokio::spawn(
            Schedule { clock, time_scale, incoming, batches, journal: writer, stop }.run(),
        ));
        Ok(Self { core, reports: tokio::sync::Mutex::new(reports), tasks: Mutex::new(tasks) })
    }

    /// Stops reporting and waits until the journal has all it was given. Submits after this are
    /// unavailable. Reports that are still due stay in the journal.
    pub async fn close(&self) {
        self.core.stop.cancel();
        lock(&self.core.journal).take();
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        for task in tasks {
            // A task that panicked has nothing left to write.
            let _ = task.await;
        }
    }

    /// Plays one submit: notes it, schedules its reports, says what to answer. All that counts happens before
    /// the first wait, so a dropped call is a call whose answer is lost.
    pub(crate) async fn take(&self, order: Order, give_up: Duration) -> Result<Taken, JournalClosed> {
        self.core.take(order, give_up).await
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.core.stop.cancel();
    }
}

#[async_trait]
impl Provider for Simulator {
    fn name(&self) -> &str {
        &self.core.config.name
    }

    fn window(&self) -> usize {
        self.core.config.window
    }

    async fn submit(&self, submission: &Submission) -> Result<Accepted, SubmitError> {
        if self.core.stop.is_cancelled() {
            return Err(SubmitError::Unavailable { detail: "the simulator was closed".to_owned() });
        }
        let give_up = self.core.config.scaled(self.core.config.answer_timeout);
        match self.core.take(Order::from(submission), give_up).await {
            Ok(taken) => {
                sleep_until(taken.at).await;
                taken.reply.into_outcome()
            }
            Err(error) => Err(SubmitError::Unknown { detail: error.to_string() }),
        }
    }

    async fn next_reports(&self) -> Option<ReportBatch> {
        self.reports.lock().await.recv().await
    }
}

impl Core {
    async fn take(&self, order: Order, give_up: Duration) -> Result<Taken, JournalClosed> {
        let arrived = Instant::now();
        let at = self.clock.now();
        let past = self.remember(&order, at);
        let plan = engine::plan(&self.config, &order, past, give_up);
        let answer_at = arrived + plan.answer_after;
        let (reply, reports) = self.settle(&order, at, plan);
        // Taken out of the lock before the wait.
        let journal = lock(&self.journal).clone();
        match journal {
            Some(journal) => {
                let record = SubmitRecord { at, order, answer: reply.clone(), reports: reports.clone() };
                let written = journal.append(&Record::Submit(record), reports)?;
                written.await.map_err(|_| JournalClosed)?;
            }
            None if self.has_journal => return Err(JournalClosed),
            None if reports.is_empty() => {}
            None => {
                // Nobody receives when the simulator is closed, and then nobody waits for reports.
                let _ = self.schedule.send(reports);
            }
        }
        Ok(Taken { reply, at: answer_at })
    }

    /// Notes a submit and returns what came before it.
    fn remember(&self, order: &Order, at: i64) -> Past {
        if !has_history(self.config.seed, order) {
            return Past::default();
        }
        lock(&self.memory).note(order.attempt_ref.message, at)
    }

    /// Gives references to a message that is taken, and dates to its reports.
    fn settle(&self, order: &Order, at: i64, plan: Plan) -> (Reply, Vec<Scheduled>) {
        let reply = match plan.answer {
            Answer::Accept | Answer::Withhold => {
                let refs: Vec<_> = (0..order.part_count).map(|_| self.new_ref()).collect();
                let scheduled = plan.reports.into_iter().filter_map(|report| {
                    let provider_ref = refs.get(usize::from(report.part).checked_sub(1)?)?.clone();
                    Some(self.scheduled(order, at, provider_ref, report))
                });
                let reports = scheduled.collect();
                let is_withheld = plan.answer == Answer::Withhold;
                return (if is_withheld { Reply::Withheld } else { Reply::Accepted { refs } }, reports);
            }
            Answer::Reject { cause, is_permanent } => {
                Reply::Rejected { is_permanent, failure: cause.failure().into() }
            }
            Answer::Throttle { retry_after } => Reply::Throttled {
                retry_after_micros: u64::try_from(retry_after.as_micros()).unwrap_or(u64::MAX),
            },
            Answer::Unavailable => Reply::Unavailable,
        };
        (reply, Vec::new())
    }

    fn new_ref(&self) -> String {
        format!("sim-{:08x}-{}", self.run, self.next_ref.fetch_add(1, Ordering::Relaxed))
    }

    fn scheduled(&self, order: &Order, at: i64, provider_ref: String, report: PlannedReport) -> Scheduled {
        let wall = |after: Duration| at.saturating_add(message::time::micros(after));
        Scheduled {
            id: self.next_report.fetch_add(1, Ordering::Relaxed),
            due: wall(report.after),
            report: Report {
                provider_ref,
                attempt_ref: report.echo.then_some(order.attempt_ref),
                state: report.state,
                part: if order.part_count > 1 { report.part } else { 0 },
                // Milliseconds since the Unix epoch: the format is the provider's affair.
                done_date: (wall(report.done_after) / 1_000).to_string(),
                failure: report.failure.map(Into::into),
            },
        }
    }

    fn recover(&self, recovered: Recovered) {
        for submit in recovered.submits {
            self.remember(&submit.order, submit.at);
            if !submit.reports.is_empty() {
                // The schedule is started after this, with the other end of the channel.
                let _ = self.schedule.send(submit.reports);
            }
        }
    }
}

fn has_history(seed: u64, order: &Order) -> bool {
    engine::course(seed, order.to.as_str(), order.attempt_ref.message).has_history()
}

/// The submits of messages whose script depends on them.
#[derive(Default)]
struct Memory {
    seen: HashMap<MessageId, Seen>,
    by_age: VecDeque<MessageId>,
}

struct Seen {
    submits: u32,
    /// When the first was, in microseconds since the Unix epoch.
    first_at: i64,
}

impl Memory {
    fn note(&mut self, message: MessageId, at: i64) -> Past {
        if let Some(seen) = self.seen.get_mut(&message) {
            let since_first = u64::try_from(at.saturating_sub(seen.first_at)).unwrap_or(0);
            let past = Past { submits: seen.submits, since_first: Duration::from_micros(since_first) };
            seen.submits = seen.submits.saturating_add(1);
            return past;
        }
        self.seen.insert(message, Seen { submits: 1, first_at: at });
        self.by_age.push_back(message);
        if self.by_age.len() > REMEMBERED
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.seen.remove(&oldest);
        }
        Past::default()
    }
}

/// The state behind these locks is whole after every statement, so a poisoned one is as good as another.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
