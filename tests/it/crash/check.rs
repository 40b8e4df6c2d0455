//! Judges the evidence. Pure: the doctored logs of `check_tests` prove that each fault is found.

use std::collections::{BTreeMap, BTreeSet};

use message::event::TransactionType;
use message::id::MessageId;
use message::status::{LockState, OnUnknown, Status};
use provider::magic;

use super::evidence::{Ack, Answer, Evidence, Listed, Micros, Seen, Submit};
use crate::support::stated;

/// Of the messages whose life no kill touched, how many may have lost an answer to a slow machine.
const SLOW_SHARE: f64 = 0.05;

/// What is wrong, in words; empty = the promises were kept.
pub(crate) fn check(evidence: &Evidence) -> Vec<String> {
    let mut findings = Findings::default();
    check_faults(evidence, &mut findings);
    check_promises(evidence, &mut findings);
    check_log(&evidence.seen, evidence.last_seq, &mut findings);
    check_money(evidence, &mut findings);
    check_messages(evidence, &mut findings);
    findings.0
}

#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn expect(&mut self, is_fine: bool, what: impl FnOnce() -> String) {
        if !is_fine {
            self.0.push(what());
        }
    }
}

/// The test means nothing unless its faults were injected.
fn check_faults(evidence: &Evidence, findings: &mut Findings) {
    let demand = &evidence.demand;
    let acks = evidence.acks.len();
    findings.expect(acks >= demand.messages, || format!("only {acks} messages were sent"));
    let hits = kills_with_in_flight(evidence, demand.in_flight);
    findings.expect(hits >= demand.kills, || {
        format!("only {hits} of {} kills met {} messages in flight", evidence.kills.len(), demand.in_flight)
    });
}

/// Kills at which so many messages were acknowledged before and ended after.
fn kills_with_in_flight(evidence: &Evidence, wanted: usize) -> usize {
    in_flight_at_kills(evidence).into_iter().filter(|count| *count >= wanted).count()
}

/// For each kill, the messages that were acknowledged before and ended after.
pub(crate) fn in_flight_at_kills(evidence: &Evidence) -> Vec<usize> {
    let ends: BTreeMap<MessageId, Micros> = evidence
        .seen
        .iter()
        .filter(|seen| seen.is_end())
        .filter_map(|seen| Some((seen.message?, seen.at)))
        .collect();
    let is_open =
        |ack: &Ack, kill: Micros| ack.at <= kill && ends.get(&ack.message).is_none_or(|end| *end > kill);
    evidence.kills.iter().map(|kill| evidence.acks.iter().filter(|ack| is_open(ack, *kill)).count()).collect()
}

/// Each acknowledged message exists exactly once, and no other does.
fn check_promises(evidence: &Evidence, findings: &mut Findings) {
    let mut promised: BTreeMap<&str, BTreeSet<MessageId>> = BTreeMap::new();
    for ack in &evidence.acks {
        promised.entry(&ack.key).or_default().insert(ack.message);
    }
    let mut kept: BTreeMap<&str, Vec<MessageId>> = BTreeMap::new();
    for listed in &evidence.listed {
        kept.entry(&listed.reference).or_default().push(listed.message);
    }
    for (key, messages) in &promised {
        findings
            .expect(messages.len() == 1, || format!("{key} was acknowledged as {} messages", messages.len()));
        let exist = kept.get(key).map_or(&[][..], Vec::as_slice);
        findings.expect(exist.len() == 1, || format!("{key} exists {} times", exist.len()));
        findings.expect(exist.iter().all(|message| messages.contains(message)), || {
            format!("{key} was acknowledged under another id")
        });
    }
    for key in kept.keys().filter(|key| !promised.contains_key(*key)) {
        findings.0.push(format!("{key} exists and was never acknowledged"));
    }
    let known: BTreeSet<MessageId> = evidence.listed.iter().map(|listed| listed.message).collect();
    for message in evidence.submits.keys().filter(|message| !known.contains(message)) {
        findings.0.push(format!("{message} was submitted and does not exist"));
    }
}

/// Each `seq` once, in order, from 1 to the last.
fn check_log(seen: &[Seen], last_seq: i64, findings: &mut Findings) {
    for (expected, event) in (1..).zip(seen) {
        if event.seq != expected {
            findings.0.push(format!("the subscriber got seq {} where {expected} was due", event.seq));
            return;
        }
    }
    let got = seen.len();
    findings.expect(i64::try_from(got) == Ok(last_seq), || {
        format!("the subscriber got {got} of {last_seq} events")
    });
}

