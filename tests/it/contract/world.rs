//! A server with clients in each situation that an error speaks of.

use std::collections::BTreeMap;
use std::str::FromStr;

use delivery::port::Checkpoint;
use delivery::timing::Timing;
use herald_sdk::tonic::Streaming;
use herald_sdk::v1;
use message::id::ClientId;
use prost::bytes::Bytes;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor};

use super::rows::{Request, Row, Who};
use crate::support::raw::{self, Caller};
use crate::support::{Account, Herald, Mode, NewAccount, PART_PRICE, Setup, nothing_held, sms, until};

/// An id that nothing has.
pub(super) const ABSENT: &str = "0198e7a2-5c1e-7b90-9a41-0c6f2d3b8e55";
/// Streams that a key may have open.
const STREAMS: usize = 2;
/// The text of a message that needs two parts.
const TWO_PARTS: usize = 161;

pub(super) struct World {
    pub(super) herald: Herald,
    pub(super) own: Account,
    poor: Account,
    suspended: Account,
    streaming: Account,
    provider_key: String,
    /// An idempotency key that made a message, a client and an adjustment.
    pub(super) used_key: String,
    pub(super) delivered: String,
    /// A message whose row is damaged, and its client.
    pub(super) damaged: String,
    pub(super) damaged_of: String,
    /// A position whose next event is gone.
    pub(super) aged_token: String,
    /// Dead letters by what has happened since.
    letters: BTreeMap<&'static str, Vec<String>>,
    _streams: Vec<Streaming<v1::SubscribeEventsResponse>>,
}

impl World {
    pub(super) async fn new(mode: Mode) -> Self {
        let setup = Setup::default().set("HERALD_LIMITS__STREAMS_PER_KEY", STREAMS);
        let mut herald = Herald::start(mode, setup).await;
        let own = herald.account(NewAccount::default()).await;
        let poor = herald.account(NewAccount::with_credit(PART_PRICE)).await;
        let suspended = herald.account(NewAccount::default()).await;
        let streaming = herald.account(NewAccount::default()).await;
        let letters = letters(&herald, &own, &poor, &suspended).await;
        let used_key = "used".to_owned();
        let delivered = use_key(&herald, &own, &used_key).await;
        let spoilt = herald.unsettled_account(NewAccount::default()).await;
        let request = v1::SendMessageRequest { reference: "damaged".into(), ..sms("+12025550100", "Hello") };
        let damaged = spoilt.client.send(request).await.expect("the send is accepted").message.id;
        nothing_held(&spoilt.client).await;
        let first = v1::ListEventsRequest { page_size: 1, ..Default::default() };
        let aged_token = own.client.list_events(first).await.expect("the events").resume_token;
        nothing_held(&own.client).await;
        let provider_key = provider_key(&herald).await;

        herald.stop().await;
        forget_first_events(&herald, &own).await;
        change_rows(&herald).await;
        herald.start_server().await;
        let mut world = Self {
            herald,
            own,
            poor,
            suspended,
            streaming,
            provider_key,
            used_key,
            delivered,
            damaged,
            damaged_of: spoilt.id,
            aged_token,
            letters,
            _streams: Vec::new(),
        };
        world._streams = world.open_streams().await;
        world
    }

    /// As many as the key may have.
    async fn open_streams(&self) -> Vec<Streaming<v1::SubscribeEventsResponse>> {
        let mut events = self.herald.client(&self.streaming.key).raw().events();
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            let opened = events.subscribe_events(v1::SubscribeEventsRequest::default()).await;
            streams.push(opened.expect("a key may have streams").into_inner());
        }
        streams
    }

    pub(super) fn caller(&self, who: Who) -> Caller {
        let caller = Caller::new(&self.herald);
        match who {
            Who::Own => caller.with_key(&self.own.key),
            Who::Poor => caller.with_key(&self.poor.key),
            Who::Suspended => caller.with_key(&self.suspended.key),
            Who::Streaming => caller.with_key(&self.streaming.key),
            Who::Operator => caller.with_key(self.herald.operator_key()),
            Who::Provider => caller.with("x-provider-key", &self.provider_key),
            Who::Keyless => caller,
            Who::Stranger => caller.with("x-provider-key", self.herald.operator_key()),
        }
    }

    /// The request of a row, encoded.
    pub(super) fn request(&self, row: &Row) -> Bytes {
        match &row.request {
            Request::Json(make) => raw::request(&raw::method(row.method), make(self)),
            Request::Huge => huge(),
        }
    }

    /// A request to send these letters again.
    pub(super) fn replay(&self, letters: &str) -> Value {
        json!({"message_ids": self.letters[letters]})
    }
}

/// A request that is larger than any method takes.
pub(super) fn huge() -> Bytes {
    vec![0; 5 << 20].into()
}

/// A new key of the provider.
pub(crate) async fn provider_key(herald: &Herald) -> String {
    let request = v1::CreateProviderKeyRequest { provider: "simulator".into(), name: "dlr".into() };
    let made = herald.operator().raw().admin().create_provider_key(request).await;
    made.expect("the key is made").into_inner().secret
}

