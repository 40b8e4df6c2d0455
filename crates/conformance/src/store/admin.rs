//! Rates, secrets, the schema and the clock.

use std::time::Duration;

use delivery::plan::Wanted;
use delivery::port::{RateRow, Schema, StoreError};

use crate::bench::{Bench, START};
use crate::verbs::load;

pub async fn rates_are_inserted_or_replaced(bench: Bench) {
    assert_eq!(bench.store.rates().await.unwrap(), []);
    let first = [rate("USD", "", 5), rate("USD", "4477", i64::MAX), rate("EUR", "", 0)];
    bench.store.put_rates(&first, &bench.entry("put")).await.unwrap();
    let second = [rate("USD", "", 6), rate("EUR", "49", 7)];
    bench.store.put_rates(&second, &bench.entry("put")).await.unwrap();
    // By currency and prefix.
    let expected =
        [rate("EUR", "", 0), rate("EUR", "49", 7), rate("USD", "", 6), rate("USD", "4477", i64::MAX)];
    assert_eq!(bench.other.rates().await.unwrap(), expected);
    // All or none.
    let wrong = [rate("GBP", "", 1), rate("USD", "1", -1)];
    let refused = bench.store.put_rates(&wrong, &bench.entry("wrong")).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(bench.other.rates().await.unwrap(), expected);
    assert_eq!(bench.audit_log().await.len(), 2);
}

pub async fn rates_are_removed_by_currency_and_prefix(bench: Bench) {
    let all = [rate("EUR", "", 1), rate("EUR", "49", 2), rate("USD", "", 3), rate("USD", "49", 4)];
    bench.store.put_rates(&all, &bench.entry("put")).await.unwrap();
    let entries = bench.audit_log().await;
    for absent in [&[rate("GBP", "", 1), rate("EUR", "4", 2)][..], &[]] {
        assert_eq!(bench.store.delete_rates(absent, &bench.entry("none")).await.unwrap(), 0);
    }
    assert_eq!(bench.other.rates().await.unwrap(), all);
    assert_eq!(bench.audit_log().await, entries);
    // Whatever their price.
    let some = [rate("EUR", "49", 99), rate("GBP", "49", 2), rate("USD", "", 0)];
    let entry = bench.entry("delete");
    assert_eq!(bench.store.delete_rates(&some, &entry).await.unwrap(), 2);
    assert_eq!(bench.other.rates().await.unwrap(), [all[0].clone(), all[3].clone()]);
    assert_eq!(bench.audit_log().await[0], entry);
    assert_eq!(bench.store.delete_rates(&some, &bench.entry("again")).await.unwrap(), 0);
    assert_eq!(bench.audit_log().await.len(), entries.len() + 1);
}

pub async fn a_secret_is_the_same_for_every_caller(bench: Bench) {
    let callers: Vec<_> = (0..12)
        .map(|n| {
            let store = if n % 2 == 0 { bench.store.clone() } else { bench.other.clone() };
            tokio::spawn(async move { store.secret("pepper", [n; 32]).await.unwrap() })
        })
        .collect();
    let mut secrets = Vec::new();
    for caller in callers {
        secrets.push(caller.await.unwrap());
    }
    secrets.dedup();
    assert_eq!(secrets.len(), 1);
    assert!((0..12).any(|n| secrets[0] == [n; 32]));
    assert_eq!(bench.store.secret("pepper", [99; 32]).await.unwrap(), secrets[0]);
    assert_eq!(bench.store.secret("token", [99; 32]).await.unwrap(), [99; 32], "each name has its own");
}

/// Gets a database without a schema.
pub async fn several_nodes_migrate_at_once_and_again(bench: Bench) {
    let before = bench.store.schema().await.unwrap();
    assert!(!before.missing.is_empty() && before.later.is_empty() && before.altered.is_empty(), "{before:?}");
    bench.store.ping().await.unwrap();
    let nodes: Vec<_> = [&bench.store, &bench.other, &bench.store, &bench.other]
        .map(|store| {
            let store = store.clone();
            tokio::spawn(async move { store.migrate().await })
        })
        .into();
    for node in nodes {
        node.await.unwrap().unwrap();
    }
    assert_eq!(bench.store.schema().await.unwrap(), Schema::default());
    let client = bench.client().await;
    let epoch = bench.store.log_epoch().await.unwrap();
    bench.other.migrate().await.unwrap();
    assert_eq!(bench.store.log_epoch().await.unwrap(), epoch);
    assert_eq!(bench.events(client).await.len(), 1);
}

pub async fn the_log_has_one_epoch(bench: Bench) {
    let epoch = bench.store.log_epoch().await.unwrap();
    assert_ne!(epoch, 0);
    assert_eq!(bench.other.log_epoch().await.unwrap(), epoch);
    bench.client().await;
    assert_eq!(bench.store.log_epoch().await.unwrap(), epoch);
}

pub async fn a_renewed_epoch_is_another_on_every_node(bench: Bench) {
    let mut epochs = vec![bench.store.log_epoch().await.unwrap()];
    for store in [&bench.store, &bench.other] {
        let epoch = store.renew_log_epoch().await.unwrap();
        assert!(epoch != 0 && !epochs.contains(&epoch), "{epoch} after {epochs:?}");
        assert_eq!(bench.store.log_epoch().await.unwrap(), epoch);
        assert_eq!(bench.other.log_epoch().await.unwrap(), epoch);
        epochs.push(epoch);
    }
    // A migration is no new history.
    bench.store.migrate().await.unwrap();
    assert_eq!(Some(&bench.store.log_epoch().await.unwrap()), epochs.last());
}

pub async fn time_never_goes_back(bench: Bench) {
    let store = bench.store.as_ref();
    bench.clock.advance(Duration::from_secs(60));
    let newest = bench.clock.now();
    assert_eq!(store.now().await.unwrap(), newest);
    bench.clock.set(START);
    assert_eq!(store.now().await.unwrap(), newest);
    let (tx, loaded) = load(store, &Wanted::default()).await;
    assert_eq!(loaded.now, newest);
    drop(tx);
    bench.clock.set(newest + Duration::from_micros(1));
    let (_tx, loaded) = load(store, &Wanted::default()).await;
    assert_eq!(loaded.now, bench.clock.now());
}

pub async fn a_store_that_answers_says_so(bench: Bench) {
    bench.store.ping().await.unwrap();
    bench.other.ping().await.unwrap();
    assert_eq!(bench.store.schema().await.unwrap(), Schema::default());
}

fn rate(currency: &str, prefix: &str, part_price_micros: i64) -> RateRow {
    RateRow { currency: currency.into(), prefix: prefix.into(), part_price_micros }
}
