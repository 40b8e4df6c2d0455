//! The magic recipients do what their table says, which is what the documentation says.

use std::collections::BTreeMap;
use std::time::Duration;

use herald_sdk::Client;
use herald_sdk::tonic::Code;
use herald_sdk::v1::{self, ErrorReason};
use message::failure::FailureReason;
use message::report::ReportState;
use message::status::{LockState, OnUnknown, Status};
use provider::magic::{self, Answer, Course, Magic, Refusal, Script};

use crate::support::{
    Account, Herald, Mode, NewAccount, PART_PRICE, Setup, every_message, in_both_modes, nothing_held, read,
    refusal, sms, stated, until,
};

in_both_modes! {
    every_magic_recipient_ends_as_its_row_of_the_table_says,
    a_call_to_a_refusing_recipient_is_refused_as_its_row_says,
    the_seeded_mix_mostly_delivers,
}

async fn every_magic_recipient_ends_as_its_row_of_the_table_says(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let captures = herald.account(NewAccount::default()).await;
    let mut new = NewAccount::default();
    new.client.set_settle_unreported(v1::client::SettleUnreported::Release);
    let releases = herald.account(new).await;
    let mut cases = Vec::new();
    for row in magic::TABLE {
        for case in cases_of(row) {
            for (account, settled) in [(&captures, LockState::Captured), (&releases, LockState::Released)] {
                case.send(account).await;
                cases.push((case.clone(), account, settled));
            }
        }
    }
    let left_out = magic::TABLE.iter().filter(|row| cases_of(row).is_empty()).map(|row| row.nn);
    assert_eq!(left_out.collect::<Vec<_>>(), [50, 51, 52, 53, 54, 55, 90], "these have tests of their own");
    for (case, account, settled) in &cases {
        case.check(account, *settled).await;
    }
    // The events are compared after all have ended: one too many would have come by now.
    for account in [&captures, &releases] {
        let log = log_by_reference(&account.client).await;
        for (case, ..) in cases.iter().filter(|(_, of, _)| of.id == account.id) {
            let told = log.get(&case.reference()).expect("every message has events");
            assert_eq!(*told, case.expected_events(), "{case:?}");
        }
    }
    herald.finish().await;
}

async fn a_call_to_a_refusing_recipient_is_refused_as_its_row_says(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let client = herald.impatient_client(&account.key);
    let before = client.balance().await.expect("the balance");
    let mut uncertain = 0;
    for row in magic::TABLE {
        let Some(refused) = row.call else { continue };
        let request = v1::SendMessageRequest {
            idempotency_key: format!("refused-{:02}", row.nn),
            ..sms(&recipient(row), "Hello")
        };
        let error = check_refusal(client.send(request.clone()).await, refused);
        if refused != Refusal::OutcomeUncertainOnce {
            assert!(row.describes.contains(&error), "row {:02} does not name {error}", row.nn);
            assert_eq!(
                client.balance().await.expect("the balance"),
                before,
                "a refused call moved the balance"
            );
            continue;
        }
        uncertain += 1;
        let first = client.send(request.clone()).await.expect("the second call tells");
        assert!(first.replayed, "the message was there already");
        let second = client.send(request).await.expect("and so does the third");
        assert_eq!(first.message, second.message);
        let page = client.list_messages(v1::ListMessagesRequest::default()).await.expect("the messages");
        assert_eq!(page.messages.len(), 1, "the row promises one message");
        until("its delivery", async || {
            let message = client.get_message(&first.message.id).await.expect("the message");
            (message.status() == v1::message::Status::Delivered).then_some(())
        })
        .await;
    }
    assert_eq!(uncertain, 1);
    herald.finish().await;
}