/// The events' running balances, and the balance at the end.
fn check_money(evidence: &Evidence, findings: &mut Findings) {
    let (mut available, mut held) = (0, 0);
    for event in &evidence.seen {
        let Some(money) = event.money else { continue };
        available += money.available_delta;
        held += money.held_delta;
        let is_sum = (money.available_after, money.held_after) == (available, held);
        findings.expect(is_sum && available >= 0 && held >= 0, || {
            format!("after seq {} the balance is ({available}, {held}) and is told otherwise", event.seq)
        });
    }
    findings.expect((evidence.available, evidence.held) == (available, held), || {
        format!(
            "the balance is ({}, {}), the log says ({available}, {held})",
            evidence.available, evidence.held
        )
    });
    findings.expect(evidence.held == 0, || format!("{} micros are still held", evidence.held));
    let captured: i64 = evidence
        .listed
        .iter()
        .filter(|listed| listed.credit == LockState::Captured)
        .map(|listed| listed.price_micros)
        .sum();
    findings.expect(evidence.available == evidence.topped_up - captured, || {
        format!(
            "{} micros are left of {} after {captured} were captured",
            evidence.available, evidence.topped_up
        )
    });
}

/// One message, with all that is known of it.
struct Case<'a> {
    ack: &'a Ack,
    listed: &'a Listed,
    submits: &'a [Submit],
    events: Vec<&'a Seen>,
    /// No kill came between its acknowledgement and its end.
    is_untouched: bool,
    max_attempts: i32,
}

fn check_messages(evidence: &Evidence, findings: &mut Findings) {
    let listed: BTreeMap<MessageId, &Listed> =
        evidence.listed.iter().map(|listed| (listed.message, listed)).collect();
    let mut events: BTreeMap<MessageId, Vec<&Seen>> = BTreeMap::new();
    for event in &evidence.seen {
        if let Some(message) = event.message {
            events.entry(message).or_default().push(event);
        }
    }
    let mut slow = 0;
    for ack in &evidence.acks {
        // Missing ones were found before.
        let Some(listed) = listed.get(&ack.message) else { continue };
        let events = events.remove(&ack.message).unwrap_or_default();
        let case = Case {
            ack,
            listed,
            submits: evidence.submits.get(&ack.message).map_or(&[], Vec::as_slice),
            is_untouched: is_untouched(ack, &events, &evidence.kills),
            events,
            max_attempts: evidence.max_attempts,
        };
        case.check(findings);
        slow += usize::from(case.is_slow());
    }
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let allowed = (evidence.acks.len() as f64 * SLOW_SHARE).ceil() as usize;
    findings.expect(slow <= allowed, || {
        format!("{slow} messages lost an answer without a kill: the server, or this machine, is too slow")
    });
}

/// The clocks are one machine's, but an answer travels and a transaction has a beginning: a second on both sides.
fn is_untouched(ack: &Ack, events: &[&Seen], kills: &[Micros]) -> bool {
    const SLACK: Micros = 1_000_000;
    let last = events.last().map_or(Micros::MAX, |event| event.at.saturating_add(SLACK));
    let first = events.first().map_or(ack.at, |event| event.at.min(ack.at)) - SLACK;
    !kills.iter().any(|kill| (first..=last).contains(kill))
}

