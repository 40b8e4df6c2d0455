//! What is older than the operator wants to keep is archived, then removed, and nothing else is.

#[cfg(feature = "faults")]
mod crashes;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use delivery::model::Retention;
use flate2::read::GzDecoder;
use herald_sdk::tonic::Code;
use herald_sdk::v1::{self, ErrorReason};
use prost_reflect::DynamicMessage;
use serde_json::Value;

use crate::support::raw::API;
use crate::support::{
    Account, Herald, Mode, NewAccount, PART_PRICE, Setup, assert_refused, every_message, in_both_modes,
    nothing_held, refusal, sms, soon, until,
};

in_both_modes! {
    retention_is_within_its_bounds_and_for_ever_unless_it_is_set,
    what_is_removed_is_in_the_archive_line_by_line_and_the_books_stay_clean,
    what_is_open_or_young_stays,
}

async fn retention_is_within_its_bounds_and_for_ever_unless_it_is_set(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let mut admin = herald.operator().raw().admin();
    let get = v1::GetRetentionRequest {};
    let kept = admin.get_retention(get).await.expect("the settings").into_inner().retention;
    assert_eq!(kept, Some(v1::Retention::default()));
    let days = |days: i64| Some(prost_types::Duration { seconds: days * 24 * 3_600, nanos: 0 });
    let set = v1::Retention { events: days(90), messages: days(7), audit_entries: days(3_652) };
    let request = v1::UpdateRetentionRequest { retention: Some(set) };
    let answer = admin.update_retention(request).await.expect("they are set").into_inner();
    assert_eq!(answer.retention, Some(set));
    assert_eq!(admin.get_retention(get).await.expect("the settings").into_inner().retention, Some(set));
    let account = herald.operator().account().await.expect("the account");
    assert_eq!(account.event_retention, days(90));
    for (broken, fields) in [
        (None, vec!["retention"]),
        (
            Some(v1::Retention { events: days(6), messages: days(3_653), audit_entries: days(29) }),
            vec!["retention.events", "retention.messages", "retention.audit_entries"],
        ),
        (Some(v1::Retention { events: days(-7), ..set }), vec!["retention.events"]),
    ] {
        let answer = admin.update_retention(v1::UpdateRetentionRequest { retention: broken }).await;
        let error = refusal(answer, Code::InvalidArgument, ErrorReason::InvalidField);
        let named: Vec<&str> =
            error.field_violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, fields);
    }
    // All of them: what is left out is for ever.
    let request = v1::UpdateRetentionRequest { retention: Some(v1::Retention::default()) };
    admin.update_retention(request).await.expect("they are set");
    let kept = admin.get_retention(get).await.expect("the settings").into_inner().retention;
    assert_eq!(kept, Some(v1::Retention::default()));
    herald.finish().await;
}

async fn what_is_removed_is_in_the_archive_line_by_line_and_the_books_stay_clean(mode: Mode) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = folder.path().join("archive");
    let mut herald = Herald::start(mode, keeping(&archive)).await;
    let account = herald.account(NewAccount::default()).await;
    for number in 0..5 {
        let (to, text) = (["+12025550100", "+12025550111"][number % 2], format!("Hello {number}"));
        account.client.send(sms(to, &text)).await.expect("the send is accepted");
    }
    let balance = nothing_held(&account.client).await;
    let first = v1::ListEventsRequest { page_size: 2, ..Default::default() };
    let aged = account.client.list_events(first).await.expect("the events").resume_token;
    let events = by(every_event(&account).await, |event| format!("{:019}", event.seq));
    let messages = by(every_message(&account.client).await, |message| message.id.clone());
    let entries = by(every_entry(&herald).await, |entry| entry.id.clone());
    assert_eq!((messages.len(), events.len()), (5, usize::try_from(balance.seq).expect("a few")));

    let second = Some(Duration::from_secs(1));
    keep(&mut herald, Retention { events: second, messages: second, audit_entries: second }).await;
    let account = Account { client: herald.client(&account.key), ..account };
    until("the end of what was there", async || {
        let is_empty = every_message(&account.client).await.is_empty()
            && every_event(&account).await.is_empty()
            && every_entry(&herald).await.iter().all(|entry| !entries.contains_key(&entry.id));
        is_empty.then_some(())
    })
    .await;

    let archived = |kind: &str, id: fn(&Value) -> String| {
        let lines = lines_of(&archive.join(kind));
        lines.into_iter().map(|line| (id(&line), line)).collect::<BTreeMap<_, _>>()
    };
    let seq = |line: &Value| format!("{:0>19}", line["seq"].as_str().expect("a seq"));
    let id = |line: &Value| line["id"].as_str().expect("an id").to_owned();
    assert_eq!(archived(&format!("events/{}", account.id), seq), json_of("Event", &events));
    assert_eq!(archived(&format!("messages/{}", account.id), id), json_of("Message", &messages));
    let of_trail = archived("audit_entries", id);
    for (id, entry) in json_of("AuditEntry", &entries) {
        assert_eq!(of_trail.get(&id), Some(&entry));
    }

    // The balance needs nothing of what is gone.
    assert_eq!(account.client.balance().await.expect("the balance"), balance);
    herald.audit().await;
    let from_aged = v1::SubscribeEventsRequest { resume_token: aged.clone(), ..Default::default() };
    let refused = account.client.raw().events().subscribe_events(from_aged).await;
    let refused = refused.expect_err("its events are gone");
    assert_refused(&refused, Code::OutOfRange, ErrorReason::ResumeTokenExpired);
    let asked = v1::ListEventsRequest { resume_token: aged, ..Default::default() };
    let error =
        refusal(account.client.list_events(asked).await, Code::OutOfRange, ErrorReason::ResumeTokenExpired);
    let oldest = error.info("oldest_resume_token").expect("the oldest token is told").to_owned();
    let from_oldest = v1::SubscribeEventsRequest { resume_token: oldest, ..Default::default() };
    let opened = account.client.raw().events().subscribe_events(from_oldest).await;
    let mut stream = opened.expect("the oldest token is good").into_inner();
    let sent = account.client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted").message;
    let event = loop {
        let frame = soon("the next event", stream.message()).await.expect("no error").expect("a frame");
        if let Some(v1::subscribe_events_response::Frame::Event(event)) = frame.frame {
            break event;
        }
    };
    assert_eq!((event.seq, event.message_id), (balance.seq + 1, sent.id));
    let after = nothing_held(&account.client).await;
    assert_eq!(after.available_micros, balance.available_micros - PART_PRICE);
    drop(stream);
    herald.finish().await;
}

