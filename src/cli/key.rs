//! `herald key`: API keys of clients and operators.

use herald_sdk::{Client, v1};
use prost_types::Timestamp;

use super::choice::{self, Scope};
use super::connect::{Global, Output};
use super::exit::Failed;
use super::output;
use super::page::{Limit, Shape};
use super::parse;
use super::secret::Save;

/// What to do with API keys. `--client` names the client that they belong to.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a key for the client of --client; without one, an operator key.
    Create(CreateArgs),
    /// List keys by id, without their secrets: of the client of --client, or all.
    List(Limit),
    /// Make a key in the place of another, which goes on for a while.
    Rotate {
        /// The old key's id.
        id: String,
        /// How long the old key goes on, such as 48h; else 24 hours.
        #[arg(long, value_name = "SPAN", value_parser = parse::span)]
        overlap: Option<prost_types::Duration>,
        #[command(flatten)]
        save: Save,
    },
    /// End a key.
    Revoke {
        /// The key's id.
        id: String,
    },
}

/// Arguments of `herald key create`.
#[derive(clap::Args)]
pub struct CreateArgs {
    /// What you call it.
    name: String,
    /// What it may do; may be repeated. Else everything that a client's key, or an operator's, may do.
    #[arg(long, value_enum, ignore_case = true)]
    scope: Vec<Scope>,
    /// When it ends: an RFC 3339 time, or a span from now such as +90d; else never.
    #[arg(long, value_name = "TIME", value_parser = parse::time_ahead)]
    expires: Option<Timestamp>,
    /// The addresses that it may be used from, such as 192.0.2.0/24; may be repeated. Else all.
    #[arg(long, value_name = "RANGE")]
    allow: Vec<String>,
    #[command(flatten)]
    save: Save,
}

const KEYS: Shape<v1::ApiKey> = Shape {
    name: "ApiKey",
    header: &["ID", "CLIENT", "NAME", "SCOPES", "MADE", "ENDS", "REVOKED", "LAST USED"],
    row,
};

pub async fn run(global: &Global, command: Command) -> Result<(), Failed> {
    let operator = global.operator()?;
    match command {
        Command::Create(args) => create(global, &operator, args).await,
        Command::List(limit) => list(global, &operator, &limit).await,
        Command::Rotate { id, overlap, save } => {
            let place = save.prepare()?;
            let request = v1::RotateApiKeyRequest { key_id: id, overlap };
            let answer = operator.rotate_api_key(request).await?;
            let old_end = answer.old_api_key.as_ref().and_then(|key| key.expire_time.as_ref());
            let ends = format!("\nold key ends  {}", output::time(old_end));
            let facts = answer.api_key.as_ref().map(show).unwrap_or_default() + &ends;
            place.put(global.output, "RotateApiKeyResponse", answer, |answer| &mut answer.secret, &facts)
        }
        Command::Revoke { id } => {
            let key = operator.revoke_api_key(id).await?;
            match global.output {
                Output::Table => output::line(&show(&key)),
                mode => output::json(mode, "ApiKey", &key),
            }
        }
    }
}

async fn create(global: &Global, operator: &Client, args: CreateArgs) -> Result<(), Failed> {
    let client_id = global.subject();
    let scopes = match (args.scope.is_empty(), client_id.is_empty()) {
        (false, _) => args.scope,
        (true, false) => vec![Scope::Send, Scope::Read, Scope::Billing],
        (true, true) => vec![Scope::Admin],
    };
    let request = v1::CreateApiKeyRequest {
        client_id,
        name: args.name,
        scopes: choice::all(scopes),
        expire_time: args.expires,
        allowed_ranges: args.allow,
    };
    let place = args.save.prepare()?;
    let answer = operator.create_api_key(request).await?;
    let facts = answer.api_key.as_ref().map(show).unwrap_or_default();
    place.put(global.output, "CreateApiKeyResponse", answer, |answer| &mut answer.secret, &facts)
}

async fn list(global: &Global, operator: &Client, limit: &Limit) -> Result<(), Failed> {
    let fetch = async |page_size, page_token| {
        let request = v1::ListApiKeysRequest { client_id: global.subject(), page_size, page_token };
        operator.list_api_keys(request).await.map(|page| (page.api_keys, page.next_page_token))
    };
    KEYS.list(global.output, limit, fetch).await
}

fn scopes(key: &v1::ApiKey) -> String {
    key.scopes().map(|scope| output::word(scope.as_str_name(), "SCOPE_")).collect::<Vec<_>>().join(" ")
}

fn owner(key: &v1::ApiKey) -> String {
    if key.client_id.is_empty() { "operator".to_owned() } else { key.client_id.clone() }
}

fn row(key: &v1::ApiKey) -> Vec<String> {
    vec![
        key.id.clone(),
        owner(key),
        key.name.clone(),
        scopes(key),
        output::time(key.create_time.as_ref()),
        output::time(key.expire_time.as_ref()),
        output::time(key.revoke_time.as_ref()),
        output::time(key.last_used_time.as_ref()),
    ]
}

/// A key for a person.
pub fn show(key: &v1::ApiKey) -> String {
    output::facts(&[
        ("id", key.id.clone()),
        ("client", owner(key)),
        ("name", key.name.clone()),
        ("scopes", scopes(key)),
        ("addresses", key.allowed_ranges.join(" ")),
        ("made", output::time(key.create_time.as_ref())),
        ("ends", output::time(key.expire_time.as_ref())),
        ("revoked", output::time(key.revoke_time.as_ref())),
        ("last used", output::time(key.last_used_time.as_ref())),
    ])
}
