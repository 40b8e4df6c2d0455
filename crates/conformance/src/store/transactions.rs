//! Credit movements: listed, filtered, and summed.

use delivery::adjust::{Adjustment, adjust};
use delivery::credit::{CreditError, Receipt};
use delivery::port::{Checkpoint, Total, TransactionFilter};
use message::event::{Event, EventType, TransactionType};
use message::id::ClientId;
use message::report::ReportState;

use crate::bench::Bench;
use crate::given;
use crate::verbs::{ALL, rejected};

use TransactionType::{Capture, Hold, Release, TopUp};

pub async fn transactions_are_filtered_newest_first(bench: Bench) {
    let client = used(&bench).await;
    let mut moving: Vec<Event> = bench.events(client).await;
    moving.retain(|event| event.transaction.is_some());
    moving.reverse();
    let failed = moving[4].message();
    let kinds = [TransactionType::Adjustment, TopUp, Capture, Hold, Release, Hold, TopUp];
    assert_eq!(moving.iter().map(kind).collect::<Vec<_>>(), kinds);
    for wanted in [vec![], vec![TopUp], vec![Hold, Release], vec![Capture], TransactionType::ALL.to_vec()] {
        for message in [None, failed] {
            for before in [i64::MAX, moving[1].seq, moving[3].seq, 1] {
                for from_seq in [0, 1, 2, moving[3].seq, moving[3].seq + 1, i64::MAX] {
                    for limit in [ALL, 2, 0] {
                        let filter = TransactionFilter { from_seq, kinds: wanted.clone(), message };
                        let expected: Vec<Event> = moving
                            .iter()
                            .filter(|event| wanted.is_empty() || wanted.contains(&kind(event)))
                            .filter(|event| message.is_none() || event.message() == message)
                            .filter(|event| (from_seq..before).contains(&event.seq))
                            .take(usize::try_from(limit).unwrap())
                            .cloned()
                            .collect();
                        let found = bench.store.transactions(client, &filter, before, limit).await.unwrap();
                        assert_eq!(found, expected, "{filter:?} before {before}, at most {limit}");
                    }
                }
            }
        }
    }
}

pub async fn totals_are_the_sums_of_the_transactions_listed(bench: Bench) {
    let client = used(&bench).await;
    bench.top_up(bench.client().await, 99, "another's").await;
    let last = bench.head(client).await.last_seq;
    for from in 0..=last + 1 {
        for before in (0..=last + 1).chain([i64::MAX]) {
            check_totals(&bench, client, from, before).await;
        }
    }
    check_totals(&bench, client, i64::MIN, i64::MAX).await;
    check_totals(&bench, client, i64::MAX, i64::MIN).await;
    // Of what is kept.
    let events = bench.events(client).await;
    let at = &events[4];
    let checkpoint = Checkpoint { seq: at.seq, available: at.available_after, held: at.held_after };
    bench.store.write_checkpoint(client, checkpoint).await.unwrap();
    bench.store.trim_events(client, at.seq).await.unwrap();
    check_totals(&bench, client, 0, i64::MAX).await;
    check_totals(&bench, client, at.seq + 1, last).await;
}

pub async fn credit_is_adjusted_up_and_down_and_the_books_stay_clean(bench: Bench) {
    let client = bench.client_with(1_000, |_| {}).await;
    let before = bench.audit_log().await.len();
    let down = adjusted(&bench, client, -400, "down").await.unwrap();
    assert_eq!(bench.balance(client).await, (600, 0));
    let up = adjusted(&bench, client, 50, "up").await.unwrap();
    let again = adjusted(&bench, client, 50, "up").await.unwrap();
    assert_eq!((again.is_replay, &again.event), (true, &up.event));
    assert!(matches!(adjusted(&bench, client, -651, "too much").await, Err(CreditError::Ledger { .. })));
    assert_eq!(bench.balance(client).await, (650, 0));
    for (receipt, delta, after) in [(&down, -400, 600), (&up, 50, 650)] {
        let transaction = receipt.event.transaction.as_ref().unwrap();
        assert_eq!(
            (transaction.kind, receipt.event.kind),
            (TransactionType::Adjustment, EventType::CreditAdjusted)
        );
        assert_eq!((transaction.available_delta, transaction.held_delta), (delta, 0));
        assert_eq!((receipt.event.available_after, receipt.event.held_after), (after, 0));
    }
    assert_eq!(bench.events(client).await[1..], [down.event, up.event]);
    assert_eq!(bench.audit_log().await.len(), before + 2);
    // A top-up of the same key is another call.
    bench.top_up(client, 7, "up").await;
    assert_eq!(bench.balance(client).await, (657, 0));
    let totals = bench.store.totals(client, 0, i64::MAX).await.unwrap();
    let total = Total { kind: TransactionType::Adjustment, count: 2, available_delta: -350, held_delta: 0 };
    assert!(totals.contains(&total), "{totals:?}");
    let books = bench.books(client).await;
    assert_eq!((books.available, books.available_delta, books.double_resolutions), (657, 657, 0));
    bench.assert_sound(client).await;
}

/// A client whose credit has moved in every way.
async fn used(bench: &Bench) -> ClientId {
    let client = bench.client().await;
    let failed = bench.send(client).await;
    let claimed = bench.claim_one(failed).await;
    bench.outcome(&claimed, rejected(true)).await;
    bench.sent(client, "ref-1").await;
    bench.store_reports(&[given::report("ref-1", ReportState::Delivered)]).await;
    bench.apply_reports().await;
    bench.top_up(client, 5, "second").await;
    adjusted(bench, client, -3, "adjust").await.unwrap();
    client
}

async fn adjusted(
    bench: &Bench,
    client: ClientId,
    delta_micros: i64,
    key: &str,
) -> Result<Receipt, CreditError> {
    let request =
        Adjustment { client, delta_micros, idempotency_key: key.into(), note: given::AWKWARD.into() };
    let entry = bench.entry("adjust");
    adjust(bench.store.as_ref(), bench.bell.as_ref(), &bench.timing, &request, Some(&entry)).await
}

async fn check_totals(bench: &Bench, client: ClientId, from: i64, before: i64) {
    let filter = TransactionFilter { from_seq: from, ..TransactionFilter::default() };
    let listed = bench.store.transactions(client, &filter, before, ALL).await.unwrap();
    let mut expected = Vec::new();
    for kind in TransactionType::ALL {
        let mut total = Total { kind: *kind, count: 0, available_delta: 0, held_delta: 0 };
        for transaction in listed.iter().filter_map(|event| event.transaction.as_ref()) {
            if transaction.kind == *kind {
                total.count += 1;
                total.available_delta += transaction.available_delta;
                total.held_delta += transaction.held_delta;
            }
        }
        expected.extend((total.count > 0).then_some(total));
    }
    let found = bench.other.totals(client, from, before).await.unwrap();
    assert_eq!(found, expected, "from {from} before {before}");
}

fn kind(event: &Event) -> TransactionType {
    event.transaction.as_ref().unwrap().kind
}
