//! Retention crashes at each of its points, and nothing goes that was not archived.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use delivery::faults::POINTS;
use delivery::model::Retention;
use serde_json::Value;

use super::{by, every_event, json_of, keep_while_stopped, keeping, lines_of};
use crate::support::{Account, Herald, Mode, NewAccount, every_message, nothing_held, sms, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_retention_crashes_all_that_it_removed_is_in_the_archive_and_the_books_are_clean() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = folder.path().join("archive");
    let mut herald = Herald::start(Mode::Engines, keeping(&archive)).await;
    let account = herald.account(NewAccount::default()).await;
    let (mut events, mut messages) = (BTreeMap::new(), BTreeMap::new());
    let points = POINTS.iter().filter(|point| point.starts_with("retention."));
    for point in points {
        let account = Account { client: herald.client(&account.key), ..account.clone() };
        account.client.send(sms("+12025550100", point)).await.expect("the send is accepted");
        nothing_held(&account.client).await;
        let all = every_event(&account).await;
        events.append(&mut json_of("Event", &by(all, |event| format!("{:019}", event.seq))));
        let all = every_message(&account.client).await;
        messages.append(&mut json_of("Message", &by(all, |message| message.id.clone())));

        herald.stop().await;
        keep_while_stopped(&herald, aged(1)).await;
        herald.start_faulty(&format!("crash={point}+0"));
        herald.crashed_at(point).await;
        keep_while_stopped(&herald, Retention::default()).await;
        herald.start_server().await;
        herald.audit().await;
    }
    herald.stop().await;
    keep_while_stopped(&herald, aged(1)).await;
    herald.start_server().await;
    let account = Account { client: herald.client(&account.key), ..account };
    until("the end of what was there", async || {
        let is_empty =
            every_message(&account.client).await.is_empty() && every_event(&account).await.is_empty();
        is_empty.then_some(())
    })
    .await;

    // What was archived again after a crash is the same.
    let seq = |line: &Value| format!("{:0>19}", line["seq"].as_str().expect("a seq"));
    let id = |line: &Value| line["id"].as_str().expect("an id").to_owned();
    assert_eq!(archived(&archive.join("events").join(&account.id), seq), events);
    assert_eq!(archived(&archive.join("messages").join(&account.id), id), messages);
    herald.finish().await;
}

fn aged(seconds: u64) -> Retention {
    let keep = Some(Duration::from_secs(seconds));
    Retention { events: keep, messages: keep, audit_entries: keep }
}

/// The lines of a folder, each once; copies must be equal.
fn archived(folder: &Path, id: impl Fn(&Value) -> String) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for line in lines_of(folder) {
        if let Some(before) = found.insert(id(&line), line.clone()) {
            assert_eq!(before, line);
        }
    }
    found
}
