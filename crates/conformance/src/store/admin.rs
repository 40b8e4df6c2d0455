//! Operators' verbs, the schema and the clock.

use std::time::Duration;

use delivery::model::{ApiKey, ClientState, Head, Scope};
use delivery::plan::Wanted;
use delivery::port::{Books, Checkpoint, RateRow, StoreError};
use message::id::ClientId;

use crate::bench::{Bench, START};
use crate::given::{self, AWKWARD};
use crate::verbs::{ALL, load};

pub async fn a_new_client_has_an_empty_log_and_no_credit(bench: Bench) {
    let client = given::client(ClientId::new(bench.clock.now(), bench.entropy()), bench.clock.now());
    bench.store.create_client(&client).await.unwrap();
    let head = Head { balance: Default::default(), last_seq: 0, oldest_seq: 1 };
    assert_eq!(bench.other.client(client.id).await.unwrap(), Some((client.clone(), head)));
    let page = bench.store.events(client.id, 0, ALL).await.unwrap();
    assert_eq!((page.events.len(), page.last_seq, page.oldest_seq), (0, 0, 1));
    let books = bench.books(client.id).await;
    assert_eq!(books, Books { checkpoint: Checkpoint::default(), ..Books::default() });
    bench.assert_sound(client.id).await;
}

pub async fn a_client_is_made_once(bench: Bench) {
    let client = given::client(ClientId::new(bench.clock.now(), bench.entropy()), bench.clock.now());
    bench.store.create_client(&client).await.unwrap();
    bench.top_up(client.id, 5, "key").await;
    let again = bench.store.create_client(&client).await;
    assert!(matches!(again, Err(StoreError::Refused(_))), "{again:?}");
    assert_eq!(bench.balance(client.id).await, (5, 0));
}

pub async fn clients_are_listed_ascending_by_pages(bench: Bench) {
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(bench.client_with(0, |client| client.name = format!("client {n}")).await);
    }
    ids.sort();
    let all: Vec<ClientId> =
        bench.store.clients(None, ALL).await.unwrap().into_iter().map(|client| client.id).collect();
    assert_eq!(all, ids);
    let (mut paged, mut after) = (Vec::new(), None);
    while paged.len() <= ids.len() {
        let page = bench.store.clients(after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        after = Some(last.id);
        paged.extend(page.into_iter().map(|client| client.id));
    }
    assert_eq!(paged, ids);
}

pub async fn a_clients_state_is_set_with_its_reason(bench: Bench) {
    let client = bench.client().await;
    for (state, reason) in [(ClientState::Suspended, AWKWARD), (ClientState::Active, "")] {
        assert!(bench.store.set_client_state(client, state, reason).await.unwrap());
        let (read, _) = bench.other.client(client).await.unwrap().unwrap();
        assert_eq!((read.state, read.suspend_reason.as_str()), (state, reason));
        let wanted = Wanted { clients: [client].into(), ..Wanted::default() };
        let (_tx, loaded) = load(bench.store.as_ref(), &wanted).await;
        assert_eq!(loaded.clients[&client].0, read);
    }
    let nobody = ClientId::new(bench.clock.now(), bench.entropy());
    assert!(!bench.store.set_client_state(nobody, ClientState::Suspended, "").await.unwrap());
    bench.assert_sound(client).await;
}

pub async fn an_api_key_reads_back_and_is_made_once(bench: Bench) {
    let client = bench.client().await;
    assert!(!bench.store.has_operator_key().await.unwrap());
    let key = ApiKey {
        id: "test0001".into(),
        client: Some(client),
        name: AWKWARD.into(),
        scopes: vec![Scope::Send, Scope::Read, Scope::Billing],
        secret_hash: "$2b$04$abcdefghijklmnopqrstuv".into(),
        fingerprint: (0..=255).collect(),
        created_at: bench.clock.now(),
        expire_at: Some(bench.clock.now() + Duration::from_micros(86_400_000_001)),
        revoked_at: None,
    };
    let operator = ApiKey {
        id: "live0002".into(),
        client: None,
        scopes: vec![Scope::Admin],
        fingerprint: vec![0; 32],
        expire_at: None,
        ..key.clone()
    };
    bench.store.create_api_key(&key).await.unwrap();
    assert!(!bench.store.has_operator_key().await.unwrap());
    bench.store.create_api_key(&operator).await.unwrap();
    assert!(bench.other.has_operator_key().await.unwrap());
    assert_eq!(bench.store.api_key(&key.id).await.unwrap().as_ref(), Some(&key));
    assert_eq!(bench.other.api_key(&operator.id).await.unwrap().as_ref(), Some(&operator));
    assert_eq!(bench.store.api_key("TEST0001").await.unwrap(), None);
    let again = bench.store.create_api_key(&ApiKey { name: "other".into(), ..key.clone() }).await;
    assert!(matches!(again, Err(StoreError::Refused(_))), "{again:?}");
    assert_eq!(bench.store.api_key(&key.id).await.unwrap(), Some(key.clone()));
    let nobody = Some(ClientId::new(bench.clock.now(), bench.entropy()));
    let orphan = bench.store.create_api_key(&ApiKey { id: "test0003".into(), client: nobody, ..key }).await;
    assert!(matches!(orphan, Err(StoreError::Refused(_))), "{orphan:?}");
}

pub async fn a_key_is_revoked_once(bench: Bench) {
    let key = ApiKey {
        id: "live0001".into(),
        client: None,
        name: String::new(),
        scopes: vec![Scope::Admin],
        secret_hash: String::new(),
        fingerprint: Vec::new(),
        created_at: bench.clock.now(),
        expire_at: None,
        revoked_at: None,
    };
    bench.store.create_api_key(&key).await.unwrap();
    bench.clock.advance(Duration::from_secs(5));
    let revoked_at = Some(bench.clock.now());
    for _ in 0..2 {
        assert!(bench.store.revoke_api_key(&key.id).await.unwrap());
        assert_eq!(bench.other.api_key(&key.id).await.unwrap().unwrap().revoked_at, revoked_at);
        bench.clock.advance(Duration::from_secs(5));
    }
    assert!(!bench.store.revoke_api_key("live0009").await.unwrap());
}

pub async fn rates_are_inserted_or_replaced(bench: Bench) {
    let rate = |currency: &str, prefix: &str, part_price_micros| RateRow {
        currency: currency.into(),
        prefix: prefix.into(),
        part_price_micros,
    };
    assert_eq!(bench.store.rates().await.unwrap(), []);
    bench
        .store
        .put_rates(&[rate("USD", "", 5), rate("USD", "4477", i64::MAX), rate("EUR", "", 0)])
        .await
        .unwrap();
    bench.store.put_rates(&[rate("USD", "", 6), rate("EUR", "49", 7)]).await.unwrap();
    bench.store.put_rates(&[]).await.unwrap();
    let mut rates = bench.other.rates().await.unwrap();
    rates.sort_by_key(|rate| (rate.currency.clone(), rate.prefix.clone()));
    let expected =
        [rate("EUR", "", 0), rate("EUR", "49", 7), rate("USD", "", 6), rate("USD", "4477", i64::MAX)];
    assert_eq!(rates, expected);
    let refused = bench.store.put_rates(&[rate("USD", "1", -1)]).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
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
    assert!(!bench.store.pending_migrations().await.unwrap().is_empty());
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
    assert_eq!(bench.store.pending_migrations().await.unwrap(), Vec::<String>::new());
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
    assert_eq!(bench.store.pending_migrations().await.unwrap(), Vec::<String>::new());
}
