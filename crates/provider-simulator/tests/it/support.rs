//! Submissions to make, and the waiting for reports.

use std::time::Duration;

use message::encoding::{Encoding, Shifts};
use message::id::{ClientId, Entropy, MessageId};
use message::parts::{Content, ReferenceBits};
use message::phone::PhoneNumber;
use message::report::{AttemptRef, ProviderReport};
use message::time::Timestamp;
use provider::{Provider, ReportBatch, Submission};
use tokio::time::timeout;

pub(crate) fn message(number: i64) -> MessageId {
    MessageId::new(Timestamp::from_micros(number * 1_000), Entropy([7; 10]))
}

/// The first attempt of message `number` to `+1 202 555 01NN`.
pub(crate) fn submission(number: i64, nn: u8) -> Submission {
    Submission {
        attempt_ref: AttemptRef {
            client: ClientId::new(Timestamp::from_micros(0), Entropy([1; 10])),
            message: message(number),
            attempt: 1,
        },
        to: PhoneNumber::parse(&format!("+120255501{nn:02}")).unwrap(),
        sender: String::new(),
        content: Content::Text("Hello".to_owned().into()),
        encoding: Encoding::Gsm7,
        shifts: Shifts::NONE,
        is_flash: false,
        reference_bits: ReferenceBits::Eight,
        part_count: 1,
        validity: None,
    }
}

/// The next batch, which must come soon by the timers' clock.
pub(crate) async fn batch(provider: &impl Provider) -> ReportBatch {
    timeout(Duration::from_secs(60), provider.next_reports()).await.unwrap().unwrap()
}

/// Stores batches until `count` reports came.
pub(crate) async fn stored_reports(provider: &impl Provider, count: usize) -> Vec<ProviderReport> {
    let mut reports = Vec::new();
    while reports.len() < count {
        let batch = batch(provider).await;
        reports.extend(batch.reports);
        batch.stored.send(()).unwrap();
    }
    assert_eq!(reports.len(), count);
    reports
}