impl Case<'_> {
    fn check(&self, findings: &mut Findings) {
        let mut found = Findings::default();
        self.check_submits(&mut found);
        self.check_life(&mut found);
        self.check_end(&mut found);
        let Self { ack, listed, .. } = self;
        let whole = || {
            let kinds: Vec<_> =
                self.events.iter().map(|event| format!("{}@{}", event.kind, event.attempt)).collect();
            let submits: Vec<_> =
                self.submits.iter().map(|submit| format!("{:?}@{}", submit.answer, submit.attempt)).collect();
            format!("[{}; submits {}]", kinds.join(" "), submits.join(" "))
        };
        let name = format!("{} (01{:02}, {}, {})", ack.key, ack.nn, ack.on_unknown, listed.status);
        findings.0.extend(found.0.into_iter().map(|what| format!("{name}: {what} {}", whole())));
    }

    /// The provider was given the message as often as the policy allows, each time after a reason to try again.
    fn check_submits(&self, findings: &mut Findings) {
        let waits = self.ack.on_unknown == OnUnknown::Wait;
        for submit in self.submits {
            findings
                .expect(submit.text_sha256 == self.ack.text_sha256, || "another text was submitted".into());
            findings.expect((1..=self.max_attempts).contains(&submit.attempt), || "too many attempts".into());
        }
        if let Some(first) = self.submits.first() {
            findings.expect(!waits || first.attempt == 1, || "the first submit is not attempt 1".into());
        }
        for pair in self.submits.windows(2) {
            let (before, after) = (&pair[0], &pair[1]);
            let step = after.attempt - before.attempt;
            match before.answer {
                // Nothing was taken and no attempt is spent: the same one again.
                Answer::PutOff if step == 0 => {}
                // A definite failure for now: the next one.
                Answer::RefusedForNow if step == 1 => {}
                _ if waits => findings.0.push(format!("submitted again after {:?}", before.answer)),
                // RESEND: the server must have lost the outcome of the earlier attempt, or of one that never left.
                _ => findings.expect(step > 0 && self.lost_outcome(before.attempt, after.attempt), || {
                    format!("submitted again after {:?} without having lost the outcome", before.answer)
                }),
            }
        }
    }

    /// An attempt from `first` to before `next` became UNKNOWN.
    fn lost_outcome(&self, first: i32, next: i32) -> bool {
        self.unknown().any(|event| (first..next).contains(&event.attempt))
    }

    /// The outcomes that the server lost.
    fn unknown(&self) -> impl Iterator<Item = &Seen> {
        self.events.iter().copied().filter(|event| event.kind == "message.unknown")
    }

    /// One hold, one resolution, one end.
    fn check_life(&self, findings: &mut Findings) {
        let first = self.events.first().map(|event| event.kind.as_str());
        findings
            .expect(first == Some("message.queued"), || "its log does not begin with message.queued".into());
        let moved = |kinds: &[TransactionType]| {
            let movements = self.events.iter().filter_map(|event| event.money);
            movements.filter(|money| kinds.contains(&money.kind)).collect::<Vec<_>>()
        };
        let price = self.listed.price_micros;
        let holds = moved(&[TransactionType::Hold]);
        findings.expect(holds.len() == 1 && holds.iter().all(|hold| hold.held_delta == price), || {
            format!("{} holds", holds.len())
        });
        let resolutions = moved(&[TransactionType::Capture, TransactionType::Release]);
        findings.expect(
            resolutions.len() == 1 && resolutions.iter().all(|each| each.held_delta == -price),
            || format!("{} resolutions of its credit", resolutions.len()),
        );
        let is_told = resolutions.first().map(|money| money.kind)
            == match self.listed.credit {
                LockState::Held => None,
                LockState::Captured => Some(TransactionType::Capture),
                LockState::Released => Some(TransactionType::Release),
            };
        findings
            .expect(is_told, || format!("its credit is {} and the log says otherwise", self.listed.credit));
        let changes = || self.events.iter().filter(|event| event.kind != "message.report_ignored");
        let finals = changes().filter(|event| event.status.is_some_and(Status::is_final)).count();
        findings.expect(finals <= 1, || format!("{finals} final statuses"));
        let last = changes().next_back().and_then(|event| event.status);
        findings.expect(last == Some(self.listed.status), || format!("its log ends with {last:?}"));
    }

    /// The status and the money are what the provider's side of the story allows.
    fn check_end(&self, findings: &mut Findings) {
        let status = self.listed.status;
        let is_settled = self.events.iter().any(|event| event.kind == "message.settled");
        let allowed = self.allowed_ends();
        findings.expect(allowed.contains(&status), || format!("may only end as one of {allowed:?}"));
        findings.expect(status.is_final() || is_settled, || "neither final nor settled".into());
        let credit = match status {
            // Settled first: a later report corrects the status, not the money.
            _ if is_settled => LockState::Captured,
            Status::Delivered => LockState::Captured,
            _ => LockState::Released,
        };
        findings.expect(self.listed.credit == credit, || format!("its credit is {}", self.listed.credit));
        if self.is_untouched && !self.lost_answer() {
            let stated = self.stated();
            findings.expect(status == stated, || format!("no kill touched it, and it should be {stated}"));
        }
    }

    /// What the table says.
    fn stated(&self) -> Status {
        let row = magic::lookup(&recipient(self.ack.nn)).expect("every 01NN is magic");
        let end = stated::end(row, self.ack.on_unknown, self.ack.part_count);
        end.expect("the test sends to numbers with one end").status
    }

    fn allowed_ends(&self) -> BTreeSet<Status> {
        let taken = || self.submits.iter().filter(|submit| submit.answer == Answer::Taken);
        let owes_delivered = taken().any(|submit| submit.owes_delivered);
        let owes_failed = taken().any(|submit| submit.owes_failed);
        let last = self.submits.last();
        let may_fail = last.is_some_and(|last| match last.answer {
            Answer::RefusedForGood => true,
            Answer::RefusedForNow => last.attempt >= self.max_attempts,
            Answer::Taken | Answer::PutOff => false,
        });
        // From then on no failure of a later attempt may end it: an earlier one may still arrive.
        let is_resent = self.ack.on_unknown == OnUnknown::Resend && self.was_unknown();
        let mut allowed = BTreeSet::new();
        if owes_delivered {
            allowed.insert(Status::Delivered);
        }
        if owes_failed || (may_fail && !owes_delivered) {
            allowed.insert(Status::FailedPerm);
        }
        if !owes_delivered && (!owes_failed || is_resent) {
            // The answer was lost, or the claim's worker before its first byte, and nothing will ever tell.
            allowed.insert(Status::Unknown);
        }
        if last.is_some_and(|last| last.answer == Answer::Taken) && !owes_delivered && !owes_failed {
            allowed.insert(Status::Sent);
        }
        allowed
    }

    /// The server did not hear what the provider set out to say.
    fn lost_answer(&self) -> bool {
        let is_withheld = matches!(self.ack.nn, 41..=43);
        !is_withheld && self.was_unknown()
    }

    fn was_unknown(&self) -> bool {
        self.unknown().next().is_some()
    }

    fn is_slow(&self) -> bool {
        self.is_untouched && self.lost_answer()
    }
}

/// The magic recipient NN.
pub(crate) fn recipient(nn: u8) -> String {
    format!("+120255501{nn:02}")
}
