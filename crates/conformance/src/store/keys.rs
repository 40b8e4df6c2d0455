//! Keys: clients', operators' and providers'. None is ever given a longer life.

use std::time::Duration;

use delivery::model::{ApiKey, ProviderKey, Scope};
use delivery::port::StoreError;
use message::Timestamp;
use message::id::ClientId;

use crate::bench::Bench;
use crate::given::{self, AWKWARD};
use crate::verbs::ALL;

pub async fn an_api_key_reads_back_and_is_made_once(bench: Bench) {
    let client = bench.client().await;
    let entries = bench.audit_log().await.len();
    assert!(!bench.store.has_operator_key().await.unwrap());
    let now = bench.clock.now();
    let key = ApiKey {
        id: "test0001".into(),
        client: Some(client),
        name: AWKWARD.into(),
        scopes: vec![Scope::Send, Scope::Read, Scope::Billing],
        secret_hash: "$2b$04$abcdefghijklmnopqrstuv".into(),
        fingerprint: (0..=255).collect(),
        created_at: now,
        expire_at: Some(now + Duration::from_micros(86_400_000_001)),
        revoked_at: Some(now + Duration::from_micros(1)),
        last_used_at: Some(now + Duration::from_micros(2)),
        allowed_ranges: vec!["192.0.2.0/24".into(), "2001:db8::/32".into(), "198.51.100.7/32".into()],
    };
    let operator = given::api_key("live0002", None, now);
    let ranged =
        ApiKey { allowed_ranges: vec!["::/0".into()], ..given::api_key("live0003", Some(client), now) };
    bench.store.create_api_key(&key, &bench.entry("create_key")).await.unwrap();
    assert!(!bench.store.has_operator_key().await.unwrap());
    bench.store.create_api_key(&operator, &bench.entry("create_key")).await.unwrap();
    bench.store.create_api_key(&ranged, &bench.entry("create_key")).await.unwrap();
    assert!(bench.other.has_operator_key().await.unwrap());
    for key in [&key, &operator, &ranged] {
        assert_eq!(bench.other.api_key(&key.id).await.unwrap().as_ref(), Some(key));
    }
    assert_eq!(bench.store.api_key("TEST0001").await.unwrap(), None);
    let nobody = Some(ClientId::new(now, bench.entropy()));
    for wrong in [
        ApiKey { name: "other".into(), ..key.clone() },
        ApiKey { id: "test0003".into(), client: nobody, ..key.clone() },
    ] {
        let refused = bench.store.create_api_key(&wrong, &bench.entry("wrong")).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    }
    assert_eq!(bench.store.api_key("test0003").await.unwrap(), None);
    assert_eq!(bench.store.api_key(&key.id).await.unwrap(), Some(key));
    assert_eq!(bench.audit_log().await.len(), entries + 3);
}

pub async fn api_keys_are_listed_by_client_or_all(bench: Bench) {
    let clients = [bench.client().await, bench.client().await];
    assert_eq!(bench.store.api_keys(None, "", ALL).await.unwrap(), []);
    // In the order of their bytes, whatever a language says.
    let ids = ["Live_b", "live_A", "live_a", "live_b", "live_c", "test_a", "\u{e9}"];
    let mut keys = Vec::new();
    for n in [3, 0, 6, 1, 5, 2, 4] {
        let owner = [None, Some(clients[0]), Some(clients[1])][n % 3];
        keys.push(given::api_key(ids[n], owner, bench.clock.now()));
        bench.store.create_api_key(&keys[keys.len() - 1], &bench.entry("create_key")).await.unwrap();
    }
    keys.sort_by(|one, next| one.id.cmp(&next.id));
    let nobody = ClientId::new(bench.clock.now(), bench.entropy());
    for client in [None, Some(clients[0]), Some(clients[1]), Some(nobody)] {
        for after in ["", "Live_b", "live_", "live_b", "zzz", "\u{e9}"] {
            for limit in [0, 1, 2, ALL] {
                let expected: Vec<ApiKey> = keys
                    .iter()
                    .filter(|key| client.is_none() || key.client == client)
                    .filter(|key| key.id.as_str() > after)
                    .take(usize::try_from(limit).unwrap())
                    .cloned()
                    .collect();
                let found = bench.other.api_keys(client, after, limit).await.unwrap();
                assert_eq!(found, expected, "{client:?} after {after:?}, at most {limit}");
            }
        }
    }
}

