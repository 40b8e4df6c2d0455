#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use delivery::model::{ApiKey, AuditEntry, Client, ClientState};
use delivery::port::AdminStore;
use ledger::Policy;
use message::Timestamp;
use message::id::{ClientId, Entropy};
use message::status::OnUnknown;
use store_sqlite::{Clock, SqliteStore};
use tempfile::TempDir;

use super::super::key::{IssuedKey, Secret};
use super::*;
use crate::grpc::trail::{Author, Deed};

const PEPPER: [u8; 32] = [7; 32];
/// What a source may ask for at once; more comes only after an hour.
const BURST: usize = 20;

fn entry(at: Timestamp) -> AuditEntry {
    Author::server().entry(at, Deed::new("Test", None))
}

struct Fixture {
    _folder: TempDir,
    store: Arc<SqliteStore>,
    authenticator: Authenticator,
    client: ClientId,
}

impl Fixture {
    async fn new() -> Self {
        Self::remembering(REMEMBERED_MAX).await
    }

    async fn remembering(max: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("herald.db");
        let store = Arc::new(SqliteStore::open(&path, Clock::Database).await.unwrap());
        store.migrate().await.unwrap();
        let now = store.now().await.unwrap();
        let client = client(ClientId::new(now, Entropy([1; 10])), now);
        store.create_client(&client, None, &entry(now)).await.unwrap();
        let strangers = Arc::new(Strangers::each(Duration::from_secs(3_600), 20));
        let mut authenticator = Authenticator::new(store.clone(), PEPPER, 4, strangers);
        authenticator.rows = Rows::new(store.clone(), max);
        Self { _folder: folder, store, authenticator, client: client.id }
    }

    async fn revoke(&self, id: &str) {
        let now = self.store.now().await.unwrap();
        self.store.revoke_api_key(id, &entry(now)).await.unwrap().unwrap();
    }

    async fn issue(&self, expire_at: Option<Timestamp>) -> (String, Secret) {
        self.issue_for(expire_at, &[]).await
    }

    async fn issue_for(&self, expire_at: Option<Timestamp>, ranges: &[&str]) -> (String, Secret) {
        let issued = IssuedKey::generate(true, &mut rand::rng());
        let row = ApiKey {
            id: issued.id.clone(),
            client: Some(self.client),
            name: "test".into(),
            scopes: vec![Scope::Read],
            secret_hash: issued.hash(4).unwrap(),
            fingerprint: issued.fingerprint(&PEPPER).to_vec(),
            created_at: self.store.now().await.unwrap(),
            expire_at,
            revoked_at: None,
            last_used_at: None,
            allowed_ranges: ranges.iter().map(|range| (*range).to_owned()).collect(),
        };
        self.store.create_api_key(&row, &entry(row.created_at)).await.unwrap();
        (issued.id, issued.whole)
    }

    async fn authenticate(&self, key: &str) -> Result<Principal, AuthError> {
        self.authenticator.authenticate(key, Some(source(1))).await
    }

    /// From now on bcrypt does not run.
    fn forbid_hashes(&self) {
        self.authenticator.hashes.close();
    }

    /// The source makes so many calls with keys that nobody has.
    async fn flood(&self, source: Source, calls: usize) {
        for _ in 0..calls {
            let answer = self.authenticator.authenticate(made_up().expose(), Some(source)).await;
            assert!(matches!(answer, Err(AuthError::Invalid | AuthError::RateLimited { .. })), "{answer:?}");
        }
    }
}

fn client(id: ClientId, now: Timestamp) -> Client {
    Client {
        id,
        name: "test".into(),
        state: ClientState::Active,
        suspend_reason: String::new(),
        currency: "USD".into(),
        is_sandbox: true,
        policy: Policy::default(),
        report_timeout: Duration::from_secs(1),
        on_unknown: OnUnknown::Wait,
        resend_after: Duration::from_secs(1),
        parts_per_second: 0,
        burst_parts: 0,
        default_sender: String::new(),
        max_parts: 10,
        low_balance_micros: 0,
        created_at: now,
        revision: 1,
    }
}

fn source(number: u8) -> Source {
    Source::new(IpAddr::from([192, 0, 2, number]))
}

/// A well-formed key that nobody has.
fn made_up() -> Secret {
    IssuedKey::generate(true, &mut rand::rng()).whole
}

/// A well-formed key with the id of `key` and another secret.
fn with_wrong_secret(key: &Secret) -> String {
    let other = made_up();
    key::sealed(&format!("{}{}", &key.expose()[..24], &other.expose()[24..52]))
}

