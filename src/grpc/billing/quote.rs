//! What a campaign would cost.

use delivery::accept::quote::{Line, Priced, QuoteRequest};
use message::id::ClientId;
use tonic::Status;

use crate::app::App;
use crate::grpc::convert::read_encoding;
use crate::grpc::faults::Faults;
use crate::grpc::find_client;
use crate::layers::request_id::{self, RequestId};
use crate::proto::v1;
use crate::status;

/// Prices the campaign.
pub async fn price(
    app: &App,
    client: ClientId,
    asked: v1::QuoteRequest,
) -> Result<v1::QuoteResponse, Status> {
    let quoted = app.gate.quote(client, &read(asked)).await;
    let (part_count, lines) = quoted.map_err(status::accept_error)?;
    let (client, head) = find_client(app, client).await?;
    let available_micros = head.balance.available();
    let prices = lines.iter().filter_map(|line| line.priced.as_ref().ok());
    // Each price fits; a sum that does not is more than anybody has.
    let total_micros = prices.fold(0i64, |sum, priced| sum.saturating_add(priced.price_micros));
    let is_affordable = total_micros <= available_micros && lines.iter().all(|line| line.priced.is_ok());
    let request_id = request_id::current();
    let lines = lines.into_iter().map(|one| line(one, part_count, request_id.as_ref())).collect();
    Ok(v1::QuoteResponse { lines, total_micros, currency: client.currency, available_micros, is_affordable })
}

fn read(asked: v1::QuoteRequest) -> QuoteRequest {
    let mut faults = Faults::default();
    let encoding = read_encoding(&mut faults, "encoding", asked.encoding);
    QuoteRequest {
        to: asked.to,
        text: asked.text,
        part_count: asked.part_count,
        encoding,
        unread: faults.into_violations(),
    }
}

fn line(line: Line, part_count: u16, request_id: Option<&RequestId>) -> v1::QuoteLine {
    let told = v1::QuoteLine {
        to: line.to,
        country: line.region,
        part_count: i32::from(part_count),
        ..v1::QuoteLine::default()
    };
    match line.priced {
        Ok(Priced { prefix, part_price_micros, price_micros }) => {
            v1::QuoteLine { rate_prefix: prefix, part_price_micros, price_micros, ..told }
        }
        Err(error) => {
            let error = status::rpc_status(&status::line_error(error), request_id);
            v1::QuoteLine { error: Some(error), ..told }
        }
    }
}
