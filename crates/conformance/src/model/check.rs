//! The rules of the schema: what a row may not say.

use delivery::model::{Client, Message, MessageState};
use delivery::port::{RateRow, StoreError};
use message::event::Event;
use message::report::ProviderReport;
use message::status::Status;

use super::refused;

fn check(is_fine: bool, why: &str) -> Result<(), StoreError> {
    if is_fine { Ok(()) } else { Err(refused(why)) }
}

pub(super) fn client(client: &Client) -> Result<(), StoreError> {
    check(client.currency.chars().count() == 3, "a currency has three letters")?;
    check(!client.report_timeout.is_zero() && !client.resend_after.is_zero(), "a span is above zero")?;
    check(client.parts_per_second >= 0 && client.burst_parts >= 0, "a rate is not negative")?;
    check(client.low_balance_micros >= 0, "a balance is not negative")?;
    check((1..=255).contains(&client.max_parts), "a message has 1 to 255 parts")
}

pub(super) fn rate(rate: &RateRow) -> Result<(), StoreError> {
    check(rate.currency.chars().count() == 3, "a currency has three letters")?;
    check(rate.part_price_micros >= 0, "a price is not negative")
}

pub(super) fn message(message: &Message) -> Result<(), StoreError> {
    check((1..=255).contains(&message.record.part_count), "a message has 1 to 255 parts")?;
    check(message.record.price_micros >= 0, "a price is not negative")?;
    state(&message.state)
}

pub(super) fn state(state: &MessageState) -> Result<(), StoreError> {
    check(state.fence >= 0 && state.attempt >= 0 && state.last_event_seq >= 1, "counts grow from zero")?;
    check((state.status == Status::Sending) == state.lease_until.is_some(), "only a claim has a lease")?;
    let may_be_due = match state.status {
        Status::Queued | Status::FailedTemp | Status::Scheduled => state.due_at.is_some(),
        Status::Unknown | Status::Sending => true,
        _ => state.due_at.is_none(),
    };
    check(may_be_due, "what waits has a time, and only that")
}

pub(super) fn event(event: &Event) -> Result<(), StoreError> {
    check(event.available_after >= 0 && event.held_after >= 0, "a balance is not negative")?;
    check(event.seq >= 1 && (0..event.seq).contains(&event.previous_seq), "a chain leads back")
}

pub(super) fn report(report: &ProviderReport) -> Result<(), StoreError> {
    check(report.part <= 255, "a part's number is one octet")
}
