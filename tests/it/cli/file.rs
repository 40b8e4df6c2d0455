//! A file of messages: repeated with its key, it sends nothing twice.

use serde_json::Value;

use super::Cli;
use crate::support::{Herald, Mode, NewAccount, PART_PRICE, Setup, every_message, nothing_held};

/// Three are fine, of which one takes two lines; one is no number, and one reaches nobody.
const MESSAGES: &str = "to,text,reference,metadata.order\n\
    +12025550100,Hello,first,1\n\
    nobody,Hello,second,\n\
    +12025550101,\"Good\nmorning\",,3\n\
    +12025550150,Hello,,\n\
    +12025550102,Bye,last,\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_sent_once_however_often_the_command_is_repeated() {
    let mut herald = Herald::start(Mode::Embedded, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let cli = Cli::new(&herald, &account.key);
    std::fs::write(herald.path("x.csv"), MESSAGES).expect("the file is written");
    let send = ["send", "--file", "x.csv", "--key", "campaign", "--flash"];

    let first = cli.run(&[&send[..], &["--json"]].concat()).await;
    assert_eq!(first.status.code(), Some(3), "{first:?}");
    let first: Value = serde_json::from_str(&first.stdout).expect("JSON");
    let counts = |told: &Value| {
        ["acceptedCount", "replayedCount", "refusedCount"].map(|name| told[name].as_u64().expect("a number"))
    };
    assert_eq!(counts(&first), [3, 0, 2]);
    let outcome = |row: u64| {
        let outcomes = first["outcomes"].as_array().expect("outcomes");
        outcomes.iter().find(|outcome| outcome["row"] == row).unwrap_or_else(|| panic!("row {row}: {first}"))
    };
    assert_eq!(outcome(2)["idempotencyKey"], "campaign/2");
    assert_eq!(outcome(2)["accepted"]["status"], "STATUS_QUEUED");
    assert_eq!(outcome(3)["error"]["reason"], "RECIPIENT_INVALID");
    assert_eq!(outcome(3)["error"]["fieldViolations"][0]["field"], "to");
    assert_eq!(outcome(5)["error"]["reason"], "NO_ROUTE");
    assert!(outcome(4)["accepted"].is_object() && outcome(6)["accepted"].is_object(), "{first}");

    let again = cli.run(&send).await;
    assert_eq!(again.status.code(), Some(3), "{again:?}");
    let last = again.stdout.lines().last().expect("a summary");
    assert_eq!(last, "accepted 3 (of which before: 3), refused 2");
    assert!(again.stdout.contains("row 3  REFUSED  RECIPIENT_INVALID"), "{again:?}");

    let messages = every_message(&account.client).await;
    assert_eq!(messages.len(), 3);
    let first = messages.iter().find(|message| message.reference == "first").expect("its reference");
    assert_eq!((first.text.as_str(), first.flash, first.metadata["order"].as_str()), ("Hello", true, "1"));
    let spent = NewAccount::default().credit_micros - nothing_held(&account.client).await.available_micros;
    assert_eq!(spent, 3 * PART_PRICE);
    herald.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_a_mistake_sends_nothing_at_all() {
    let mut herald = Herald::start(Mode::Embedded, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let cli = Cli::new(&herald, &account.key);
    for (content, told) in [
        ("to,text\n+12025550100,Hello\n+12025550100,one,two\n", "x.csv"),
        ("to,text,colour\n+12025550100,Hello,red\n", "colour"),
        ("to,text,at\n+12025550100,Hello,\n+12025550100,Hello,soon\n", "row 3"),
    ] {
        std::fs::write(herald.path("x.csv"), content).expect("the file is written");
        let ended = cli.run(&["send", "--file", "x.csv"]).await;
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains(told) && !ended.stderr.contains("Hello"), "{ended:?}");
    }
    assert_eq!(cli.run(&["send", "--file", "absent.csv"]).await.status.code(), Some(2));
    assert!(every_message(&account.client).await.is_empty());
    herald.finish().await;
}