#[tokio::test]
async fn a_key_opens_its_own_client_and_a_changed_one_nothing() {
    let fixture = Fixture::new().await;
    let (id, key) = fixture.issue(None).await;
    let wrong = with_wrong_secret(&key);
    // Before and after the right one was seen.
    for _ in 0..2 {
        for wrong in ["", "hk_x", made_up().expose(), &wrong] {
            assert!(matches!(fixture.authenticate(wrong).await, Err(AuthError::Invalid)), "{wrong}");
        }
        let principal = fixture.authenticate(key.expose()).await.unwrap();
        assert_eq!((principal.key_id, principal.owner), (id.clone(), Some(fixture.client)));
    }
}

#[tokio::test]
async fn an_expired_key_is_refused() {
    let fixture = Fixture::new().await;
    let now = fixture.store.now().await.unwrap();
    let (_, past) = fixture.issue(Some(now - Duration::from_secs(1))).await;
    assert!(matches!(fixture.authenticate(past.expose()).await, Err(AuthError::Invalid)));
    // Also once it has been good, and before its row is read again.
    let (_, soon) = fixture.issue(Some(now + Duration::from_secs(3_600))).await;
    fixture.authenticate(soon.expose()).await.unwrap();
    let (id, short) = fixture.issue(Some(now + Duration::from_secs(4))).await;
    fixture.authenticate(short.expose()).await.unwrap();
    fixture.authenticator.rows.age_by(Duration::from_secs(4));
    assert!(fixture.authenticator.rows.remembered(&id).unwrap().is_younger_than(ROW_LIFETIME));
    assert!(matches!(fixture.authenticate(short.expose()).await, Err(AuthError::Invalid)));
}

#[tokio::test]
async fn a_revoked_key_is_refused_once_the_remembered_row_is_old() {
    let fixture = Fixture::new().await;
    let (id, key) = fixture.issue(None).await;
    let principal = fixture.authenticate(key.expose()).await.unwrap();
    fixture.revoke(&id).await;
    assert!(fixture.authenticator.is_still_valid(&principal).await.unwrap(), "a look-up for each stream");
    fixture.authenticator.rows.age_by(STREAM_ROW_LIFETIME);
    // For calls it is believed longer than for streams, whichever asks first.
    assert!(fixture.authenticate(key.expose()).await.is_ok());
    assert!(!fixture.authenticator.is_still_valid(&principal).await.unwrap());
    assert!(matches!(fixture.authenticate(key.expose()).await, Err(AuthError::Invalid)));
}

#[tokio::test]
async fn a_key_that_is_revoked_here_is_refused_at_once() {
    let fixture = Fixture::new().await;
    let (id, key) = fixture.issue(None).await;
    let principal = fixture.authenticate(key.expose()).await.unwrap();
    fixture.revoke(&id).await;
    fixture.authenticator.forget(&id).await;
    assert!(!fixture.authenticator.is_still_valid(&principal).await.unwrap());
    assert!(matches!(fixture.authenticate(key.expose()).await, Err(AuthError::Invalid)));
}

#[tokio::test]
async fn bcrypt_runs_once_for_a_key_even_when_its_row_is_read_again() {
    let fixture = Fixture::new().await;
    let (id, key) = fixture.issue(None).await;
    fixture.authenticate(key.expose()).await.unwrap();
    fixture.forbid_hashes();
    fixture.authenticator.rows.age_by(ROW_LIFETIME);
    fixture.authenticate(key.expose()).await.unwrap();
    let known = fixture.authenticator.rows.remembered(&id).unwrap();
    assert!(known.is_proven && known.is_younger_than(ROW_LIFETIME));
}

#[tokio::test]
async fn bcrypt_does_not_run_for_a_key_with_a_wrong_fingerprint() {
    let fixture = Fixture::new().await;
    let (_, key) = fixture.issue(None).await;
    // It would be refused as Overloaded.
    fixture.forbid_hashes();
    let wrong = with_wrong_secret(&key);
    assert!(matches!(fixture.authenticate(&wrong).await, Err(AuthError::Invalid)));
    assert!(matches!(fixture.authenticate(key.expose()).await, Err(AuthError::Overloaded)));
}

#[tokio::test]
async fn many_first_calls_with_one_key_wait_for_one_look_up_and_one_bcrypt() {
    let fixture = Fixture::new().await;
    let (_, key) = fixture.issue(None).await;
    let calls = (0..1_000).map(|_| fixture.authenticate(key.expose()));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(fixture.authenticator.rows.len(), (1, 0), "turns are left behind");
}

#[tokio::test]
async fn a_source_over_its_allowance_is_told_so_and_others_are_not() {
    let fixture = Fixture::new().await;
    fixture.flood(source(1), BURST).await;
    for wrong in ["", "hk_x", made_up().expose()] {
        let answer = fixture.authenticate(wrong).await;
        assert!(matches!(answer, Err(AuthError::RateLimited { .. })), "{answer:?}");
    }
    // One of them may, by chance, share the place.
    let mut answers = Vec::new();
    for other in 2..5 {
        answers.push(fixture.authenticator.authenticate("", Some(source(other))).await);
    }
    assert!(answers.iter().any(|answer| matches!(answer, Err(AuthError::Invalid))), "{answers:?}");
}

