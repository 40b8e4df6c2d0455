//! New keys are printed once, alone, or saved for their owner only.

use std::os::unix::fs::PermissionsExt;

use super::{ABSENT, Cli};
use crate::support::{Herald, Mode, NewAccount, Setup};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_alone_on_standard_output_and_works() {
    let mut herald = Herald::start(Mode::Embedded, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let operator = Cli::new(&herald, herald.operator_key());

    let made = operator.run(&["key", "create", "shop", "--client", &account.id, "--scope", "read"]).await;
    assert!(made.status.success(), "{made:?}");
    let key = made.stdout.trim();
    assert!(key.starts_with("hk_test") && made.stdout.lines().count() == 1, "the key alone");
    assert!(
        made.stderr.contains("shown this once") && !made.stderr.contains(key),
        "a warning without the key"
    );
    let whoami = Cli::new(&herald, key).json(&["whoami"]).await;
    assert_eq!(whoami["client"]["id"], account.id);
    assert_eq!(whoami["apiKey"]["scopes"], serde_json::json!(["SCOPE_READ"]));

    let id = whoami["apiKey"]["id"].as_str().expect("an id");
    let rotated = operator.json(&["key", "rotate", id, "--overlap", "48h"]).await;
    let new = rotated["secret"].as_str().expect("a key");
    assert!(rotated["oldApiKey"]["expireTime"].is_string(), "{rotated}");
    let saved = operator.run(&["key", "rotate", id, "--save", "new.key", "--json"]).await;
    assert!(saved.status.success(), "{saved:?}");
    let file = herald.path("new.key");
    let in_file = std::fs::read_to_string(&file).expect("the key is saved");
    assert_eq!(std::fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    assert!(!saved.stdout.contains(&in_file) && !saved.stderr.contains(&in_file), "nowhere else");
    for key in [new, &in_file] {
        assert_eq!(Cli::new(&herald, key).json(&["whoami"]).await["client"]["id"], account.id);
    }

    // An older file is kept, and then no key is made; a call that fails leaves no file.
    let keys = async || operator.json(&["key", "list", "--client", &account.id]).await;
    let before = keys().await;
    let again = operator.run(&["key", "rotate", id, "--save", "new.key"]).await;
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert_eq!(keys().await, before);
    let absent = operator.run(&["key", "create", "x", "--client", ABSENT, "--save", "other.key"]).await;
    assert_eq!(absent.status.code(), Some(5), "{absent:?}");
    assert!(!herald.path("other.key").exists());
    herald.finish().await;
}