async fn what_is_open_or_young_stays(mode: Mode) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = folder.path().join("archive");
    let mut herald = Herald::start(mode, keeping(&archive)).await;
    let account = herald.account(NewAccount::default()).await;
    let open = account.client.send(sms("+12025550140", "Hello")).await.expect("the send is accepted").message;
    account.client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    nothing_held(&account.client).await;
    let hour = Some(Duration::from_secs(3_600));
    let second = Some(Duration::from_secs(1));
    keep(&mut herald, Retention { events: hour, messages: second, audit_entries: None }).await;
    let account = Account { client: herald.client(&account.key), ..account };
    let left = until("the end of the delivered message", async || {
        let left = every_message(&account.client).await;
        (left.len() == 1).then_some(left)
    })
    .await;
    assert_eq!(left[0].id, open.id, "a report may still come");
    assert_eq!(every_event(&account).await[0].seq, 1);
    assert!(archive.join("messages").exists());
    assert!(!archive.join("events").exists() && !archive.join("audit_entries").exists());
    assert!(every_entry(&herald).await.iter().any(|entry| entry.action == "AdminService.CreateClient"));
    herald.finish().await;
}

/// A server with an archive, that applies retention all the time.
fn keeping(archive: &Path) -> Setup {
    Setup::default()
        .set("HERALD_TIMING__RETENTION_INTERVAL_MS", 200)
        .set("HERALD_ARCHIVE_DIR", archive.display())
}

/// Sets how long things are kept while no server runs: less than the API allows.
async fn keep(herald: &mut Herald, retention: Retention) {
    herald.stop().await;
    keep_while_stopped(herald, retention).await;
    herald.start_server().await;
}

async fn keep_while_stopped(herald: &Herald, retention: Retention) {
    let store = herald.database().open().await;
    let now = store.now().await.expect("the store is open");
    let entry = delivery::model::AuditEntry {
        id: message::id::AuditEntryId::new(now, message::id::Entropy([7; 10])),
        at: now,
        key_id: String::new(),
        client: None,
        action: "Test".into(),
        target: String::new(),
        before: String::new(),
        after: String::new(),
        note: String::new(),
        request_id: String::new(),
    };
    store.set_retention(&retention, &entry).await.expect("it is set");
}

async fn every_event(account: &Account) -> Vec<v1::Event> {
    let mut request = v1::ListEventsRequest::default();
    let mut events = Vec::new();
    loop {
        let page = account.client.list_events(request.clone()).await.expect("the events");
        events.extend(page.events);
        if page.caught_up {
            return events;
        }
        request.resume_token = page.resume_token;
    }
}

async fn every_entry(herald: &Herald) -> Vec<v1::AuditEntry> {
    let mut request = v1::ListAuditEntriesRequest::default();
    let mut entries = Vec::new();
    loop {
        let answer = herald.operator().raw().admin().list_audit_entries(request.clone()).await;
        let page = answer.expect("a page").into_inner();
        entries.extend(page.audit_entries);
        if page.next_page_token.is_empty() {
            return entries;
        }
        request.page_token = page.next_page_token;
    }
}

fn by<T>(rows: Vec<T>, id: impl Fn(&T) -> String) -> BTreeMap<String, T> {
    rows.into_iter().map(|row| (id(&row), row)).collect()
}

/// As the JSON mapping of protobuf has them.
fn json_of<T: prost::Message>(name: &str, rows: &BTreeMap<String, T>) -> BTreeMap<String, Value> {
    let described = API.get_message_by_name(&format!("herald.v1.{name}")).expect("it is described");
    let json = |row: &T| {
        let row = DynamicMessage::decode(described.clone(), row.encode_to_vec().as_slice());
        serde_json::to_value(row.expect("it decodes")).expect("it can be shown")
    };
    rows.iter().map(|(id, row)| (id.clone(), json(row))).collect()
}

/// Every line of every file in the folder.
fn lines_of(folder: &Path) -> Vec<Value> {
    let files = std::fs::read_dir(folder).expect("the archive has this folder");
    let files = files.map(|file| file.expect("the folder can be read").path());
    files
        .flat_map(|file: PathBuf| {
            let mut text = String::new();
            let file = std::fs::File::open(file).expect("the file can be read");
            GzDecoder::new(file).read_to_string(&mut text).expect("it is whole");
            text.lines()
                .map(|line| serde_json::from_str(line).expect("a document a line"))
                .collect::<Vec<_>>()
        })
        .collect()
}