/// A message, a client and an adjustment under one key. Answers the message, delivered.
async fn use_key(herald: &Herald, own: &Account, key: &str) -> String {
    let send = v1::SendMessageRequest { idempotency_key: key.into(), ..sms("+12025550100", "Hello") };
    let sent = own.client.send(send).await.expect("the send is accepted").message.id;
    let client = v1::Client { name: "first".into(), ..Default::default() };
    let request = v1::CreateClientRequest { client: Some(client), idempotency_key: key.into() };
    herald.operator().create_client(request).await.expect("the client is made");
    let request = v1::AdjustBalanceRequest {
        client_id: own.id.clone(),
        delta_micros: 1,
        idempotency_key: key.into(),
        note: "first".into(),
    };
    herald.operator().raw().billing().adjust_balance(request).await.expect("it is booked");
    until("the message's delivery", async || {
        let message = own.client.get_message(&sent).await.expect("the message");
        (message.status() == v1::message::Status::Delivered).then_some(())
    })
    .await;
    sent
}

/// Messages that ended as dead letters; afterwards something has happened to each of their clients.
async fn letters(
    herald: &Herald,
    own: &Account,
    poor: &Account,
    suspended: &Account,
) -> BTreeMap<&'static str, Vec<String>> {
    let mut admin = herald.operator().raw().admin();
    let euro = v1::Rate { currency: "EUR".into(), prefix: String::new(), part_price_micros: 1 };
    admin.set_rates(v1::SetRatesRequest { rates: vec![euro.clone()] }).await.expect("the rate is set");
    let mut of_euros = NewAccount::default();
    of_euros.client.currency = "EUR".into();
    let of_euros = herald.account(of_euros).await;
    let limited = herald.account(NewAccount::default()).await;
    let mut letters = BTreeMap::new();
    for (account, name, count, length) in [
        (own, "risky", 1, 1),
        (own, "without a route", 1, 1),
        (own, "opted out", 1, 1),
        (&of_euros, "without a rate", 1, 1),
        (poor, "poor", 1, 1),
        (suspended, "suspended", 1, 1),
        (&limited, "long", 1, TWO_PARTS),
        (&limited, "burst", 3, 1),
    ] {
        for _ in 0..count {
            let letter = dead_letter(account, name, length).await;
            letters.entry(name).or_insert_with(Vec::new).push(letter);
        }
    }
    admin.delete_rates(v1::DeleteRatesRequest { rates: vec![euro] }).await.expect("the rate is removed");
    let spend = v1::AdjustBalanceRequest {
        client_id: poor.id.clone(),
        delta_micros: -PART_PRICE,
        idempotency_key: "spend".into(),
        note: "all of it".into(),
    };
    herald.operator().raw().billing().adjust_balance(spend).await.expect("it is booked");
    let suspend = v1::SuspendClientRequest { client_id: suspended.id.clone(), note: "unpaid".into() };
    admin.suspend_client(suspend).await.expect("it is suspended");
    let slow = v1::Client {
        id: limited.id,
        parts_per_second: 1,
        burst_parts: 1,
        max_parts: 1,
        ..Default::default()
    };
    let paths = ["parts_per_second", "burst_parts", "max_parts"].map(str::to_owned).to_vec();
    let mask = prost_types::FieldMask { paths };
    let request = v1::UpdateClientRequest { client: Some(slow), update_mask: Some(mask) };
    admin.update_client(request).await.expect("the client is changed");
    letters
}

async fn dead_letter(account: &Account, name: &str, length: usize) -> String {
    let request =
        v1::SendMessageRequest { reference: name.into(), ..sms("+12025550120", &"a".repeat(length)) };
    let sent = account.client.send(request).await.expect("the send is accepted").message.id;
    until("the message's failure", async || {
        let message = account.client.get_message(&sent).await.expect("the message");
        (message.status() == v1::message::Status::FailedPerm).then_some(())
    })
    .await;
    sent
}

/// Removes the account's first events, as retention does.
async fn forget_first_events(herald: &Herald, account: &Account) {
    let client = ClientId::from_str(&account.id).expect("the server gives ids");
    let store = herald.database().open().await;
    let audit = delivery::reconcile::audit(store.as_ref(), &Timing::default(), client).await;
    let (_, checkpoint): (_, Checkpoint) = audit.expect("the store is open").expect("the client exists");
    store.write_checkpoint(client, checkpoint).await.expect("it is written");
    store.trim_events(client, 3).await.expect("they are removed");
}

/// What the API never does to its rows, and time may: the changes are those of statements that both stores understand.
async fn change_rows(herald: &Herald) {
    let statements = [
        "UPDATE dead_letters SET has_unknown_attempt = (1 = 1) WHERE message_id IN (SELECT id FROM messages WHERE reference = 'risky')",
        "UPDATE messages SET recipient = '+12025550150' WHERE reference = 'without a route'",
        "UPDATE messages SET recipient = '+12025550154' WHERE reference = 'opted out'",
        "UPDATE messages SET recipient = 'nobody' WHERE reference = 'damaged'",
    ];
    let url = herald.database().url();
    if url.starts_with("sqlite:") {
        let mut database =
            SqliteConnectOptions::from_str(url).expect("a URL").connect().await.expect("it opens");
        for statement in statements {
            let changed = database.execute(statement).await.expect("a statement");
            assert_eq!(changed.rows_affected(), 1, "{statement}");
        }
        database.close().await.expect("it closes");
    } else {
        let mut database = PgConnectOptions::from_str(url).expect("a URL").connect().await.expect("it opens");
        for statement in statements {
            let changed = database.execute(statement).await.expect("a statement");
            assert_eq!(changed.rows_affected(), 1, "{statement}");
        }
        database.close().await.expect("it closes");
    }
}