pub async fn a_rotated_key_never_lives_longer(bench: Bench) {
    let client = bench.client().await;
    let now = bench.clock.now();
    let end_at = now + Duration::from_secs(60);
    let (earlier, later) = (end_at - Duration::from_micros(1), end_at + Duration::from_micros(1));
    for (n, (expire_at, expected)) in
        [(None, end_at), (Some(later), end_at), (Some(end_at), end_at), (Some(earlier), earlier)]
            .into_iter()
            .enumerate()
    {
        let old = ApiKey { expire_at, ..given::api_key(&format!("old-{n}"), Some(client), now) };
        let new = ApiKey { expire_at: Some(later), ..given::api_key(&format!("new-{n}"), Some(client), now) };
        bench.store.create_api_key(&old, &bench.entry("create_key")).await.unwrap();
        let entry = bench.entry("rotate");
        let ended = bench.store.rotate_api_key(&old.id, end_at, &new, &entry).await.unwrap();
        let expected = ApiKey { expire_at: Some(expected), ..old };
        assert_eq!(ended.as_ref(), Some(&expected));
        assert_eq!(bench.other.api_key(&expected.id).await.unwrap(), ended);
        assert_eq!(bench.other.api_key(&new.id).await.unwrap(), Some(new));
        assert_eq!(bench.audit_log().await[0], entry);
    }
}

pub async fn a_rotation_is_whole_or_nothing(bench: Bench) {
    let now = bench.clock.now();
    let (old, new) = (given::api_key("old", None, now), given::api_key("new", None, now));
    let end_at = now + Duration::from_secs(60);
    assert_eq!(bench.store.rotate_api_key("old", end_at, &new, &bench.entry("rotate")).await.unwrap(), None);
    assert_eq!(bench.store.api_keys(None, "", ALL).await.unwrap(), []);
    assert_eq!(bench.audit_log().await, []);
    bench.store.create_api_key(&old, &bench.entry("create_key")).await.unwrap();
    let entries = bench.audit_log().await;
    let nobody = Some(ClientId::new(now, bench.entropy()));
    for wrong in [&old, &given::api_key("new", nobody, now)] {
        let refused = bench.store.rotate_api_key("old", end_at, wrong, &bench.entry("rotate")).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    }
    assert_eq!(bench.store.api_keys(None, "", ALL).await.unwrap(), [old]);
    assert_eq!(bench.audit_log().await, entries);
}

pub async fn a_key_is_revoked_once(bench: Bench) {
    let key = given::api_key("live0001", None, bench.clock.now());
    bench.store.create_api_key(&key, &bench.entry("create_key")).await.unwrap();
    let neighbour = given::api_key("live0002", None, bench.clock.now());
    bench.store.create_api_key(&neighbour, &bench.entry("create_key")).await.unwrap();
    bench.clock.advance(Duration::from_secs(5));
    let revoked = ApiKey { revoked_at: Some(bench.clock.now()), ..key.clone() };
    let first = bench.entry("revoke");
    assert_eq!(bench.store.revoke_api_key(&key.id, &first).await.unwrap().as_ref(), Some(&revoked));
    bench.clock.advance(Duration::from_secs(5));
    let again = bench.store.revoke_api_key(&key.id, &bench.entry("again")).await.unwrap();
    assert_eq!(again.as_ref(), Some(&revoked), "as it was revoked first");
    assert_eq!(bench.other.api_key(&key.id).await.unwrap(), Some(revoked));
    assert_eq!(bench.other.api_key(&neighbour.id).await.unwrap(), Some(neighbour));
    assert_eq!(bench.store.revoke_api_key("live0009", &bench.entry("nobody")).await.unwrap(), None);
    let log = bench.audit_log().await;
    assert_eq!((log.len(), &log[0]), (3, &first), "one entry for the one change");
}

