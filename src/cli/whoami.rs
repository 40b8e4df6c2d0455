//! `herald whoami`: what the key is and whom it belongs to.

use herald_sdk::v1;

use super::connect::{Global, Output};
use super::exit::Failed;
use super::{client, key, output};

pub async fn run(global: &Global) -> Result<(), Failed> {
    let account = global.client()?.account().await?;
    match global.output {
        Output::Table => output::line(&show(&account)),
        mode => output::json(mode, "Account", &account),
    }
}

fn show(account: &v1::Account) -> String {
    let server = output::facts(&[
        ("server", format!("herald {}, {}", account.server_version, account.mode)),
        ("events kept", output::span(account.event_retention.as_ref())),
        ("max streams", account.max_streams.to_string()),
    ]);
    let key = account.api_key.as_ref().map(|key| format!("key\n{}", key::show(key)));
    let client = account.client.as_ref().map(|client| format!("client\n{}", client::show(client)));
    [key, client, Some(server)].into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}
