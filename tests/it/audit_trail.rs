//! Whatever an operator changes leaves one entry with what was there before and after, and whatever its key does for a
//! client leaves one with both.

use herald_sdk::tonic::Code;
use herald_sdk::v1::admin_service_client::AdminServiceClient;
use herald_sdk::v1::{self, ErrorReason};
use herald_sdk::{Client, Config, Transport};
use serde_json::{Value, json};

use crate::support::{
    Account, Herald, Mode, NewAccount, PART_PRICE, Setup, in_both_modes, new_key, refusal, sms, until,
};

in_both_modes! {
    every_change_leaves_one_entry_with_what_was_before_and_after,
    what_fails_and_what_changes_nothing_leaves_none,
    whatever_an_operator_does_for_a_client_leaves_an_entry_with_both,
    the_trail_is_listed_newest_first_by_key_client_and_action,
}

/// Looks at the trail, entry by entry.
struct Trail {
    admin: AdminServiceClient<Transport>,
    operator: String,
    /// Entries that were looked at.
    seen: usize,
}

impl Trail {
    async fn of(herald: &Herald) -> Self {
        let account = herald.operator().account().await.expect("the account");
        let operator = account.api_key.expect("the key").id;
        let mut trail = Self { admin: herald.operator().raw().admin(), operator, seen: 0 };
        trail.seen = trail.all().await.len();
        trail
    }

    /// Newest first.
    async fn all(&mut self) -> Vec<v1::AuditEntry> {
        self.listed(v1::ListAuditEntriesRequest::default()).await
    }

