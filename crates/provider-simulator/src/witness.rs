//! The log of a simulator process, for tests: what it saw, whatever the server believes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use message::id::MessageId;
use message::report::ReportState;
use message::time::Timestamp;

use crate::journal::{self, OpenError};
use crate::order::Order;
use crate::record::{Record, Reply};

/// All that a simulator noted.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    submits: BTreeMap<MessageId, Vec<SeenSubmit>>,
}

/// One submit that reached the simulator.
#[derive(Clone, Debug)]
pub struct SeenSubmit {
    /// By the simulator's own clock.
    pub at: Timestamp,
    pub order: Order,
    /// What the simulator set out to answer. The connection may have ended before.
    pub answer: Reply,
    /// In order of their due times.
    pub reports: Vec<SeenReport>,
}

/// One report that a submit leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenReport {
    /// By the simulator's own clock.
    pub due: Timestamp,
    pub state: ReportState,
    /// From 1; 0 = the only part.
    pub part: u16,
    /// The server said that it is durable.
    pub is_stored: bool,
}

impl Witness {
    /// Reads a log, also of a simulator that still runs.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let mut seen = Vec::new();
        let mut stored = BTreeSet::new();
        journal::read(path.as_ref(), |record| match record {
            Record::Submit(submit) => seen.push(submit.clone()),
            Record::Stored { reports, .. } => stored.extend(reports.iter().copied()),
        })?;
        let mut witness = Self::default();
        for submit in seen {
            let reports = submit.reports.into_iter().map(|report| SeenReport {
                due: Timestamp::from_micros(report.due),
                state: report.report.state,
                part: report.report.part,
                is_stored: stored.contains(&report.id),
            });
            witness.submits.entry(submit.order.attempt_ref.message).or_default().push(SeenSubmit {
                at: Timestamp::from_micros(submit.at),
                answer: submit.answer,
                reports: reports.collect(),
                order: submit.order,
            });
        }
        Ok(witness)
    }

    /// The submits of one message in the order in which they came.
    pub fn submits(&self, message: MessageId) -> &[SeenSubmit] {
        self.submits.get(&message).map_or(&[], Vec::as_slice)
    }

    /// Every message with its submits, by id.
    pub fn messages(&self) -> impl Iterator<Item = (MessageId, &[SeenSubmit])> {
        self.submits.iter().map(|(message, submits)| (*message, submits.as_slice()))
    }

    /// How often the simulator took the message, answered or not.
    pub fn times_taken(&self, message: MessageId) -> usize {
        self.submits(message).iter().filter(|submit| submit.answer.is_taken()).count()
    }

    /// Reports that are still to be stored.
    pub fn open_reports(&self) -> usize {
        self.submits
            .values()
            .flatten()
            .flat_map(|submit| &submit.reports)
            .filter(|report| !report.is_stored)
            .count()
    }
}
