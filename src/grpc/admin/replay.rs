//! Sending dead letters again.

use std::collections::HashMap;
use std::sync::Arc;

use delivery::accept::decide::{DeedOf, receipt_of};
use delivery::accept::replay::Replay;
use delivery::accept::{Prepared, Receipt};
use delivery::crash_point;
use delivery::model::{DeadLetter, Message};
use message::id::MessageId;
use tonic::{Response, Status};

use crate::app::App;
use crate::auth::Principal;
use crate::grpc::convert::letter::bare_letter;
use crate::grpc::convert::send::accepted;
use crate::grpc::convert::{count, encoding, entropy};
use crate::grpc::faults::{Faults, ListFaults};
use crate::grpc::trail::{Author, Deed};
use crate::layers::request_id;
use crate::proto::v1;
use crate::proto::v1::send_outcome::Outcome;
use crate::proto_json::proto_json;
use crate::status;

const ACTION: &str = "AdminService.ReplayDeadLetters";
/// Letters of one request.
const LETTERS_MAX: usize = 100;

pub async fn replay(
    app: &Arc<App>,
    operator: Principal,
    asked: v1::ReplayDeadLettersRequest,
) -> Result<Response<v1::ReplayDeadLettersResponse>, Status> {
    let ids = read_ids(&asked.message_ids)?;
    let round = Round {
        app: app.clone(),
        author: Author::of(&operator),
        accept_duplicate_risk: asked.accept_duplicate_risk,
        validate_only: asked.validate_only,
    };
    let outcomes = round.replay_each(&ids).await?;
    Ok(Response::new(v1::ReplayDeadLettersResponse { outcomes }))
}

fn read_ids(told: &[String]) -> Result<Vec<MessageId>, Status> {
    if told.is_empty() || told.len() > LETTERS_MAX {
        return Err(status::invalid_field("message_ids", "must have 1 to 100 entries"));
    }
    let mut faults = ListFaults::of("message_ids");
    let mut ids = Vec::with_capacity(told.len());
    for (index, text) in told.iter().enumerate() {
        let mut item = Faults::default();
        ids.extend(item.take("", text.parse::<MessageId>()));
        faults.absorb(index, item);
    }
    faults.into_result()?;
    Ok(ids)
}

/// One request.
struct Round {
    app: Arc<App>,
    author: Author,
    accept_duplicate_risk: bool,
    validate_only: bool,
}

impl Round {
    /// One after the other, in their order.
    async fn replay_each(&self, ids: &[MessageId]) -> Result<Vec<v1::SendOutcome>, Status> {
        let letters = crash_point!("replay.letters", self.app.store.dead_letters_of(ids)).await;
        let letters = letters.map_err(status::store_error)?;
        let letters: HashMap<MessageId, (DeadLetter, Message)> =
            letters.into_iter().map(|letter| (letter.0.key.id, letter)).collect();
        let mut outcomes = Vec::with_capacity(ids.len());
        for id in ids {
            let outcome = match letters.get(id) {
                Some((letter, message)) => self.replay_one(letter, message).await,
                None => Err(status::not_found("DeadLetter", &id.to_string())),
            };
            let outcome = match outcome {
                Ok(accepted) => Outcome::Accepted(accepted),
                Err(error) => Outcome::Error(status::rpc_status(&error, request_id::current().as_ref())),
            };
            outcomes.push(v1::SendOutcome { outcome: Some(outcome) });
        }
        Ok(outcomes)
    }

    async fn replay_one(&self, letter: &DeadLetter, message: &Message) -> Result<v1::Accepted, Status> {
        let gate = &self.app.gate;
        let checked = gate.check_replay(letter, message, self.accept_duplicate_risk).await;
        match checked.map_err(status::accept_error)? {
            Replay::Done(replay) => self.done_before(letter, replay).await,
            Replay::Fine(prepared) if self.validate_only => Ok(would_be(&prepared)),
            Replay::Fine(prepared) => {
                let deed = self.deed(letter);
                let pending = gate.replay(*prepared, entropy(), deed).await.map_err(status::accept_error)?;
                let receipt = pending.finish(gate).await.map_err(status::accept_error)?;
                if !receipt.is_replay {
                    self.author.log(Some(letter.key.client), ACTION);
                }
                Ok(accepted(&receipt))
            }
        }
    }

    async fn done_before(&self, letter: &DeadLetter, replay: MessageId) -> Result<v1::Accepted, Status> {
        let found = crash_point!("replay.receipt", self.app.store.message(letter.key.client, replay)).await;
        Ok(match found.map_err(status::store_error)? {
            Some(message) => accepted(&Receipt { message: receipt_of(message), is_replay: true }),
            // It is older than messages are kept.
            None => {
                v1::Accepted { message_id: replay.to_string(), replayed: true, ..v1::Accepted::default() }
            }
        })
    }

    /// Written with the new message.
    fn deed(&self, letter: &DeadLetter) -> DeedOf {
        let (author, letter, entropy) = (self.author.clone(), letter.clone(), entropy());
        DeedOf::new(move |at, replay| {
            let deed = Deed::new(ACTION, Some(letter.key.client)).target(letter.key.id.to_string()).change(
                proto_json(&bare_letter(&letter, None)),
                proto_json(&bare_letter(&letter, Some(replay))),
            );
            author.silent_entry(at, entropy, deed)
        })
    }
}

/// What a replay would come to. It has no id.
fn would_be(prepared: &Prepared) -> v1::Accepted {
    v1::Accepted {
        status: v1::message::Status::Queued.into(),
        encoding: encoding(prepared.encoding).into(),
        part_count: count(usize::from(prepared.part_count)),
        price_micros: prepared.price_micros,
        ..v1::Accepted::default()
    }
}
