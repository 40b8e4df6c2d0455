//! The checker must see what it is there for: sound evidence passes, and each doctored copy is found out.

use message::Timestamp;
use message::event::TransactionType;
use message::id::{Entropy, MessageId};
use message::status::{LockState, OnUnknown, Status};

use super::check::check;
use super::evidence::{Ack, Answer, Demand, Evidence, Listed, Micros, Money, Seen, Submit};

const PRICE: i64 = 10;
const TOPPED_UP: i64 = 1_000;
const SECOND: Micros = 1_000_000;
/// The kill of the sound evidence: after everything but the end of [`LOST`].
const KILL: Micros = 100 * SECOND;

/// The message that was delivered at once.
const PLAIN: usize = 0;
/// The message whose refusal was lost in the kill.
const LOST: u8 = 3;

fn id(number: u8) -> MessageId {
    MessageId::new(Timestamp::from_micros(SECOND), Entropy([number; 10]))
}

fn ack(number: u8, nn: u8, on_unknown: OnUnknown) -> Ack {
    Ack {
        key: format!("key-{number}"),
        message: id(number),
        nn,
        on_unknown,
        part_count: 1,
        text_sha256: "of the text".into(),
        at: 10 * SECOND,
    }
}

fn submit(attempt: i32, answer: Answer, owes_delivered: bool) -> Submit {
    Submit { attempt, answer, text_sha256: "of the text".into(), owes_delivered, owes_failed: false }
}

/// Four messages: delivered at once; delivered at the second attempt; resent after an unknown outcome; and one whose
/// refusal was lost in the kill.
fn sound() -> Evidence {
    let mut evidence = Evidence {
        topped_up: TOPPED_UP,
        max_attempts: 10,
        demand: Demand { messages: 4, kills: 1, in_flight: 1 },
        kills: vec![KILL],
        ..Evidence::default()
    };
    evidence.tell("credit.topped_up", None, None, 0, Some((TransactionType::TopUp, TOPPED_UP, 0)));
    evidence.add(
        ack(0, 0, OnUnknown::Wait),
        Status::Delivered,
        LockState::Captured,
        vec![submit(1, Answer::Taken, true)],
    );
    evidence.live(0, &[("sending", 1), ("sent", 1), ("delivered", 1)]);
    let submits = vec![submit(1, Answer::RefusedForNow, false), submit(2, Answer::Taken, true)];
    evidence.add(ack(1, 21, OnUnknown::Wait), Status::Delivered, LockState::Captured, submits);
    evidence.live(1, &[("sending", 1), ("failed_temp", 1), ("sending", 2), ("sent", 2), ("delivered", 2)]);
    let submits = vec![submit(1, Answer::Taken, false), submit(2, Answer::Taken, true)];
    evidence.add(ack(2, 42, OnUnknown::Resend), Status::Delivered, LockState::Captured, submits);
    let steps =
        [("sending", 1), ("unknown", 1), ("failed_temp", 1), ("sending", 2), ("sent", 2), ("delivered", 2)];
    evidence.live(2, &steps);
    let refused = vec![submit(1, Answer::RefusedForGood, false)];
    evidence.add(ack(LOST, 10, OnUnknown::Wait), Status::Unknown, LockState::Captured, refused);
    evidence.live(LOST, &[("sending", 1), ("unknown", 1), ("settled", 1)]);
    evidence
}

impl Evidence {
    fn add(&mut self, ack: Ack, status: Status, credit: LockState, submits: Vec<Submit>) {
        let (message, reference) = (ack.message, ack.key.clone());
        self.listed.push(Listed { message, reference, status, credit, price_micros: PRICE });
        self.submits.insert(message, submits);
        self.acks.push(ack);
        self.tell(
            "message.queued",
            Some(message),
            Some(Status::Queued),
            0,
            Some((TransactionType::Hold, -PRICE, PRICE)),
        );
    }

    fn live(&mut self, number: u8, steps: &[(&str, i32)]) {
        for (step, attempt) in steps {
            let status = match *step {
                "sending" => Status::Sending,
                "sent" => Status::Sent,
                "delivered" => Status::Delivered,
                "failed_temp" => Status::FailedTemp,
                _ => Status::Unknown,
            };
            let captures = matches!(*step, "delivered" | "settled");
            let money = captures.then_some((TransactionType::Capture, 0, -PRICE));
            self.tell(&format!("message.{step}"), Some(id(number)), Some(status), *attempt, money);
        }
    }

    /// Appends an event and moves the balance.
    fn tell(
        &mut self,
        kind: &str,
        message: Option<MessageId>,
        status: Option<Status>,
        attempt: i32,
        money: Option<(TransactionType, i64, i64)>,
    ) {
        let money = money.map(|(kind, available_delta, held_delta)| {
            self.available += available_delta;
            self.held += held_delta;
            Money {
                kind,
                available_delta,
                held_delta,
                available_after: self.available,
                held_after: self.held,
            }
        });
        self.last_seq += 1;
        let at = if kind == "message.settled" { KILL + SECOND } else { 20 * SECOND };
        self.seen.push(Seen { seq: self.last_seq, kind: kind.into(), at, message, status, attempt, money });
    }
}

#[track_caller]
fn finds(words: &str, doctor: impl FnOnce(&mut Evidence)) {
    let mut evidence = sound();
    doctor(&mut evidence);
    let findings = check(&evidence);
    assert!(findings.iter().any(|finding| finding.contains(words)), "wanted {words:?}, found {findings:#?}");
}

#[test]
fn sound_evidence_passes() {
    assert_eq!(check(&sound()), Vec::<String>::new());
}

