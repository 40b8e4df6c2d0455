//! What operators book: top-ups and adjustments.

use delivery::accept::prepare::{is_idempotency_key, is_printable};
use delivery::adjust::{self, Adjustment};
use delivery::credit::{CreditError, Receipt};
use delivery::top_up::{self, TopUp};
use message::id::ClientId;
use serde_json::json;
use tonic::Status;

use crate::app::App;
use crate::auth::Principal;
use crate::grpc::convert::event::transaction;
use crate::grpc::faults::Faults;
use crate::grpc::trail::{self, Deed};
use crate::proto::v1;
use crate::status;

/// Longest note, in characters.
const NOTE_MAX: usize = 256;

/// A movement that is booked.
pub struct Booked {
    pub transaction: v1::Transaction,
    pub is_replay: bool,
}

/// Adds credit.
pub async fn top_up(app: &App, operator: &Principal, asked: v1::TopUpRequest) -> Result<Booked, Status> {
    let order = read_top_up(asked)?;
    let deed = deed("BillingService.TopUp", order.client, order.amount_micros, &order.note);
    let entry = trail::entry(app, operator, deed).await?;
    let done = top_up::top_up(app.store.as_ref(), app.bell.as_ref(), &app.timing, &order, Some(&entry)).await;
    booked(done, order.client, "amount_micros")
}

/// Corrects the available credit.
pub async fn adjust(
    app: &App,
    operator: &Principal,
    asked: v1::AdjustBalanceRequest,
) -> Result<Booked, Status> {
    let order = read_adjustment(asked)?;
    let deed = deed("BillingService.AdjustBalance", order.client, order.delta_micros, &order.note);
    let entry = trail::entry(app, operator, deed).await?;
    let done = adjust::adjust(app.store.as_ref(), app.bell.as_ref(), &app.timing, &order, Some(&entry)).await;
    booked(done, order.client, "delta_micros")
}

/// The balances before and after are those of the transaction.
fn deed(action: &'static str, client: ClientId, delta_micros: i64, note: &str) -> Deed {
    // 64-bit integers are strings in protobuf's JSON.
    let after = json!({ "availableDeltaMicros": delta_micros.to_string() });
    Deed::new(action, Some(client)).change("", after.to_string()).note(note)
}

fn booked(
    done: Result<Receipt, CreditError>,
    client: ClientId,
    amount: &'static str,
) -> Result<Booked, Status> {
    let receipt = done.map_err(|error| status::credit_error(error, &client.to_string(), amount))?;
    let transaction = transaction(&receipt.event, &receipt.currency);
    let transaction = transaction.ok_or_else(|| status::internal(&NoMovement))?;
    Ok(Booked { transaction, is_replay: receipt.is_replay })
}

#[derive(Debug, thiserror::Error)]
#[error("the event of a booking has no movement")]
struct NoMovement;

fn read_top_up(asked: v1::TopUpRequest) -> Result<TopUp, Status> {
    let mut faults = Faults::default();
    let client = check_key(&mut faults, &asked.client_id, &asked.idempotency_key)?;
    faults.check("amount_micros", asked.amount_micros > 0, "must be above 0");
    let is_currency = asked.currency.is_empty() || ledger::is_currency(&asked.currency);
    faults.check("currency", is_currency, "must be three upper-case letters (ISO 4217)");
    let is_note = asked.note.chars().count() <= NOTE_MAX && is_printable(&asked.note);
    faults.check("note", is_note, "must be at most 256 characters without control characters");
    let Some(client) = client else { return Err(faults.into_status()) };
    faults.into_result()?;
    Ok(TopUp {
        client,
        amount_micros: asked.amount_micros,
        currency: asked.currency,
        idempotency_key: asked.idempotency_key,
        note: asked.note,
    })
}

fn read_adjustment(asked: v1::AdjustBalanceRequest) -> Result<Adjustment, Status> {
    let mut faults = Faults::default();
    let client = check_key(&mut faults, &asked.client_id, &asked.idempotency_key)?;
    faults.check("delta_micros", asked.delta_micros != 0, "must not be 0");
    let is_note = (1..=NOTE_MAX).contains(&asked.note.chars().count()) && is_printable(&asked.note);
    faults.check("note", is_note, "must be 1 to 256 characters without control characters");
    let Some(client) = client else { return Err(faults.into_status()) };
    faults.into_result()?;
    Ok(Adjustment {
        client,
        delta_micros: asked.delta_micros,
        idempotency_key: asked.idempotency_key,
        note: asked.note,
    })
}

/// What every booking names. Without a key it is refused as such, before anything else is looked at.
fn check_key(faults: &mut Faults, client_id: &str, key: &str) -> Result<Option<ClientId>, Status> {
    if key.is_empty() {
        return Err(status::idempotency_key_required());
    }
    faults.check("idempotency_key", is_idempotency_key(key), "must be 1 to 128 visible ASCII characters");
    Ok(faults.take("client_id", client_id.parse()))
}
