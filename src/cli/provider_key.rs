//! `herald provider-key`: credentials with which providers push reports.

use herald_sdk::v1;

use super::connect::{Global, Output};
use super::exit::Failed;
use super::output;
use super::page::Shape;
use super::secret::Save;

/// What to do with providers' credentials.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a credential.
    Create {
        /// The provider's name.
        provider: String,
        /// What you call it.
        name: String,
        #[command(flatten)]
        save: Save,
    },
    /// List credentials, without their secrets.
    List,
    /// End a credential.
    Revoke {
        /// Its id.
        id: String,
    },
}

const KEYS: Shape<v1::ProviderKey> =
    Shape { name: "ProviderKey", header: &["ID", "PROVIDER", "NAME", "MADE", "REVOKED"], row };

pub async fn run(global: &Global, command: Command) -> Result<(), Failed> {
    let operator = global.operator()?;
    match command {
        Command::Create { provider, name, save } => {
            let place = save.prepare()?;
            let request = v1::CreateProviderKeyRequest { provider, name };
            let answer = operator.create_provider_key(request).await?;
            let facts = answer.provider_key.as_ref().map(show).unwrap_or_default();
            place.put(global.output, "CreateProviderKeyResponse", answer, |answer| &mut answer.secret, &facts)
        }
        Command::List => KEYS.print(global.output, &operator.list_provider_keys().await?),
        Command::Revoke { id } => {
            let key = operator.revoke_provider_key(id).await?;
            match global.output {
                Output::Table => output::line(&show(&key)),
                mode => output::json(mode, "ProviderKey", &key),
            }
        }
    }
}

fn row(key: &v1::ProviderKey) -> Vec<String> {
    vec![
        key.id.clone(),
        key.provider.clone(),
        key.name.clone(),
        output::time(key.create_time.as_ref()),
        output::time(key.revoke_time.as_ref()),
    ]
}

fn show(key: &v1::ProviderKey) -> String {
    output::facts(&[
        ("id", key.id.clone()),
        ("provider", key.provider.clone()),
        ("name", key.name.clone()),
        ("made", output::time(key.create_time.as_ref())),
        ("revoked", output::time(key.revoke_time.as_ref())),
    ])
}