async fn the_seeded_mix_mostly_delivers(mode: Mode) {
    const SENT: usize = 150;
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    for _ in 0..SENT {
        account.client.send(sms("+12025550190", "Hello")).await.expect("the send is accepted");
    }
    nothing_held(&account.client).await;
    let messages = every_message(&account.client).await;
    assert_eq!(messages.len(), SENT);
    let count =
        |status: Status| messages.iter().filter(|message| read::status(message.status()) == status).count();
    let (delivered, failed, unreported) =
        (count(Status::Delivered), count(Status::FailedPerm), count(Status::Sent));
    assert_eq!(delivered + failed + unreported, SENT);
    assert!(delivered > SENT * 3 / 4, "only {delivered} of {SENT} were delivered");
    herald.finish().await;
}

/// Checks code, reason and details; answers the reason's name.
fn check_refusal(answer: Result<herald_sdk::Receipt, herald_sdk::Error>, refused: Refusal) -> String {
    let (code, reason) = match refused {
        Refusal::NoRoute => (Code::FailedPrecondition, ErrorReason::NoRoute),
        Refusal::NoRate => (Code::FailedPrecondition, ErrorReason::NoRate),
        Refusal::InsufficientCredit => (Code::FailedPrecondition, ErrorReason::InsufficientCredit),
        Refusal::RateLimited { .. } => (Code::ResourceExhausted, ErrorReason::RateLimited),
        Refusal::RecipientOptedOut => (Code::FailedPrecondition, ErrorReason::RecipientOptedOut),
        Refusal::OutcomeUncertainOnce => (Code::Unavailable, ErrorReason::OutcomeUncertain),
    };
    let error = refusal(answer, code, reason);
    match refused {
        Refusal::RateLimited { retry_after } => assert_eq!(error.retry_after(), Some(retry_after)),
        Refusal::InsufficientCredit => {
            assert_eq!(error.info("need_micros"), Some(PART_PRICE.to_string().as_str()))
        }
        _ => {}
    }
    error.reason_name().to_owned()
}

fn recipient(row: &Magic) -> String {
    format!("+120255501{:02}", row.nn)
}

/// One message to send, and what its row promises.
#[derive(Clone, Debug)]
struct Case {
    row: &'static Magic,
    on_unknown: OnUnknown,
    part_count: u16,
}

/// The variants that a row's words tell apart.
fn cases_of(row: &'static Magic) -> Vec<Case> {
    let case = Case { row, on_unknown: OnUnknown::Wait, part_count: 1 };
    if stated::end(row, OnUnknown::Wait, 1).is_none() || row.call.is_some() {
        return Vec::new();
    }
    let mut cases = vec![case.clone()];
    if row.ends_as.contains("RESEND: ") {
        cases.push(Case { on_unknown: OnUnknown::Resend, ..case.clone() });
    }
    if row.ends_as.contains("(one part: ") || row.nn == 0 {
        cases.push(Case { part_count: 3, ..case });
    }
    cases
}

impl Case {
    fn reference(&self) -> String {
        format!("{:02}, {}, {} parts", self.row.nn, self.on_unknown, self.part_count)
    }

    async fn send(&self, account: &Account) {
        let text = if self.part_count == 1 { "Hello".to_owned() } else { "Hello ".repeat(70) };
        let request = v1::SendMessageRequest {
            reference: self.reference(),
            on_unknown: match self.on_unknown {
                OnUnknown::Wait => v1::OnUnknown::Wait.into(),
                OnUnknown::Resend => v1::OnUnknown::Resend.into(),
            },
            ..sms(&recipient(self.row), text.trim())
        };
        let receipt = account.client.send(request).await.expect("the send is accepted");
        assert_eq!(receipt.message.part_count, i32::from(self.part_count));
    }

    /// Waits for the end; `settled` is what becomes of a hold that no report resolves.
    async fn check(&self, account: &Account, settled: LockState) {
        let end = stated::end(self.row, self.on_unknown, self.part_count).expect("open rows have no case");
        let reference = self.reference();
        let id = find(&account.client, &reference).await;
        let message = until(&format!("the end of {reference}"), async || {
            let message = account.client.get_message(&id).await.expect("the message");
            (message.credit() != v1::message::Credit::Held).then_some(message)
        })
        .await;
        assert_eq!(read::status(message.status()), end.status, "{reference}");
        assert_eq!(read::reason(message.failure.as_ref()), end.reason, "{reference}");
        assert_eq!(read::credit(message.credit()), end.credit.unwrap_or(settled), "{reference}");
        // There is no call that lists dead letters; what makes a message one is its reason.
        assert_eq!(end.is_dead_letter, end.reason == Some(FailureReason::RetriesExhausted), "{reference}");
        assert_eq!(message.attempt_count, self.attempts(), "{reference}");
        if let Some(attempt) = end.attempt {
            assert_eq!(message.attempt_count, attempt, "{reference}");
        }
    }

