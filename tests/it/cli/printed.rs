//! What is printed: colours, scripts for shells, settings.

use super::{Cli, offline};
use crate::support::{Herald, Mode, NewAccount, Setup, free_port, sms};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_gets_no_colours_unless_it_asks_for_them() {
    let mut herald = Herald::start(Mode::Embedded, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    account.client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    let cli = Cli::new(&herald, &account.key);
    let watch = ["watch", "--from-oldest", "--status", "delivered", "--count", "1"];
    for (flags, variables, has_colours) in [
        (&[][..], &[][..], false),
        (&["--color", "auto"], &[], false),
        (&["--color", "never"], &[], false),
        (&["--color", "always"], &[], true),
        // What is asked for here and now wins.
        (&["--color", "always"], &[("NO_COLOR", "1")], true),
    ] {
        let ended = cli.run_with(&[&watch[..], flags].concat(), variables).await;
        assert!(ended.status.success() && ended.stdout.contains("DELIVERED"), "{ended:?}");
        assert_eq!(ended.stdout.contains('\u{1b}'), has_colours, "{flags:?}: {ended:?}");
    }
    herald.finish().await;
}

#[tokio::test]
async fn shells_get_what_they_need_to_complete_every_verb() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = offline(&["completions", shell]).await;
        assert!(ended.status.success(), "{ended:?}");
        for word in ["herald", "dead-letters", "accept-duplicate-risk", "failed_perm"] {
            assert!(ended.stdout.contains(word), "{shell} does not know {word}");
        }
    }
    assert_eq!(offline(&["completions", "cmd"]).await.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_says_whether_it_is_ready() {
    let (metrics, silent) = (free_port(), free_port());
    let setup = Setup::default().set("HERALD_METRICS_LISTEN", format!("127.0.0.1:{metrics}"));
    let mut herald = Herald::start(Mode::Embedded, setup).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ready = async |port: Option<u16>| {
        let file = folder.path().join("herald.toml");
        let listen = port.map(|port| format!("metrics_listen = '127.0.0.1:{port}'\n")).unwrap_or_default();
        std::fs::write(&file, format!("store_url = 'sqlite:x'\n{listen}")).expect("the file is written");
        offline(&["ready", "--config", file.to_str().expect("a path")]).await
    };
    let ended = ready(Some(metrics)).await;
    assert!(ended.status.success() && ended.stdout == "ready", "{ended:?}");
    let ended = ready(Some(silent)).await;
    assert_eq!(ended.status.code(), Some(7), "{ended:?}");
    let ended = ready(None).await;
    assert_eq!(ended.status.code(), Some(64), "{ended:?}");
    assert!(ended.stderr.contains("metrics_listen"), "{ended:?}");
    herald.finish().await;
}

#[tokio::test]
async fn settings_are_checked_and_shown_without_passwords() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("herald.toml");
    let path = file.to_str().expect("a path");
    let write = |text: &str| std::fs::write(&file, text).expect("the file is written");
    write("store_url = \"postgres://herald:s3cret@db/herald\"\nsimulator.window = 7\n");
    let checked = offline(&["config", "check", "--config", path]).await;
    assert!(checked.status.success(), "{checked:?}");
    let shown = offline(&["config", "show", "--config", path]).await;
    assert!(shown.stdout.contains("store_url = \"postgres://herald:***@db/herald\""), "{shown:?}");
    assert!(shown.stdout.contains("simulator.window = 7"), "{shown:?}");
    let json = offline(&["config", "show", "--config", path, "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(json["simulator"]["window"], 7);
    for wrong in ["colour = \"red\"", "store_url = \"sqlite:x\"\nkey_cost = 99"] {
        write(wrong);
        for verb in ["check", "show"] {
            let ended = offline(&["config", verb, "--config", path]).await;
            assert_eq!(ended.status.code(), Some(64), "{ended:?}");
            assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{ended:?}");
        }
    }
}
