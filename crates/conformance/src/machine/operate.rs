//! The steps that operators and the reconciler take.

use std::time::Duration;

use delivery::adjust::{self, Adjustment};
use delivery::credit::{CreditError, Receipt};
use delivery::model::{AuditEntry, Client, ClientState, IdempotencyKey, KeyKind};
use delivery::port::{Created, Creation};
use delivery::reconcile;
use delivery::top_up::{self, TopUp};
use ledger::{CaptureOn, Policy, SettleUnreported};
use message::id::{ClientId, MessageId};

use super::run::{Session, answer, kind, picked, plain};
use crate::bench::Bench;
use crate::given;

impl Session {
    pub(super) async fn create_client(
        &mut self,
        bench: &Bench,
        on_sent: bool,
        releases: bool,
        key: u8,
    ) -> String {
        let id = ClientId::new(bench.clock.now(), self.entropy());
        let mut client = given::client(id, bench.clock.now());
        client.policy = Policy {
            capture_on: capture_on(on_sent),
            settle_unreported: if releases { SettleUnreported::Release } else { SettleUnreported::Capture },
        };
        let fingerprint = given::fingerprint(&id.to_string());
        let creation = (key > 0).then(|| Creation { key: format!("key-{key}"), fingerprint });
        let entry = self.entry(bench, "create_client");
        let created = bench.store.create_client(&client, creation.as_ref(), &entry).await;
        if matches!(created, Ok(Created::New)) {
            self.clients.push(id);
        }
        answer(bench, plain(created))
    }

    pub(super) async fn update_client(
        &mut self,
        bench: &Bench,
        client: u8,
        is_suspended: bool,
        on_sent: bool,
        is_late: bool,
    ) -> String {
        let id = *picked(&self.clients, client);
        let read = bench.store.client(id).await.expect("it is read");
        let (read, _) = read.expect("the client is there");
        let changed = Client {
            state: if is_suspended { ClientState::Suspended } else { ClientState::Active },
            suspend_reason: "a step".into(),
            policy: Policy { capture_on: capture_on(on_sent), ..read.policy },
            revision: read.revision - i64::from(is_late),
            ..read
        };
        let entry = self.entry(bench, "update_client");
        answer(bench, plain(bench.store.update_client(&changed, &entry).await))
    }

    pub(super) async fn top_up(&mut self, bench: &Bench, client: u8, amount_micros: i64, key: u8) -> String {
        let client = *picked(&self.clients, client);
        let idempotency_key = self.key(client, KeyKind::TopUp, key);
        let request =
            TopUp { client, amount_micros, currency: String::new(), idempotency_key, note: "a step".into() };
        let entry = self.entry(bench, "top_up");
        let (store, bell) = (bench.store.as_ref(), bench.bell.as_ref());
        let done = top_up::top_up(store, bell, &bench.timing, &request, Some(&entry)).await;
        answer(bench, booked(done))
    }

    pub(super) async fn adjust(&mut self, bench: &Bench, client: u8, delta_micros: i64, key: u8) -> String {
        let client = *picked(&self.clients, client);
        let idempotency_key = self.key(client, KeyKind::Adjust, key);
        let request = Adjustment { client, delta_micros, idempotency_key, note: "a step".into() };
        let entry = self.entry(bench, "adjust");
        let (store, bell) = (bench.store.as_ref(), bench.bell.as_ref());
        let done = adjust::adjust(store, bell, &bench.timing, &request, Some(&entry)).await;
        answer(bench, booked(done))
    }

    pub(super) async fn reconcile(&mut self, bench: &Bench, client: ClientId) -> String {
        let audited = reconcile::audit(bench.store.as_ref(), &bench.timing, client).await;
        let (audit, checkpoint) = audited.expect("the books are read").expect("the client is there");
        assert!(!audit.is_broken, "{audit:?}");
        let written = plain(bench.store.write_checkpoint(client, checkpoint).await);
        answer(bench, format!("{audit:?} {checkpoint:?} {written}"))
    }

    pub(super) async fn remove(
        &mut self,
        bench: &Bench,
        client: ClientId,
        age: Duration,
        limit: i64,
    ) -> String {
        let reconciled = self.reconcile(bench, client).await;
        let before = bench.clock.now() - age;
        let old = bench.store.old_messages(client, before, None, limit).await.expect("they are read");
        let ids: Vec<MessageId> = old.iter().map(|message| message.record.key.id).collect();
        let removed = plain(bench.store.remove_messages(client, &ids).await);
        answer(bench, format!("{reconciled} {ids:?} {removed}"))
    }

    /// Remembers the key.
    fn key(&mut self, client: ClientId, kind: KeyKind, key: u8) -> String {
        let key = format!("key-{key}");
        self.keys.push(IdempotencyKey { client, kind, key: key.clone() });
        key
    }

    fn entry(&mut self, bench: &Bench, action: &str) -> AuditEntry {
        given::entry(action, bench.clock.now(), self.entropy())
    }
}

fn capture_on(sent: bool) -> CaptureOn {
    if sent { CaptureOn::Sent } else { CaptureOn::Delivered }
}

fn booked(done: Result<Receipt, CreditError>) -> String {
    let done = done.map_err(|error| match error {
        CreditError::Store(error) => kind(&error).to_owned(),
        other => format!("{other:?}"),
    });
    format!("{done:?}")
}