pub async fn racing_revocations_leave_one_entry(bench: Bench) {
    let key = given::api_key("live0001", None, bench.clock.now());
    bench.store.create_api_key(&key, &bench.entry("create_key")).await.unwrap();
    let provider_key = given::provider_key("pk0001", "one", bench.clock.now());
    bench.store.create_provider_key(&provider_key, &bench.entry("create_key")).await.unwrap();
    let callers: Vec<_> = (0..12)
        .map(|n| {
            let store = if n % 2 == 0 { bench.store.clone() } else { bench.other.clone() };
            let entries = [bench.entry("revoke"), bench.entry("revoke_provider_key")];
            tokio::spawn(async move {
                store.revoke_api_key("live0001", &entries[0]).await.unwrap().unwrap();
                store.revoke_provider_key("pk0001", &entries[1]).await.unwrap().unwrap();
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let mut actions: Vec<_> = bench.audit_log().await.into_iter().map(|entry| entry.action).collect();
    actions.retain(|action| action.starts_with("revoke"));
    actions.sort();
    assert_eq!(actions, ["revoke", "revoke_provider_key"]);
}

pub async fn the_last_use_of_a_key_never_goes_back(bench: Bench) {
    let now = bench.clock.now();
    let at = |seconds| now + Duration::from_secs(seconds);
    for id in ["one", "two", "three"] {
        bench.store.create_api_key(&given::api_key(id, None, now), &bench.entry("create_key")).await.unwrap();
    }
    let used = async || {
        let keys = bench.other.api_keys(None, "", ALL).await.unwrap();
        keys.into_iter().map(|key| key.last_used_at).collect::<Vec<Option<Timestamp>>>()
    };
    let touch = async |used: &[(&str, Timestamp)]| {
        let used: Vec<_> = used.iter().map(|(id, at)| ((*id).to_owned(), *at)).collect();
        bench.store.touch_api_keys(&used).await.unwrap();
    };
    // In the order of their ids: one, three, two.
    assert_eq!(used().await, [None, None, None]);
    touch(&[("one", at(10)), ("nobody", at(10)), ("two", at(20))]).await;
    assert_eq!(used().await, [Some(at(10)), None, Some(at(20))]);
    touch(&[("two", at(19)), ("one", at(11))]).await;
    assert_eq!(used().await, [Some(at(11)), None, Some(at(20))]);
    touch(&[]).await;
    touch(&[("two", at(20))]).await;
    assert_eq!(used().await, [Some(at(11)), None, Some(at(20))]);
    assert_eq!(bench.audit_log().await.len(), 3, "a use is no deed");
}

pub async fn a_provider_key_reads_back_and_is_made_once(bench: Bench) {
    let now = bench.clock.now();
    let key = ProviderKey {
        id: "pk0001".into(),
        provider: AWKWARD.into(),
        name: AWKWARD.into(),
        fingerprint: (0..=255).collect(),
        created_at: now,
        revoked_at: Some(now + Duration::from_micros(1)),
    };
    bench.store.create_provider_key(&key, &bench.entry("create_key")).await.unwrap();
    assert_eq!(bench.other.provider_key("pk0001").await.unwrap().as_ref(), Some(&key));
    assert_eq!(bench.store.provider_key("PK0001").await.unwrap(), None);
    let again = ProviderKey { name: "other".into(), ..key.clone() };
    let refused = bench.store.create_provider_key(&again, &bench.entry("again")).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(bench.store.provider_keys(ALL).await.unwrap(), [key]);
    assert_eq!(bench.audit_log().await.len(), 1);
}

pub async fn provider_keys_are_listed_by_provider_and_id(bench: Bench) {
    assert_eq!(bench.store.provider_keys(ALL).await.unwrap(), []);
    let mut keys = Vec::new();
    for (id, provider) in [("d", "one"), ("a", "two"), ("b", "One"), ("C", "one"), ("c", "one")] {
        keys.push(given::provider_key(id, provider, bench.clock.now()));
        bench.store.create_provider_key(&keys[keys.len() - 1], &bench.entry("create_key")).await.unwrap();
    }
    keys.sort_by(|one, next| (&one.provider, &one.id).cmp(&(&next.provider, &next.id)));
    for limit in [0, 1, 3, 5, 6] {
        let found = bench.other.provider_keys(limit).await.unwrap();
        assert_eq!(found, keys[..keys.len().min(usize::try_from(limit).unwrap())]);
    }
}

pub async fn a_provider_key_is_revoked_once(bench: Bench) {
    let key = given::provider_key("pk0001", "one", bench.clock.now());
    bench.store.create_provider_key(&key, &bench.entry("create_key")).await.unwrap();
    bench.clock.advance(Duration::from_secs(5));
    let revoked = ProviderKey { revoked_at: Some(bench.clock.now()), ..key };
    let first = bench.entry("revoke");
    assert_eq!(bench.store.revoke_provider_key("pk0001", &first).await.unwrap().as_ref(), Some(&revoked));
    bench.clock.advance(Duration::from_secs(5));
    let again = bench.store.revoke_provider_key("pk0001", &bench.entry("again")).await.unwrap();
    assert_eq!(again.as_ref(), Some(&revoked));
    assert_eq!(bench.other.provider_key("pk0001").await.unwrap(), Some(revoked));
    assert_eq!(bench.store.revoke_provider_key("pk0009", &bench.entry("nobody")).await.unwrap(), None);
    let log = bench.audit_log().await;
    assert_eq!((log.len(), &log[0]), (2, &first));
}
