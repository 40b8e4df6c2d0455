//! API keys are rotated, revoked and listed.

use std::time::{Duration, Instant};

use herald_sdk::tonic::Code;
use herald_sdk::v1::{self, ErrorReason};

use super::admin;
use crate::support::{
    Herald, Mode, NewAccount, Setup, assert_refused, in_both_modes, new_key, refusal, sms, soon, span, until,
};

in_both_modes! {
    a_revoked_key_is_refused_and_its_open_stream_is_cut,
    a_rotated_key_goes_on_for_the_overlap_beside_its_successor,
    a_key_that_would_end_soon_is_not_prolonged_by_its_rotation,
    keys_are_listed_without_their_secrets_and_with_their_last_use,
}

/// Within ten seconds on every node; a busy machine gets a moment more.
const REVOKED_WITHIN: Duration = Duration::from_secs(12);

async fn a_revoked_key_is_refused_and_its_open_stream_is_cut(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let key = new_key(&herald, &account.id, &[v1::Scope::Read]).await;
    let client = herald.impatient_client(&key);
    let id = client.account().await.expect("the account").api_key.expect("the key").id;
    let opened = client.raw().events().subscribe_events(v1::SubscribeEventsRequest::default()).await;
    let mut stream = opened.expect("the stream opens").into_inner();

    let started = Instant::now();
    let revoke = async || {
        let request = v1::RevokeApiKeyRequest { key_id: id.clone() };
        let answer = admin(&herald).revoke_api_key(request).await.expect("the key is revoked").into_inner();
        answer.api_key.expect("the key").revoke_time.expect("it is revoked")
    };
    let first = revoke().await;
    assert_eq!(revoke().await, first, "a second revocation changes nothing");
    let refused = loop {
        match soon("the end of the stream", stream.message()).await {
            Ok(frame) => assert!(frame.is_some(), "the stream ended without a status"),
            Err(refused) => break refused,
        }
    };
    assert_refused(&refused, Code::Unauthenticated, ErrorReason::ApiKeyInvalid);
    until("the refusal of calls", async || client.account().await.err()).await;
    assert!(started.elapsed() < REVOKED_WITHIN, "{:?}", started.elapsed());
    refusal(client.account().await, Code::Unauthenticated, ErrorReason::ApiKeyInvalid);
    // The client's other key is as good as before.
    account.client.account().await.expect("the account");
    let absent = admin(&herald).revoke_api_key(v1::RevokeApiKeyRequest { key_id: "live0".into() }).await;
    refusal(absent, Code::NotFound, ErrorReason::ResourceNotFound);
    herald.finish().await;
}

async fn a_rotated_key_goes_on_for_the_overlap_beside_its_successor(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let request = v1::CreateApiKeyRequest {
        client_id: account.id.clone(),
        name: "orders".into(),
        scopes: vec![v1::Scope::Send.into(), v1::Scope::Read.into()],
        allowed_ranges: vec!["127.0.0.0/8".into(), "::/0".into()],
        ..Default::default()
    };
    let made = herald.operator().create_api_key(request).await.expect("the key is made");
    let (old, first) = (made.api_key.expect("the key"), herald.impatient_client(&made.secret));
    first.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    let rotate = async |key_id: &str, overlap: Option<Duration>| {
        let request = v1::RotateApiKeyRequest { key_id: key_id.to_owned(), overlap: overlap.map(span) };
        admin(&herald).rotate_api_key(request).await.map(|answer| answer.into_inner())
    };

    let rotated = rotate(&old.id, None).await.expect("the key is rotated");
    let (new, ending) = (rotated.api_key.expect("the new key"), rotated.old_api_key.expect("the old key"));
    assert_ne!(new.id, old.id);
    let terms = |key: &v1::ApiKey| {
        (
            key.client_id.clone(),
            key.name.clone(),
            key.scopes.clone(),
            key.allowed_ranges.clone(),
            key.id[..4].to_owned(),
        )
    };
    assert_eq!(terms(&new), terms(&old));
    assert_eq!((new.expire_time, ending.id.as_str()), (None, old.id.as_str()));
    let lasts = ending.expire_time.expect("it ends").seconds - new.create_time.expect("it was made").seconds;
    assert!((24 * 3_600 - 60..=24 * 3_600 + 60).contains(&lasts), "{lasts} s");
    let second = herald.impatient_client(&rotated.secret);
    for client in [&first, &second] {
        client.send(sms("+12025550100", "Hello")).await.expect("both keys are good");
    }

    let rotated = rotate(&new.id, Some(Duration::ZERO)).await.expect("the key is rotated");
    herald.impatient_client(&rotated.secret).account().await.expect("the third key is good at once");
    until("the second key's end", async || second.account().await.err()).await;
    first.account().await.expect("the first key has its day");

    let ended = rotate(&new.id, None).await;
    refusal(ended, Code::InvalidArgument, ErrorReason::InvalidField);
    let too_long = rotate(&old.id, Some(Duration::from_secs(31 * 24 * 3_600))).await;
    refusal(too_long, Code::InvalidArgument, ErrorReason::InvalidField);
    refusal(rotate("live0", None).await, Code::NotFound, ErrorReason::ResourceNotFound);
    refusal(rotate("", None).await, Code::InvalidArgument, ErrorReason::InvalidField);
    herald.finish().await;
}

