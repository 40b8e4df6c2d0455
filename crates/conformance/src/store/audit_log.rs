//! The audit log: an entry stands if and only if the change that it tells of does.

use std::time::Duration;

use delivery::model::{ApiKey, AuditEntry, Client, ProviderKey, Retention};
use delivery::plan::Plan;
use delivery::port::{AuditFilter, RateRow, Store, StoreError};
use delivery::top_up::{self, TopUp};
use message::id::{AuditEntryId, ClientId};

use crate::bench::Bench;
use crate::given::{self, AWKWARD};
use crate::list::{Row, assert_pages};
use crate::verbs::{ALL, load, write};

pub async fn every_field_of_an_entry_reads_back(bench: Bench) {
    let client = ClientId::new(bench.clock.now(), bench.entropy());
    let full = AuditEntry {
        at: bench.clock.now() + Duration::from_micros(1),
        key_id: AWKWARD.into(),
        client: Some(client),
        action: AWKWARD.into(),
        target: AWKWARD.into(),
        before: "{\"b\": 1,  \"a\":[null, 1.50], \"b\":2}".into(),
        after: "{\"\\u0041\":\"\u{e9}\"}".into(),
        note: AWKWARD.into(),
        request_id: AWKWARD.into(),
        ..bench.entry("")
    };
    let empty = AuditEntry { key_id: String::new(), ..bench.entry("") };
    for entry in [&full, &empty] {
        bench.store.record(entry).await.unwrap();
    }
    assert_eq!(bench.audit_log().await, [empty.clone(), full.clone()], "to the character, newest first");
    let old = bench.other.old_audit_entries(bench.clock.now() + Duration::from_secs(1), ALL).await.unwrap();
    assert_eq!(old, [full, empty]);
}

pub async fn an_entry_is_written_once(bench: Bench) {
    let entry = bench.entry("act");
    bench.store.record(&entry).await.unwrap();
    let again = AuditEntry { action: "other".into(), ..entry.clone() };
    let refused = bench.store.record(&again).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(bench.audit_log().await, [entry]);
}

pub async fn a_change_and_its_entry_stand_together(bench: Bench) {
    for change in changes(&bench).await {
        let before = bench.audit_log().await;
        let entry = bench.entry("change");
        change.make(bench.other.as_ref(), &entry).await.unwrap();
        let log = bench.audit_log().await;
        assert_eq!((log.len(), &log[0]), (before.len() + 1, &entry), "{change:?}");
        assert_eq!(log[1..], before, "{change:?}");
    }
}

pub async fn a_change_whose_entry_is_refused_does_not_stand(bench: Bench) {
    let taken = bench.entry("taken");
    bench.store.record(&taken).await.unwrap();
    for change in changes(&bench).await {
        let (before, log) = (everything(&bench).await, bench.audit_log().await);
        let refused = change.make(bench.store.as_ref(), &taken).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{change:?}: {refused:?}");
        assert_eq!(everything(&bench).await, before, "{change:?}");
        assert_eq!(bench.audit_log().await, log, "{change:?}");
        // And the change is not to blame.
        change.make(bench.store.as_ref(), &bench.entry("change")).await.unwrap();
        assert_ne!(everything(&bench).await, before, "{change:?}");
    }
}

pub async fn a_plan_and_its_entries_stand_together(bench: Bench) {
    let client = bench.client().await;
    let before = bench.audit_log().await;
    let entries = vec![bench.entry("one"), bench.entry("two")];
    let plan = Plan { audit_entries: entries.clone(), ..Plan::default() };
    assert!(!plan.is_empty());
    let wanted = delivery::plan::Wanted { clients: [client].into(), ..Default::default() };
    let (mut tx, _) = load(bench.store.as_ref(), &wanted).await;
    tx.write(&plan).await.unwrap();
    assert_eq!(bench.audit_log().await, before);
    drop(tx);
    assert_eq!(bench.audit_log().await, before, "nothing of a transaction that is dropped");
    let event = bench.events(client).await.remove(0);
    let wrong = Plan { events: vec![event], ..plan.clone() };
    let refused = write(bench.store.as_ref(), &[client], &wrong).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(bench.audit_log().await, before);
    write(bench.store.as_ref(), &[client], &plan).await.unwrap();
    let log = bench.audit_log().await;
    assert_eq!(log[..2], [entries[1].clone(), entries[0].clone()]);
    assert_eq!(log[2..], before);
}

pub async fn a_top_up_and_its_entry_stand_together(bench: Bench) {
    let client = bench.client_with(0, |_| {}).await;
    let before = bench.audit_log().await.len();
    let request = TopUp {
        client,
        amount_micros: 7,
        currency: String::new(),
        idempotency_key: "key".into(),
        note: String::new(),
    };
    let make = async |request: &TopUp, entry: &AuditEntry| {
        top_up::top_up(bench.store.as_ref(), bench.bell.as_ref(), &bench.timing, request, Some(entry)).await
    };
    let first = bench.entry("top_up");
    assert!(!make(&request, &first).await.unwrap().is_replay);
    assert!(make(&request, &bench.entry("again")).await.unwrap().is_replay);
    let other = TopUp { amount_micros: 8, ..request.clone() };
    assert!(make(&other, &bench.entry("reused")).await.is_err());
    let other = TopUp { currency: "XXX".into(), idempotency_key: "other".into(), ..request };
    assert!(make(&other, &bench.entry("refused")).await.is_err());
    let log = bench.audit_log().await;
    assert_eq!((log.len(), &log[0]), (before + 1, &first));
    assert_eq!(bench.balance(client).await, (7, 0));
}

