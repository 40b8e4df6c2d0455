//! Every verb: answered in its shape, and refused by the right exit code with a reason that helps.

use std::collections::BTreeSet;

use herald_sdk::v1::message::Status;
use serde_json::Value;

use super::rows::{ANSWERED, OFFLINE, REFUSED, Shape, Who};
use super::{ABSENT, Cli, verbs};
use crate::support::{Account, Herald, Mode, NewAccount, Setup, new_key, sms, until};

/// What the words of the rows stand for.
struct World {
    account: Account,
    words: Vec<(&'static str, String)>,
}

impl World {
    async fn new(herald: &Herald) -> Self {
        let account = herald.account(NewAccount::default()).await;
        let operator = Cli::new(herald, herald.operator_key());
        std::fs::write(herald.path("rates.csv"), "prefix,price\n49,0.07\n").expect("the file is written");
        let message = final_message(&account, "+12025550100").await;
        let letter = final_message(&account, "+12025550120").await;
        let client = Cli::new(herald, &account.key);
        let later = client.json(&["send", "+12025550100", "Later", "--at", "+1h"]).await;
        assert_eq!(later["status"], "STATUS_SCHEDULED");
        let key = new_key(herald, &account.id, &[herald_sdk::v1::Scope::Read]).await;
        let pushes = operator.json(&["provider-key", "create", "simulator", "first"]).await;
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        let words = vec![
            ("CLIENT", account.id.clone()),
            ("MESSAGE", message),
            ("LETTER", letter),
            ("SCHEDULED", text(&later["id"])),
            ("KEY", key.split('_').nth(1).expect("a key has its id").to_owned()),
            ("PROVIDER-KEY", text(&pushes["providerKey"]["id"])),
            ("ABSENT", ABSENT.to_owned()),
        ];
        Self { account, words }
    }

    fn fill<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let known = |word: &str| self.words.iter().find(|(name, _)| *name == word);
        arguments.iter().map(|word| known(word).map_or(*word, |(_, id)| id.as_str())).collect()
    }

    fn cli<'a>(&'a self, herald: &'a Herald, who: Who) -> Cli<'a> {
        let key = match who {
            Who::Client => &self.account.key,
            Who::Operator => herald.operator_key(),
        };
        Cli::new(herald, key)
    }
}

/// A message that has come to its end.
async fn final_message(account: &Account, to: &str) -> String {
    let id = account.client.send(sms(to, "Hello")).await.expect("the send is accepted").message.id;
    until("its end", async || {
        let message = account.client.get_message(&id).await.expect("the message");
        (message.status >= Status::Delivered as i32).then_some(())
    })
    .await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_verb_answers_in_its_shape_and_is_refused_by_its_exit_code() {
    let mut herald = Herald::start(Mode::Embedded, Setup::default()).await;
    let world = World::new(&herald).await;
    // A key that was one, so that only the server can tell.
    let ended = new_key(&herald, &world.account.id, &[herald_sdk::v1::Scope::Read]).await;
    let ended_id = ended.split('_').nth(1).expect("a key has its id");
    herald.operator().revoke_api_key(ended_id).await.expect("the key is revoked");
    for row in ANSWERED {
        let arguments = world.fill(row.arguments);
        let wrong = Cli::new(&herald, &ended).run(&arguments).await;
        assert_eq!(wrong.status.code(), Some(4), "herald {arguments:?} with a wrong key: {wrong:?}");
        assert!(
            wrong.stderr.contains("API_KEY_INVALID") && wrong.stderr.contains("request id "),
            "{wrong:?}"
        );
        assert!(wrong.stdout.is_empty() && !wrong.stderr.contains(&ended), "{wrong:?}");
        // A stream prints a value a frame.
        let cli = world.cli(&herald, row.who);
        if row.arguments[0] == "watch" {
            let frames = cli.run(&[&arguments[..], &["-o", "jsonl"]].concat()).await;
            let last = frames.stdout.lines().last().unwrap_or_else(|| panic!("{frames:?}"));
            check(row.shape, &serde_json::from_str(last).expect("JSON"), &arguments);
            continue;
        }
        let answer = cli.json(&arguments).await;
        check(row.shape, &answer, &arguments);
        let shown = cli.run(&arguments).await;
        assert!(shown.status.success(), "herald {arguments:?} as a table: {shown:?}");
        assert!(!shown.stdout.is_empty(), "herald {arguments:?} shows nothing: {shown:?}");
    }
    for (who, arguments, code, word) in REFUSED {
        let arguments = world.fill(arguments);
        let refused = world.cli(&herald, *who).run(&arguments).await;
        assert_eq!(refused.status.code(), Some(*code), "herald {arguments:?}: {refused:?}");
        assert!(refused.stderr.contains(word), "herald {arguments:?} does not say {word}: {refused:?}");
    }
    herald.finish().await;
}

#[tokio::test]
async fn the_table_has_every_verb() {
    let tried =
        ANSWERED.iter().map(|row| verb(row.arguments)).chain(OFFLINE.iter().map(|verb| (*verb).to_owned()));
    assert_eq!(tried.collect::<BTreeSet<_>>(), verbs().await.into_iter().collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_told_with_its_own_exit_code() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = crate::support::free_port();
    let mut command = crate::support::herald();
    command.args(["--address", &format!("127.0.0.1:{port}"), "--timeout", "60", "balance"]);
    command.env("HERALD_API_KEY", "hk_a_b_c");
    let ended = crate::support::Process::start("cli", folder.path(), command).ended().await;
    assert_eq!(ended.status.code(), Some(7), "{ended:?}");
    assert!(ended.stderr.contains("is the server running"), "{ended:?}");
    assert!(!ended.stderr.contains("hk_a_b_c"), "{ended:?}");
}

/// The verb of a row, with the one of its group.
fn verb(arguments: &[&str]) -> String {
    const GROUPS: &[&str] =
        &["client", "dead-letters", "key", "ledger", "messages", "provider-key", "rate", "retention"];
    let words = if GROUPS.contains(&arguments[0]) { 2 } else { 1 };
    arguments[..words].join(" ")
}

#[track_caller]
fn check(shape: Shape, answer: &Value, arguments: &[&str]) {
    let has = |value: &Value, fields: &[&str]| {
        for field in fields {
            assert!(value.get(field).is_some(), "herald {arguments:?} has no {field}: {answer}");
        }
    };
    match shape {
        Shape::Object(fields) => has(answer, fields),
        Shape::Array => assert!(answer.is_array(), "herald {arguments:?}: {answer}"),
        Shape::List(fields) => {
            let first = answer.as_array().and_then(|rows| rows.first());
            has(first.unwrap_or_else(|| panic!("herald {arguments:?} lists nothing: {answer}")), fields);
        }
    }
}
