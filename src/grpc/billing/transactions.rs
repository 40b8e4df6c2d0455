//! Pages of credit movements.

use delivery::port::TransactionFilter;
use delivery::statement::first_at_or_after;
use message::event::{Event, TransactionType};
use message::id::{ClientId, MessageId};
use message::time::Timestamp;
use tonic::Status;

use crate::app::App;
use crate::grpc::convert::event::{read_transaction_types, transaction};
use crate::grpc::convert::read_timestamp;
use crate::grpc::faults::Faults;
use crate::grpc::messaging::check_range;
use crate::grpc::{find_client, page};
use crate::proto::v1;
use crate::status;
use crate::token::PageOf;

/// What is asked for.
struct Asked {
    kinds: Vec<TransactionType>,
    message: Option<MessageId>,
    from: Option<Timestamp>,
    before: Option<Timestamp>,
}

/// The page that is asked for.
pub async fn page(
    app: &App,
    client: ClientId,
    request: &v1::ListTransactionsRequest,
) -> Result<v1::ListTransactionsResponse, Status> {
    let mut faults = Faults::default();
    let size = page::size(&mut faults, request.page_size);
    let asked = read(&mut faults, request);
    faults.into_result()?;
    let (list, tokens) = (asked.list(), &app.tokens);
    let cursor = page::cursor(tokens, client, &list, &request.page_token)?;
    let cursor = cursor.map_or(i64::MAX, i64::from_be_bytes);

    let (from_seq, before) = seqs(app, client, &asked).await?;
    let filter = TransactionFilter { from_seq, kinds: asked.kinds, message: asked.message };
    let read = app.store.transactions(client, &filter, cursor.min(before), page::read_limit(size)).await;
    let mut events = read.map_err(status::store_error)?;
    let cursor = |last: &Event| last.seq.to_be_bytes().to_vec();
    let next_page_token = page::cut(tokens, client, &list, &mut events, size, cursor);
    let (client, _) = find_client(app, client).await?;
    let transactions = events.iter().filter_map(|event| transaction(event, &client.currency)).collect();
    Ok(v1::ListTransactionsResponse { transactions, next_page_token })
}

fn read(faults: &mut Faults, request: &v1::ListTransactionsRequest) -> Asked {
    let kinds = read_transaction_types(faults, "types", &request.types);
    let message = (!request.message_id.is_empty())
        .then(|| faults.take("message_id", request.message_id.parse()))
        .flatten();
    let from = read_timestamp(faults, "created_after", request.created_after);
    let before = read_timestamp(faults, "created_before", request.created_before);
    check_range(faults, from, before);
    Asked { kinds, message, from, before }
}

/// The `seq`s of the time range: from the first, and before the second.
async fn seqs(app: &App, client: ClientId, asked: &Asked) -> Result<(i64, i64), Status> {
    if asked.from.is_none() && asked.before.is_none() {
        return Ok((0, i64::MAX));
    }
    let store = app.store.as_ref();
    let ends = store.events(client, 0, 0).await.map_err(status::store_error)?;
    let seq = async |at: Option<Timestamp>, otherwise: i64| match at {
        Some(at) => first_at_or_after(store, client, &ends, at).await.map_err(status::store_error),
        None => Ok(otherwise),
    };
    Ok((seq(asked.from, 0).await?, seq(asked.before, i64::MAX).await?))
}

impl Asked {
    fn list(&self) -> PageOf {
        let kinds: Vec<&str> = self.kinds.iter().map(|kind| kind.as_str()).collect();
        let message = self.message.map(|id| id.to_string()).unwrap_or_default();
        let time = |at: Option<Timestamp>| at.map(|at| at.as_micros().to_string()).unwrap_or_default();
        PageOf::new("transactions", &[&kinds.join(","), &message, &time(self.from), &time(self.before)])
    }
}
