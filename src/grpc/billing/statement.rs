//! A period in figures.

use delivery::statement;
use message::id::ClientId;
use tonic::Status;

use crate::app::App;
use crate::grpc::convert::event::statement_line;
use crate::grpc::convert::{read_timestamp, timestamp};
use crate::grpc::faults::Faults;
use crate::grpc::find_client;
use crate::proto::v1;
use crate::status;

/// The statement that is asked for.
pub async fn of(
    app: &App,
    client: ClientId,
    asked: &v1::GetStatementRequest,
) -> Result<v1::Statement, Status> {
    let mut faults = Faults::default();
    faults.check("start_time", asked.start_time.is_some(), "must be set");
    let start = read_timestamp(&mut faults, "start_time", asked.start_time);
    let end = read_timestamp(&mut faults, "end_time", asked.end_time);
    if let (Some(start), Some(end)) = (start, end) {
        faults.check("end_time", start < end, "must be after start_time");
    }
    let Some(start) = start else { return Err(faults.into_status()) };
    faults.into_result()?;
    let end = match end {
        Some(end) => end,
        None => app.store.now().await.map_err(status::store_error)?,
    };
    if start >= end {
        return Err(status::invalid_field("start_time", "must be in the past where end_time is unset"));
    }
    let summed = statement::statement(app.store.as_ref(), client, start, end).await;
    let summed = summed.map_err(status::statement_error)?;
    let (client, _) = find_client(app, client).await?;
    Ok(v1::Statement {
        start_time: Some(timestamp(start)),
        end_time: Some(timestamp(end)),
        currency: client.currency,
        opening_available_micros: summed.opening_available,
        opening_held_micros: summed.opening_held,
        lines: summed.totals.iter().map(statement_line).collect(),
        closing_available_micros: summed.closing_available,
        closing_held_micros: summed.closing_held,
    })
}