async fn a_key_that_would_end_soon_is_not_prolonged_by_its_rotation(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let in_an_hour = std::time::SystemTime::now() + Duration::from_secs(3_600);
    let request = v1::CreateApiKeyRequest {
        name: "for an hour".into(),
        scopes: vec![v1::Scope::Admin.into()],
        expire_time: Some(in_an_hour.into()),
        ..Default::default()
    };
    let old = herald.operator().create_api_key(request).await.expect("the key is made").api_key;
    let old = old.expect("the key");
    let request = v1::RotateApiKeyRequest { key_id: old.id, overlap: None };
    let rotated = admin(&herald).rotate_api_key(request).await.expect("the key is rotated").into_inner();
    assert_eq!(rotated.api_key.expect("the new key").expire_time, old.expire_time);
    assert_eq!(rotated.old_api_key.expect("the old key").expire_time, old.expire_time);
    herald.finish().await;
}

async fn keys_are_listed_without_their_secrets_and_with_their_last_use(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let (unused, other) = (
        new_key(&herald, &account.id, &[v1::Scope::Read]).await,
        herald.account(NewAccount::default()).await,
    );
    account.client.account().await.expect("the account");
    // Told to the store now and then, and when the server stops.
    herald.stop().await;
    herald.start_server().await;

    let listed = async |client_id: &str| {
        let mut request =
            v1::ListApiKeysRequest { client_id: client_id.to_owned(), page_size: 1, ..Default::default() };
        let mut keys = Vec::new();
        loop {
            let page = admin(&herald).list_api_keys(request.clone()).await.expect("a page").into_inner();
            keys.extend(page.api_keys);
            if page.next_page_token.is_empty() {
                return keys;
            }
            request.page_token = page.next_page_token;
        }
    };
    let (own, all) = (listed(&account.id).await, listed("").await);
    assert!(all.windows(2).all(|pair| pair[0].id < pair[1].id), "by id");
    assert_eq!(own, all.iter().filter(|key| key.client_id == account.id).cloned().collect::<Vec<_>>());
    assert_eq!((own.len(), all.len()), (2, 4), "two of one client, one of another, and the operator's");
    let is_used = |secret: &str| {
        let key = all.iter().find(|key| secret.contains(&key.id)).expect("the key is listed");
        key.last_used_time.is_some()
    };
    assert!(is_used(&account.key) && is_used(herald.operator_key()));
    assert!(!is_used(&unused) && !is_used(&other.key));
    let told = format!("{all:?}");
    for secret in [&account.key, &unused, &other.key] {
        let secret = secret.split('_').nth(2).expect("a key has a secret");
        assert!(!told.contains(secret));
    }
    herald.finish().await;
}
