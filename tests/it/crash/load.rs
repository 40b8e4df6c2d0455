//! The senders: each message under one idempotency key, repeated through every outage until it is acknowledged.

use std::sync::Arc;
use std::time::Instant;

use herald_sdk::{Client, Receipt, v1};
use message::status::OnUnknown;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use super::check::recipient;
use super::evidence::Ack;
use super::progress::{Progress, now};
use super::traffic::Senders;
use crate::support::{PATIENCE, soon};

/// Magic recipients and their shares in thousandths.
const MIX: &[(u8, u32)] = &[
    (0, 520),
    (2, 60),
    (3, 40),
    (4, 30),
    (5, 30),
    (6, 20),
    (10, 40),
    (11, 40),
    (12, 20),
    (13, 20),
    (14, 20),
    (20, 5),
    (21, 30),
    (22, 20),
    (23, 20),
    (29, 5),
    (30, 18),
    (31, 2),
    (40, 10),
    (41, 20),
    (42, 20),
    (43, 5),
    (55, 5),
];
/// One message in so many is sent a second time after its acknowledgement.
const REPEATED: u32 = 20;

/// One message, as its number and the seed decide it.
struct Draft {
    request: v1::SendMessageRequest,
    nn: u8,
    on_unknown: OnUnknown,
    is_repeated: bool,
}

/// Sends until there is nothing left to send.
pub(crate) async fn send_all(client: Client, progress: Arc<Progress>, seed: u64, senders: Senders) {
    while let Some(number) = progress.take(senders.messages) {
        soon("room for another message", progress.until_room(senders.under_way)).await;
        let draft = draft(seed, number);
        let asked = Instant::now();
        let receipt = send(&client, &draft.request).await;
        progress.note_wait(asked.elapsed());
        progress.note_ack(ack(&draft, &receipt));
        if draft.is_repeated {
            let again = send(&client, &draft.request).await;
            assert!(again.replayed, "a repeated send was accepted anew");
            assert_eq!(again.message, receipt.message, "a repeated send was answered with another receipt");
        }
    }
}

/// Repeats the call through outages: the client retries by itself, and what its time did not suffice for is made
/// again with the same key.
async fn send(client: &Client, request: &v1::SendMessageRequest) -> Receipt {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        match client.send(request.clone()).await {
            Ok(receipt) => return receipt,
            Err(error) => {
                use herald_sdk::tonic::Code;
                let may_pass = matches!(
                    error.code(),
                    Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted
                );
                assert!(may_pass, "a send was refused: {error}");
                assert!(tokio::time::Instant::now() < give_up, "a send was not answered in time: {error}");
            }
        }
    }
}

fn ack(draft: &Draft, receipt: &Receipt) -> Ack {
    Ack {
        key: draft.request.idempotency_key.clone(),
        message: receipt.message.id.parse().expect("the server gives ids"),
        nn: draft.nn,
        on_unknown: draft.on_unknown,
        part_count: u16::try_from(receipt.message.part_count).expect("from 1 to 255"),
        text_sha256: hex(&Sha256::digest(draft.request.text.as_bytes())),
        at: now(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn draft(seed: u64, number: usize) -> Draft {
    let mut random = StdRng::seed_from_u64(seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut left: u32 = random.random_range(0..1_000);
    let drawn = MIX.iter().find(|(_, share)| match left.checked_sub(*share) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    let nn = drawn.expect("the shares add up to a thousand").0;
    // 06 reports by part, and 43 fails every attempt: with RESEND their end depends on which attempt's report counts.
    let may_resend = !matches!(nn, 6 | 43);
    let on_unknown =
        if may_resend && random.random_ratio(1, 4) { OnUnknown::Resend } else { OnUnknown::Wait };
    let key = format!("crash-{number}");
    let text = if nn == 6 { format!("{key} {}", "long ".repeat(60)) } else { format!("{key} says hello") };
    let request = v1::SendMessageRequest {
        to: recipient(nn),
        text,
        reference: key.clone(),
        idempotency_key: key,
        on_unknown: match on_unknown {
            OnUnknown::Wait => v1::OnUnknown::Wait.into(),
            OnUnknown::Resend => v1::OnUnknown::Resend.into(),
        },
        ..Default::default()
    };
    Draft { request, nn, on_unknown, is_repeated: random.random_ratio(1, REPEATED) }
}

#[test]
fn the_shares_of_the_mix_add_up_to_a_thousand() {
    assert_eq!(MIX.iter().map(|(_, share)| share).sum::<u32>(), 1_000);
}