#[tokio::test]
async fn a_good_key_is_let_in_from_an_address_that_floods() {
    let fixture = Fixture::new().await;
    let (_, known) = fixture.issue(None).await;
    fixture.authenticate(known.expose()).await.unwrap();
    fixture.flood(source(1), 3 * BURST).await;
    assert!(fixture.authenticate(known.expose()).await.is_ok());
    // When its row is read again, too, whatever waits in the lanes.
    let mut waiting = Vec::new();
    while let Some(place) = futures_util::FutureExt::now_or_never(fixture.authenticator.crowded.enter()) {
        waiting.push(place.unwrap());
    }
    fixture.authenticator.rows.age_by(ROW_LIFETIME);
    assert!(fixture.authenticate(known.expose()).await.is_ok());
    // One that was not seen here before comes in when it is its turn.
    let (_, new) = fixture.issue(None).await;
    let mut call = Box::pin(fixture.authenticate(new.expose()));
    assert!(futures_util::poll!(call.as_mut()).is_pending());
    drop(waiting);
    assert!(call.await.is_ok());
}

#[tokio::test]
async fn a_new_key_comes_in_while_its_address_floods() {
    let fixture = Fixture::new().await;
    fixture.flood(source(1), BURST).await;
    let (_, key) = fixture.issue(None).await;
    let flood = async {
        for _ in 0..20 {
            let calls = (0..32).map(|_| fixture.flood(source(1), 1));
            futures_util::future::join_all(calls).await;
        }
    };
    let honest = fixture.authenticate(key.expose());
    let (principal, ()) = tokio::join!(honest, flood);
    assert!(principal.is_ok(), "{principal:?}");
}

#[tokio::test]
async fn made_up_ids_are_not_remembered_and_push_nobody_out() {
    let fixture = Fixture::remembering(10).await;
    let (id, key) = fixture.issue(None).await;
    fixture.authenticate(key.expose()).await.unwrap();
    // In many hands, so that none of them is too crowded to be looked up.
    for number in 0..10_000_u32 {
        let source = Source::new(IpAddr::V4(number.into()));
        fixture.flood(source, 1).await;
    }
    assert_eq!(fixture.authenticator.rows.len(), (1, 0));
    assert!(fixture.authenticator.rows.remembered(&id).unwrap().is_proven);
    fixture.forbid_hashes();
    assert!(fixture.authenticate(key.expose()).await.is_ok());
}

#[tokio::test]
async fn keys_that_exist_but_were_not_proven_go_first_when_room_is_needed() {
    let fixture = Fixture::remembering(10).await;
    let mut proven = Vec::new();
    for _ in 0..4 {
        let (_, key) = fixture.issue(None).await;
        fixture.authenticator.authenticate(key.expose(), None).await.unwrap();
        proven.push(key);
    }
    for _ in 0..50 {
        let (_, key) = fixture.issue(None).await;
        let wrong = with_wrong_secret(&key);
        assert!(fixture.authenticator.authenticate(&wrong, None).await.is_err());
        assert!(fixture.authenticator.rows.len().0 <= 10);
    }
    fixture.forbid_hashes();
    for key in proven {
        assert!(fixture.authenticator.authenticate(key.expose(), None).await.is_ok());
    }
}

#[tokio::test]
async fn a_key_that_is_bound_to_addresses_is_as_good_as_wrong_from_elsewhere() {
    let fixture = Fixture::new().await;
    let (_, key) = fixture.issue_for(None, &["192.0.2.0/24", "2001:db8::/32"]).await;
    let from = |address: &str| Some(Source::new(address.parse::<IpAddr>().unwrap()));
    // Before bcrypt has agreed, and after.
    for _ in 0..2 {
        let elsewhere = fixture.authenticator.authenticate(key.expose(), from("198.51.100.1")).await;
        assert!(matches!(elsewhere, Err(AuthError::Invalid)), "{elsewhere:?}");
        for address in ["192.0.2.7", "2001:db8::1"] {
            assert!(
                fixture.authenticator.authenticate(key.expose(), from(address)).await.is_ok(),
                "{address}"
            );
        }
    }
    let (_, damaged) = fixture.issue_for(None, &["not a range"]).await;
    let refused = fixture.authenticator.authenticate(damaged.expose(), from("192.0.2.7")).await;
    assert!(matches!(refused, Err(AuthError::Invalid)), "{refused:?}");
}
