//! A batch: up to 1,000 sends, each decided by itself, in order.

use delivery::accept::OverRate;
use delivery::accept::prepare::is_idempotency_key;
use futures_util::stream::{self, StreamExt};
use message::id::ClientId;
use tokio::task::coop::consume_budget;
use tonic::Status;

use super::{ASKING, ask, hand_over};
use crate::app::App;
use crate::grpc::convert::count;
use crate::grpc::convert::send::outcome;
use crate::grpc::faults::Faults;
use crate::layers::request_id;
use crate::proto::v1;
use crate::proto::v1::send_outcome::Outcome;
use crate::status;

/// Most messages of a batch.
const MESSAGES_MAX: usize = 1_000;
/// Longest key of a batch: with the longest index it is still a message's key.
const KEY_MAX: usize = 120;

/// Sends them all. What one of them is refused for is its own outcome.
pub async fn send(
    app: &App,
    client: ClientId,
    batch: v1::SendMessagesRequest,
) -> Result<v1::SendMessagesResponse, Status> {
    check(&batch)?;
    // All are handed over before the first answer is waited for: they share few commits.
    let mut begun = Vec::with_capacity(batch.messages.len());
    let keyed = |(index, message)| keyed(message, &batch.idempotency_key, index);
    let mut asked = stream::iter(batch.messages.into_iter().enumerate().map(keyed))
        .map(|message| ask(app, client, message, OverRate::Refuse))
        .buffered(ASKING);
    while let Some(asked) = asked.next().await {
        begun.push(hand_over(app, asked));
        consume_budget().await;
    }
    let request_id = request_id::current();
    let mut outcomes = Vec::with_capacity(begun.len());
    for one in begun {
        let result = match one {
            Ok(pending) => pending.finish(&app.gate).await.map_err(status::accept_error),
            Err(refusal) => Err(refusal),
        };
        outcomes.push(outcome(result, request_id.as_ref()));
    }
    let is_accepted = |told: &&v1::SendOutcome| matches!(told.outcome, Some(Outcome::Accepted(_)));
    let accepted = outcomes.iter().filter(is_accepted).count();
    Ok(v1::SendMessagesResponse {
        accepted_count: count(accepted),
        refused_count: count(outcomes.len() - accepted),
        outcomes,
    })
}

fn check(batch: &v1::SendMessagesRequest) -> Result<(), Status> {
    let mut faults = Faults::default();
    let is_few = (1..=MESSAGES_MAX).contains(&batch.messages.len());
    faults.check("messages", is_few, "must have 1 to 1000 messages");
    let key = &batch.idempotency_key;
    let is_key = key.is_empty() || key.len() <= KEY_MAX && is_idempotency_key(key);
    faults.check("idempotency_key", is_key, "must be 1 to 120 visible ASCII characters");
    faults.into_result()
}

/// A message without a key of its own gets one of the batch's, if that has one.
fn keyed(mut message: v1::SendMessageRequest, key: &str, index: usize) -> v1::SendMessageRequest {
    if message.idempotency_key.is_empty() && !key.is_empty() {
        message.idempotency_key = format!("{key}/{index}");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(count: usize, key: &str) -> v1::SendMessagesRequest {
        v1::SendMessagesRequest { messages: vec![Default::default(); count], idempotency_key: key.into() }
    }

    #[test]
    fn a_batch_has_one_to_a_thousand_messages_and_a_key_that_leaves_room_for_the_index() {
        for fine in [batch(1, ""), batch(1_000, "key"), batch(1, &"k".repeat(120))] {
            assert!(check(&fine).is_ok());
        }
        for refused in [batch(0, ""), batch(1_001, ""), batch(1, &"k".repeat(121)), batch(1, "a b")] {
            assert!(check(&refused).is_err());
        }
        let longest = keyed(Default::default(), &"k".repeat(KEY_MAX), MESSAGES_MAX - 1);
        assert!(is_idempotency_key(&longest.idempotency_key));
    }

    #[test]
    fn a_key_of_its_own_wins_and_without_any_there_is_none() {
        let own = v1::SendMessageRequest { idempotency_key: "own".into(), ..Default::default() };
        assert_eq!(keyed(own, "batch", 3).idempotency_key, "own");
        assert_eq!(keyed(Default::default(), "batch", 3).idempotency_key, "batch/3");
        assert_eq!(keyed(Default::default(), "", 3).idempotency_key, "");
    }
}