pub async fn entries_are_listed_newest_first_and_filtered(bench: Bench) {
    let clients = [bench.clock.now(); 2].map(|now| ClientId::new(now, bench.entropy()));
    let mut entries = Vec::new();
    for n in 0..20usize {
        bench.clock.advance(Duration::from_micros([0, 1, 1_000][n % 3]));
        let entry = AuditEntry {
            key_id: ["", "one", "ONE", "two"][n % 4].into(),
            client: [None, Some(clients[0]), Some(clients[1])][n % 3],
            ..bench.entry(["create", "update", "create_key"][n % 5 % 3])
        };
        bench.store.record(&entry).await.unwrap();
        entries.push(entry);
    }
    entries.reverse();
    let all = AuditFilter::default;
    let filters = [
        all(),
        AuditFilter { key_id: "one".into(), ..all() },
        AuditFilter { key_id: "nobody".into(), ..all() },
        AuditFilter { client: Some(clients[0]), ..all() },
        AuditFilter { action: "create".into(), ..all() },
        AuditFilter { key_id: "two".into(), client: Some(clients[1]), action: "create_key".into() },
        AuditFilter { key_id: "one".into(), client: None, action: "update".into() },
    ];
    for filter in filters {
        let is_shown = |entry: &&AuditEntry| {
            (filter.key_id.is_empty() || entry.key_id == filter.key_id)
                && (filter.client.is_none() || entry.client == filter.client)
                && (filter.action.is_empty() || entry.action == filter.action)
        };
        let rows: Vec<Row<AuditEntry, AuditEntryId>> = entries
            .iter()
            .map(|entry| Row {
                place: entry.id,
                shown: Some(entry).filter(is_shown).cloned(),
                is_in_range: true,
            })
            .collect();
        assert_pages(&rows, async |before, limit, scan| {
            bench.other.audit_entries(&filter, before, limit, scan).await.unwrap()
        })
        .await;
    }
}

/// A change that an operator makes through a verb of the store.
#[derive(Debug)]
enum Change {
    CreateClient(Client),
    UpdateClient(Client),
    CreateKey(ApiKey),
    RotateKey(ApiKey),
    RevokeKey,
    CreateProviderKey(ProviderKey),
    RevokeProviderKey,
    PutRates(Vec<RateRow>),
    DeleteRates(Vec<RateRow>),
    SetRetention(Retention),
}

impl Change {
    async fn make(&self, store: &dyn Store, entry: &AuditEntry) -> Result<(), StoreError> {
        match self {
            Self::CreateClient(client) => store.create_client(client, None, entry).await.map(drop),
            Self::UpdateClient(client) => store.update_client(client, entry).await.map(drop),
            Self::CreateKey(key) => store.create_api_key(key, entry).await,
            Self::RotateKey(new) => store.rotate_api_key("old", new.created_at, new, entry).await.map(drop),
            Self::RevokeKey => store.revoke_api_key("old", entry).await.map(drop),
            Self::CreateProviderKey(key) => store.create_provider_key(key, entry).await,
            Self::RevokeProviderKey => store.revoke_provider_key("old", entry).await.map(drop),
            Self::PutRates(rates) => store.put_rates(rates, entry).await,
            Self::DeleteRates(rates) => store.delete_rates(rates, entry).await.map(drop),
            Self::SetRetention(retention) => store.set_retention(retention, entry).await,
        }
    }
}

/// One of each, in an order in which each changes something.
async fn changes(bench: &Bench) -> Vec<Change> {
    let now = bench.clock.now();
    let client = given::client(ClientId::new(now, bench.entropy()), now);
    let changed = Client { name: "changed".into(), ..client.clone() };
    let old = given::api_key("old", None, now);
    let new = given::api_key("new", None, now);
    let rates = vec![RateRow { currency: "USD".into(), prefix: "1".into(), part_price_micros: 1 }];
    let retention = Retention { events: Some(Duration::from_secs(1)), ..Retention::default() };
    vec![
        Change::CreateClient(client),
        Change::UpdateClient(changed),
        Change::CreateKey(old),
        Change::RotateKey(new),
        Change::RevokeKey,
        Change::CreateProviderKey(given::provider_key("old", "one", now)),
        Change::RevokeProviderKey,
        Change::PutRates(rates.clone()),
        Change::DeleteRates(rates),
        Change::SetRetention(retention),
    ]
}

/// All that those changes may change.
async fn everything(bench: &Bench) -> (Vec<Client>, Vec<ApiKey>, Vec<ProviderKey>, Vec<RateRow>, Retention) {
    (
        bench.clients().await,
        bench.other.api_keys(None, "", ALL).await.unwrap(),
        bench.other.provider_keys(ALL).await.unwrap(),
        bench.other.rates().await.unwrap(),
        bench.other.retention().await.unwrap(),
    )
}