#[test]
fn a_lost_message_is_found() {
    finds("key-0 exists 0 times", |evidence| drop(evidence.listed.remove(PLAIN)));
}

#[test]
fn a_key_with_two_messages_is_found() {
    finds("key-0 exists 2 times", |evidence| {
        let again = Listed { message: id(9), ..evidence.listed[PLAIN].clone() };
        evidence.listed.push(again);
    });
    finds("key-0 was acknowledged as 2 messages", |evidence| {
        let again = Ack { message: id(9), ..evidence.acks[PLAIN].clone() };
        evidence.acks.push(again);
    });
    finds("key-9 exists and was never acknowledged", |evidence| {
        let ghost = Listed { message: id(9), reference: "key-9".into(), ..evidence.listed[PLAIN].clone() };
        evidence.listed.push(ghost);
    });
}

#[test]
fn a_second_submit_of_a_message_that_waits_is_found() {
    finds("submitted again after Taken", |evidence| {
        let submits = evidence.submits.get_mut(&id(0)).expect("it was submitted");
        submits.push(submit(2, Answer::Taken, true));
    });
    finds("submitted again after RefusedForGood", |evidence| {
        let submits = evidence.submits.get_mut(&id(LOST)).expect("it was submitted");
        submits.push(submit(2, Answer::RefusedForGood, false));
    });
}

#[test]
fn one_attempt_submitted_twice_is_found() {
    finds("submitted again after RefusedForNow", |evidence| {
        let submits = evidence.submits.get_mut(&id(1)).expect("it was submitted");
        submits.insert(1, submit(1, Answer::RefusedForNow, false));
    });
}

#[test]
fn a_resend_without_a_lost_outcome_is_found() {
    finds("without having lost the outcome", |evidence| {
        evidence.acks[PLAIN].on_unknown = OnUnknown::Resend;
        let submits = evidence.submits.get_mut(&id(0)).expect("it was submitted");
        submits.push(submit(2, Answer::Taken, true));
    });
}

#[test]
fn a_submit_of_a_message_that_does_not_exist_or_says_something_else_is_found() {
    finds("was submitted and does not exist", |evidence| {
        evidence.submits.insert(id(9), vec![submit(1, Answer::Taken, true)]);
    });
    finds("another text was submitted", |evidence| {
        evidence.submits.get_mut(&id(0)).expect("it was submitted")[0].text_sha256 = "of another".into();
    });
}

#[test]
fn a_gap_a_repetition_and_a_wrong_order_in_the_log_are_found() {
    finds("seq 6 where 5 was due", |evidence| drop(evidence.seen.remove(4)));
    finds("seq 5 where 6 was due", |evidence| {
        let again = evidence.seen[4].clone();
        evidence.seen.insert(5, again);
    });
    finds("seq 6 where 5 was due", |evidence| evidence.seen.swap(4, 5));
    finds("got 22 of 23 events", |evidence| evidence.last_seq += 1);
}

#[test]
fn money_that_does_not_add_up_is_found() {
    finds("the balance is (961, 0)", |evidence| evidence.available += 1);
    finds("10 micros are still held", |evidence| {
        evidence.held += PRICE;
        evidence.available -= PRICE;
    });
    finds("is told otherwise", |evidence| {
        let money = evidence.seen[1].money.as_mut().expect("it is the hold");
        money.available_after += 1;
    });
    finds("2 resolutions", |evidence| {
        let capture = evidence.seen[4].clone();
        assert_eq!(capture.kind, "message.delivered");
        evidence.seen.insert(5, capture);
    });
    finds("its credit is RELEASED", |evidence| evidence.listed[PLAIN].credit = LockState::Released);
}

#[test]
fn an_end_that_the_provider_does_not_bear_out_is_found() {
    finds("may only end as one of {Delivered}", |evidence| {
        evidence.listed[PLAIN].status = Status::FailedPerm
    });
    finds("may only end as one of {Unknown}", |evidence| {
        evidence.submits.remove(&id(0));
    });
    finds("neither final nor settled", |evidence| {
        evidence.seen.retain(|event| event.message != Some(id(LOST)) || event.kind != "message.settled");
    });
    finds("no kill touched it, and it should be FAILED_PERM", |evidence| {
        // Its refusal was heard, and yet it is UNKNOWN.
        evidence.seen.retain(|event| event.message != Some(id(LOST)) || event.kind != "message.unknown");
        evidence.kills.clear();
    });
    finds("its log ends with", |evidence| evidence.seen[10].status = Some(Status::Sent));
}

#[test]
fn answers_lost_without_a_kill_are_found() {
    finds("lost an answer without a kill", |evidence| {
        evidence.kills.clear();
        for number in 20..60 {
            let refused = vec![submit(1, Answer::RefusedForGood, false)];
            evidence.add(ack(number, 10, OnUnknown::Wait), Status::Unknown, LockState::Captured, refused);
            evidence.live(number, &[("sending", 1), ("unknown", 1), ("settled", 1)]);
        }
    });
}

#[test]
fn faults_that_were_not_injected_are_found() {
    finds("only 4 messages", |evidence| evidence.demand.messages = 5);
    finds("only 0 of 0 kills", |evidence| evidence.kills.clear());
    // A kill of an idle server proves nothing.
    finds("only 0 of 1 kills", |evidence| evidence.kills = vec![KILL + 10 * SECOND]);
    finds("only 0 of 1 kills", |evidence| evidence.demand.in_flight = 2);
    assert_eq!(check(&sound()), Vec::<String>::new());
}