    async fn listed(&mut self, mut request: v1::ListAuditEntriesRequest) -> Vec<v1::AuditEntry> {
        let mut entries = Vec::new();
        loop {
            let page = self.admin.list_audit_entries(request.clone()).await.expect("a page").into_inner();
            entries.extend(page.audit_entries);
            if page.next_page_token.is_empty() {
                return entries;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Those that came since the last look.
    async fn news(&mut self) -> Vec<v1::AuditEntry> {
        let mut all = self.all().await;
        all.truncate(all.len() - self.seen);
        self.seen += all.len();
        all
    }

    /// The one entry that came since the last look: the operator's, with an id, a time and the call.
    async fn one(&mut self, action: &str, client: &str) -> v1::AuditEntry {
        let mut news = self.news().await;
        assert_eq!(news.len(), 1, "{action}: {news:?}");
        let entry = news.remove(0);
        assert_eq!((entry.action.as_str(), entry.client_id.as_str()), (action, client));
        assert_eq!(entry.key_id, self.operator);
        assert!(!entry.id.is_empty() && entry.time.is_some() && !entry.request_id.is_empty());
        entry
    }
}

fn json_of(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { serde_json::from_str(text).expect("it is JSON") }
}

/// What was and what is, of these fields.
fn change(entry: &v1::AuditEntry, fields: &[&str]) -> (Value, Value) {
    let pick = |text: &str| fields.iter().map(|field| json_of(text)[*field].clone()).collect::<Value>();
    (pick(&entry.before), pick(&entry.after))
}

async fn every_change_leaves_one_entry_with_what_was_before_and_after(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let (operator, mut admin) = (herald.operator(), herald.operator().raw().admin());
    let mut trail = Trail::of(&herald).await;

    let client = v1::Client { name: "acme".into(), ..Default::default() };
    let request = v1::CreateClientRequest { client: Some(client), ..Default::default() };
    let made = operator.create_client(request).await.expect("the client is made");
    let entry = trail.one("AdminService.CreateClient", &made.id).await;
    assert_eq!(change(&entry, &["id", "name"]), (json!([null, null]), json!([made.id, "acme"])));

    let paths = vec!["name".into(), "max_parts".into()];
    let request = v1::UpdateClientRequest {
        client: Some(v1::Client { id: made.id.clone(), name: "acme ltd".into(), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths }),
    };
    admin.update_client(request).await.expect("the client is changed");
    let entry = trail.one("AdminService.UpdateClient", &made.id).await;
    let expected = (json!(["acme", 10]), json!(["acme ltd", 10]));
    assert_eq!(change(&entry, &["name", "maxParts"]), expected);

    let request = v1::SuspendClientRequest { client_id: made.id.clone(), note: "unpaid".into() };
    admin.suspend_client(request).await.expect("it is suspended");
    let entry = trail.one("AdminService.SuspendClient", &made.id).await;
    let (active, suspended) = (json!(["STATE_ACTIVE", null]), json!(["STATE_SUSPENDED", "unpaid"]));
    let state = ["state", "suspendReason"];
    assert_eq!(change(&entry, &state), (active.clone(), suspended.clone()));
    assert_eq!(entry.note, "unpaid");

    let request = v1::ResumeClientRequest { client_id: made.id.clone(), note: "paid".into() };
    admin.resume_client(request).await.expect("it is resumed");
    let entry = trail.one("AdminService.ResumeClient", &made.id).await;
    assert_eq!(change(&entry, &state), (suspended, active));
    assert_eq!(entry.note, "paid");

    let secret = new_key(&herald, &account.id, &[v1::Scope::Read]).await;
    let key = key_id(&herald, &secret).await;
    let entry = trail.one("AdminService.CreateApiKey", &account.id).await;
    assert_eq!(change(&entry, &["id", "scopes"]), (json!([null, null]), json!([key, ["SCOPE_READ"]])));
    assert_eq!(entry.target, key);
    assert_no_secret(&entry, &secret);

    let request = v1::RotateApiKeyRequest { key_id: key.clone(), overlap: None };
    let rotated = admin.rotate_api_key(request).await.expect("the key is rotated").into_inner();
    let entry = trail.one("AdminService.RotateApiKey", &account.id).await;
    let new = rotated.api_key.expect("the new key").id;
    assert_eq!(change(&entry, &["id", "expireTime"]).0, json!([key, null]));
    let after = json_of(&entry.after);
    assert_eq!((&after["apiKey"]["id"], &after["oldApiKey"]["id"]), (&json!(new), &json!(key)));
    assert!(after["oldApiKey"]["expireTime"].is_string());
    assert_eq!(entry.target, key);
    assert_no_secret(&entry, &rotated.secret);

    admin.revoke_api_key(v1::RevokeApiKeyRequest { key_id: key.clone() }).await.expect("it is revoked");
    let entry = trail.one("AdminService.RevokeApiKey", &account.id).await;
    let (before, after) = change(&entry, &["revokeTime"]);
    assert!(before[0].is_null() && after[0].is_string());
    assert_eq!(entry.target, key);

    let rate = |micros| v1::Rate { currency: "EUR".into(), prefix: "49".into(), part_price_micros: micros };
    for (micros, before) in
        [(1, Value::Null), (2, json!([{"currency": "EUR", "prefix": "49", "partPriceMicros": "1"}]))]
    {
        let same = v1::Rate { currency: "USD".into(), prefix: String::new(), part_price_micros: PART_PRICE };
        let request = v1::SetRatesRequest { rates: vec![rate(micros), same] };
        admin.set_rates(request).await.expect("the rates are set");
        let entry = trail.one("AdminService.SetRates", "").await;
        assert_eq!(json_of(&entry.before), before, "what did not change is not told");
        assert_eq!(json_of(&entry.after)[0]["partPriceMicros"], json!(micros.to_string()));
    }
    admin.delete_rates(v1::DeleteRatesRequest { rates: vec![rate(0)] }).await.expect("the rate is gone");
    let entry = trail.one("AdminService.DeleteRates", "").await;
    assert_eq!(json_of(&entry.before)[0]["partPriceMicros"], json!("2"));
    assert_eq!(entry.after, "");

    let request = v1::CreateProviderKeyRequest { provider: "simulator".into(), name: "dlr".into() };
    let made = admin.create_provider_key(request).await.expect("the key is made").into_inner();
    let entry = trail.one("AdminService.CreateProviderKey", "").await;
    let key = made.provider_key.expect("the key").id;
    assert_eq!(change(&entry, &["id", "provider"]), (json!([null, null]), json!([key, "simulator"])));
    assert_no_secret(&entry, &made.secret);
    let request = v1::RevokeProviderKeyRequest { key_id: key.clone() };
    admin.revoke_provider_key(request).await.expect("it is revoked");
    let entry = trail.one("AdminService.RevokeProviderKey", "").await;
    let (before, after) = change(&entry, &["revokeTime"]);
    assert!(before[0].is_null() && after[0].is_string());
    assert_eq!(entry.target, key);

    let days = |days: i64| Some(prost_types::Duration { seconds: days * 24 * 3_600, nanos: 0 });
    let retention = Some(v1::Retention { events: days(10), ..Default::default() });
    admin.update_retention(v1::UpdateRetentionRequest { retention }).await.expect("it is set");
    let entry = trail.one("AdminService.UpdateRetention", "").await;
    assert_eq!(change(&entry, &["events"]), (json!([null]), json!(["864000s"])));

    let letter = dead_letter(&account).await;
    let request = v1::ReplayDeadLettersRequest { message_ids: vec![letter.clone()], ..Default::default() };
    admin.replay_dead_letters(request).await.expect("it is answered");
    let entry = trail.one("AdminService.ReplayDeadLetters", &account.id).await;
    let (before, after) = change(&entry, &["message", "replayedAs"]);
    assert_eq!(before, json!([{"id": letter}, null]), "neither a text nor a number");
    assert!(after[1].is_string());
    assert_eq!(entry.target, letter);

    for (action, delta) in [("BillingService.TopUp", 5), ("BillingService.AdjustBalance", -5)] {
        book(&operator, &account.id, delta).await;
        let entry = trail.one(action, &account.id).await;
        assert_eq!(entry.note, "by hand");
    }
    herald.finish().await;
}

async fn what_fails_and_what_changes_nothing_leaves_none(mode: Mode) {
    const ABSENT: &str = "0198e7a2-5c1e-7b90-9a41-0c6f2d3b8e55";
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let mut admin = herald.operator().raw().admin();
    let key = herald.client(&account.key).account().await.expect("the account").api_key.expect("the key");
    let ended = key_id(&herald, &new_key(&herald, &account.id, &[v1::Scope::Read]).await).await;
    let keyed = |name: &str| v1::CreateClientRequest {
        client: Some(v1::Client { name: name.into(), ..Default::default() }),
        idempotency_key: "one".into(),
    };
    admin.create_client(keyed("acme")).await.expect("the client is made");
    admin.revoke_api_key(v1::RevokeApiKeyRequest { key_id: ended.clone() }).await.expect("it is revoked");
    let mut trail = Trail::of(&herald).await;

    // What is repeated, or is so already.
    admin.create_client(keyed("acme")).await.expect("a replay");
    let same = v1::UpdateClientRequest {
        client: Some(v1::Client { id: account.id.clone(), name: "story".into(), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["name".into()] }),
    };
    admin.update_client(same).await.expect("it is so already");
    let resume = v1::ResumeClientRequest { client_id: account.id.clone(), note: String::new() };
    admin.resume_client(resume).await.expect("it is so already");
    admin.revoke_api_key(v1::RevokeApiKeyRequest { key_id: ended.clone() }).await.expect("it is so already");
    let standing = v1::Rate { currency: "USD".into(), prefix: String::new(), part_price_micros: PART_PRICE };
    admin.set_rates(v1::SetRatesRequest { rates: vec![standing] }).await.expect("it is so already");
    let absent = v1::Rate { currency: "GBP".into(), ..Default::default() };
    admin.delete_rates(v1::DeleteRatesRequest { rates: vec![absent] }).await.expect("it is so already");
    let retention = Some(v1::Retention::default());
    admin.update_retention(v1::UpdateRetentionRequest { retention }).await.expect("it is so already");
    let unknown = v1::ReplayDeadLettersRequest { message_ids: vec![ABSENT.into()], ..Default::default() };
    admin.replay_dead_letters(unknown).await.expect("the outcome tells");

    // What is refused.
    refusal(
        admin.create_client(keyed("other")).await,
        Code::AlreadyExists,
        ErrorReason::IdempotencyKeyReused,
    );
    let broken = v1::CreateApiKeyRequest { name: "no scope".into(), ..Default::default() };
    refusal(admin.create_api_key(broken).await, Code::InvalidArgument, ErrorReason::InvalidField);
    let suspend = v1::SuspendClientRequest { client_id: ABSENT.into(), note: "who?".into() };
    refusal(admin.suspend_client(suspend).await, Code::NotFound, ErrorReason::ResourceNotFound);
    let rotate = v1::RotateApiKeyRequest { key_id: ended, overlap: None };
    refusal(admin.rotate_api_key(rotate).await, Code::InvalidArgument, ErrorReason::InvalidField);
    let provider = v1::CreateProviderKeyRequest { provider: "nobody".into(), name: "dlr".into() };
    refusal(admin.create_provider_key(provider).await, Code::NotFound, ErrorReason::ResourceNotFound);
    let short = Some(v1::Retention {
        events: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    });
    let short = admin.update_retention(v1::UpdateRetentionRequest { retention: short }).await;
    refusal(short, Code::InvalidArgument, ErrorReason::InvalidField);
    // A client's key may not, whatever it asks.
    let mut theirs = account.client.raw().admin();
    let refused = theirs.revoke_api_key(v1::RevokeApiKeyRequest { key_id: key.id }).await;
    refusal(refused, Code::PermissionDenied, ErrorReason::ScopeMissing);
    // Nor do a client's own calls belong to the trail.
    account.client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    account.client.balance().await.expect("the balance");
    assert_eq!(trail.news().await, []);
    herald.finish().await;
}

async fn whatever_an_operator_does_for_a_client_leaves_an_entry_with_both(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let config = Config { client_id: Some(account.id.clone()), ..herald.config(herald.operator_key()) };
    let acting = Client::connect_lazy(config).expect("address and key are well formed");
    let mut trail = Trail::of(&herald).await;

    let sent = acting.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    let entry = trail.one("MessagingService.SendMessage", &account.id).await;
    assert_eq!((entry.before.as_str(), entry.after.as_str()), ("", ""));
    assert!(!format!("{entry:?}").contains("2025550100"));
    acting.get_message(sent.message.id).await.expect("the message");
    trail.one("MessagingService.GetMessage", &account.id).await;
    acting.list_messages(v1::ListMessagesRequest::default()).await.expect("the messages");
    trail.one("MessagingService.ListMessages", &account.id).await;
    acting.balance().await.expect("the balance");
    trail.one("BillingService.GetBalance", &account.id).await;
    acting.list_events(v1::ListEventsRequest::default()).await.expect("the events");
    trail.one("EventService.ListEvents", &account.id).await;
    let opened = acting.raw().events().subscribe_events(v1::SubscribeEventsRequest::default()).await;
    drop(opened.expect("the stream opens"));
    trail.one("EventService.SubscribeEvents", &account.id).await;
    acting.account().await.expect("the account");
    trail.one("AccountService.GetAccount", &account.id).await;
    // For nobody, the same call is no one's business.
    herald.operator().account().await.expect("the account");
    assert_eq!(trail.news().await, []);
    herald.finish().await;
}

async fn the_trail_is_listed_newest_first_by_key_client_and_action(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let other = herald.account(NewAccount::default()).await;
    let second = new_key(&herald, "", &[v1::Scope::Admin]).await;
    let mut by_second = herald.client(&second).raw().admin();
    for note in ["one", "two", "three"] {
        let request = v1::SuspendClientRequest { client_id: other.id.clone(), note: note.into() };
        by_second.suspend_client(request).await.expect("it is suspended");
    }
    let mut trail = Trail::of(&herald).await;
    let all = trail.all().await;
    assert!(all.windows(2).all(|pair| pair[0].id > pair[1].id), "newest first");
    // What set the server up belongs to nobody.
    let by_server: Vec<_> = all.iter().filter(|entry| entry.key_id.is_empty()).collect();
    let actions: Vec<&str> = by_server.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["AdminService.CreateApiKey", "AdminService.SetRates"]);

    let notes =
        |entries: Vec<v1::AuditEntry>| entries.into_iter().map(|entry| entry.note).collect::<Vec<_>>();
    let asked = v1::ListAuditEntriesRequest { page_size: 2, ..Default::default() };
    let by_key = v1::ListAuditEntriesRequest { key_id: key_id(&herald, &second).await, ..asked.clone() };
    assert_eq!(notes(trail.listed(by_key.clone()).await), ["three", "two", "one"]);
    let by_client = v1::ListAuditEntriesRequest { client_id: account.id.clone(), ..asked.clone() };
    assert_eq!(trail.listed(by_client).await.len(), 3, "made, topped up, given a key");
    let action = "AdminService.SuspendClient".to_owned();
    let by_action = v1::ListAuditEntriesRequest { action, ..asked.clone() };
    assert_eq!(notes(trail.listed(by_action).await), ["three", "two", "one"]);
    let first = trail.admin.list_audit_entries(by_key).await.expect("a page").into_inner();
    let foreign = v1::ListAuditEntriesRequest { page_token: first.next_page_token, ..asked };
    let answer = trail.admin.list_audit_entries(foreign).await;
    refusal(answer, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    let broken = v1::ListAuditEntriesRequest { client_id: "7".into(), page_size: -1, ..Default::default() };
    let error = refusal(
        trail.admin.list_audit_entries(broken).await,
        Code::InvalidArgument,
        ErrorReason::InvalidField,
    );
    assert_eq!(error.field_violations().len(), 2);
    let resume = v1::ResumeClientRequest { client_id: other.id.clone(), note: String::new() };
    by_second.resume_client(resume).await.expect("it is resumed");
    herald.finish().await;
}

async fn key_id(herald: &Herald, secret: &str) -> String {
    herald.client(secret).account().await.expect("the account").api_key.expect("the key").id
}

#[track_caller]
fn assert_no_secret(entry: &v1::AuditEntry, whole: &str) {
    let secret = whole.split('_').nth(2).expect("a key has a secret");
    assert!(!format!("{entry:?}").contains(secret), "the trail has a secret");
}

/// The id of a message whose every attempt failed.
async fn dead_letter(account: &Account) -> String {
    let sent = account.client.send(sms("+12025550120", "Hello")).await.expect("the send is accepted").message;
    until("the end of every attempt", async || {
        let message = account.client.get_message(&sent.id).await.expect("the message");
        (message.status() == v1::message::Status::FailedPerm).then_some(())
    })
    .await;
    sent.id
}

/// Tops the client up, or takes credit from it.
async fn book(operator: &Client, client_id: &str, delta_micros: i64) {
    let (client_id, idempotency_key) =
        (client_id.to_owned(), format!("book {delta_micros}").replace(' ', "-"));
    let mut billing = operator.raw().billing();
    if delta_micros > 0 {
        let request = v1::TopUpRequest {
            client_id,
            amount_micros: delta_micros,
            idempotency_key,
            note: "by hand".into(),
            ..Default::default()
        };
        billing.top_up(request).await.expect("credit is booked");
    } else {
        let request =
            v1::AdjustBalanceRequest { client_id, delta_micros, idempotency_key, note: "by hand".into() };
        billing.adjust_balance(request).await.expect("credit is booked");
    }
}