    fn course(&self) -> &'static Course {
        match &self.row.script {
            Script::One(course) => course,
            Script::Mix(_) => panic!("a mix has no one course"),
        }
    }

    fn attempts(&self) -> i32 {
        let sending = self.expected_events().into_iter().filter(|kind| kind == "message.sending").count();
        i32::try_from(sending).expect("few")
    }

    /// The types of the message's events, as the script of the row has them follow.
    fn expected_events(&self) -> Vec<String> {
        const ATTEMPTS: u32 = 10;
        let mut events = vec!["queued"];
        let (mut submits, mut attempt) = (0, 1);
        let reports = loop {
            // The time without the provider is long over at the last submit.
            let step = self.course().step(submits, Duration::MAX);
            submits += 1;
            match step.answer {
                Answer::Throttle { .. } | Answer::Unavailable => continue,
                Answer::Accept => events.extend(["sending", "sent"]),
                Answer::Reject { is_permanent: true, .. } => events.extend(["sending", "failed_perm"]),
                Answer::Reject { .. } if attempt == ATTEMPTS => events.extend(["sending", "failed_perm"]),
                Answer::Reject { .. } => {
                    events.extend(["sending", "failed_temp"]);
                    attempt += 1;
                    continue;
                }
                Answer::Withhold => events.extend(["sending", "unknown"]),
            }
            if step.answer == Answer::Withhold && self.on_unknown == OnUnknown::Resend {
                events.push("failed_temp");
                attempt += 1;
                continue;
            }
            break step.reports;
        };
        self.expect_reports(reports, &mut events);
        if !events.iter().any(|kind| matches!(*kind, "delivered" | "failed_perm")) {
            events.push("settled");
        }
        events.into_iter().map(|kind| format!("message.{kind}")).collect()
    }

    /// The first final report decides; a second that says otherwise is ignored and told; the rest is silent.
    fn expect_reports(&self, reports: &[magic::Report], events: &mut Vec<&'static str>) {
        let mut delivered = 0;
        for report in reports {
            for _ in (1..=self.part_count).filter(|part| report.parts.includes(*part, self.part_count)) {
                let end = events.iter().find(|kind| matches!(**kind, "delivered" | "failed_perm")).copied();
                match (report.state, end) {
                    (ReportState::Delivered, None) => {
                        delivered += 1;
                        if delivered == self.part_count {
                            events.push("delivered");
                        }
                    }
                    (ReportState::Failed, None) => events.push("failed_perm"),
                    (ReportState::Delivered, Some("failed_perm"))
                    | (ReportState::Failed, Some("delivered")) => {
                        events.push("report_ignored");
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The id of the message with this reference.
async fn find(client: &Client, reference: &str) -> String {
    let messages = every_message(client).await;
    let mut found = messages.into_iter().filter(|message| message.reference == reference);
    let message = found.next().expect("the message is listed");
    assert!(found.next().is_none(), "two messages are {reference}");
    message.id
}

/// The types of each message's events in order, by the message's reference.
async fn log_by_reference(client: &Client) -> BTreeMap<String, Vec<String>> {
    let mut request = v1::ListEventsRequest { page_size: 500, ..Default::default() };
    let mut log: BTreeMap<String, Vec<String>> = BTreeMap::new();
    loop {
        let page = client.list_events(request.clone()).await.expect("the events");
        for event in page.events {
            if let Some(report) = event.report {
                log.entry(report.reference).or_default().push(event.r#type);
            }
        }
        if page.caught_up {
            return log;
        }
        request.resume_token = page.resume_token;
    }
}
