//! Whom the load is sent to, and with which keys.

use std::time::Duration;

use anyhow::Context;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use herald_sdk::{Client, Config, RetryPolicy, v1};

use super::Args;
use super::servers::Servers;
use crate::cli::connect::Global;
use crate::cli::exit::Failed;

/// More credit than any run spends.
const CREDIT_MICROS: i64 = 1_000_000_000_000;
/// Names of clients begin with it.
const PREFIX: &str = "bench ";
/// Clients that are made at once.
const MADE_AT_ONCE: usize = 16;

/// A server with its callers.
pub struct Target {
    /// At least as many as clients and as connections: the n-th has the key of the n-th client and the n-th connection, each
    /// counted round.
    pub senders: Vec<Client>,
    /// One for each client.
    pub listeners: Vec<Client>,
    /// Of clients that were made for it.
    pub operator: Option<Client>,
    /// What runs for this measurement alone.
    pub servers: Option<Servers>,
}

impl Target {
    /// The server of the command line, with its key; or, if that is an operator's, with clients of its own.
    pub async fn running(global: &Global, args: &Args) -> Result<Self, Failed> {
        let Some(count) = args.clients else {
            let key = global.api_key("client.key")?;
            let connections = connect(global, args, &global.url(), &key, global.client_id.as_ref())?;
            return Ok(Self {
                listeners: vec![connections[0].clone()],
                senders: connections,
                operator: None,
                servers: None,
            });
        };
        let key = global.api_key("admin.key")?;
        Self::with_clients(global, args, &global.url(), &key, count, None).await
    }

    /// Servers of its own.
    pub async fn own(global: &Global, args: &Args) -> Result<Self, Failed> {
        let servers = if args.nodes {
            let installation = args.installation.as_deref();
            Servers::nodes(&args.folder, installation, args.seed, args.provider_scale, args.burst).await
        } else {
            Servers::embedded(&args.folder, args.seed).await
        };
        let servers = servers.context("cannot start the server")?;
        let (url, key) = (servers.url.clone(), servers.operator_key.clone());
        Self::with_clients(global, args, &url, &key, args.clients.unwrap_or(1), Some(servers)).await
    }

    async fn with_clients(
        global: &Global,
        args: &Args,
        url: &str,
        operator_key: &str,
        count: u32,
        servers: Option<Servers>,
    ) -> Result<Self, Failed> {
        let made = async {
            let connections = connect(global, args, url, operator_key, None)?;
            let operator = Client::connect_lazy(Config::new(url, operator_key))?;
            let there =
                if args.installation.is_some() { clients(&operator, count).await? } else { Vec::new() };
            let keys: Vec<String> = stream::iter(0..count)
                .map(|number| make_key(&operator, number, there.get(number as usize).cloned()))
                .buffered(MADE_AT_ONCE)
                .try_collect()
                .await?;
            let with = |number: usize| {
                let connection = &connections[number % connections.len()];
                connection.with_key(keys[number % keys.len()].as_str())
            };
            let senders = (0..keys.len().max(connections.len())).map(with).collect::<Result<_, _>>()?;
            let listeners = (0..keys.len()).map(with).collect::<Result<_, _>>()?;
            anyhow::Ok((senders, listeners, operator))
        };
        match made.await.context("cannot make the clients") {
            Ok((senders, listeners, operator)) => {
                Ok(Self { senders, listeners, operator: Some(operator), servers })
            }
            Err(error) => {
                if let Some(servers) = servers {
                    servers.stop().await;
                }
                Err(error.into())
            }
        }
    }

    /// Ends the servers, if they are ours.
    pub async fn stop(self) {
        if let Some(servers) = self.servers {
            servers.stop().await;
        }
    }
}

/// A refusal is a result here, so nothing is repeated.
fn connect(
    global: &Global,
    args: &Args,
    url: &str,
    key: &str,
    client_id: Option<&String>,
) -> Result<Vec<Client>, herald_sdk::Error> {
    let one = |_| {
        let mut config = Config::new(url, key);
        config.timeout = Duration::from_secs(global.timeout);
        config.client_id = client_id.cloned();
        config.retry = RetryPolicy::none();
        Client::connect_lazy(config)
    };
    (0..args.connections).map(one).collect()
}

/// The oldest `count` clients that were made by [`make_client`] or as by it, or as many as there are.
async fn clients(operator: &Client, count: u32) -> Result<Vec<String>, herald_sdk::Error> {
    let mut asked =
        v1::ListClientsRequest { name_prefix: PREFIX.into(), page_size: 500, ..Default::default() };
    let mut ids = Vec::new();
    loop {
        let page = operator.list_clients(asked.clone()).await?;
        ids.extend(page.clients.into_iter().map(|client| client.id));
        if page.next_page_token.is_empty() || ids.len() >= count as usize {
            return Ok(ids);
        }
        asked.page_token = page.next_page_token;
    }
}

/// A new key of the client, or of a new one.
async fn make_key(operator: &Client, number: u32, id: Option<String>) -> Result<String, herald_sdk::Error> {
    let client_id = match id {
        Some(id) => id,
        None => make_client(operator, number).await?,
    };
    let key = v1::CreateApiKeyRequest {
        client_id,
        name: "bench".into(),
        scopes: vec![v1::Scope::Send.into(), v1::Scope::Read.into()],
        ..Default::default()
    };
    Ok(operator.create_api_key(key).await?.secret)
}

/// A sandbox client with credit that does not end. Answers its id.
async fn make_client(operator: &Client, number: u32) -> Result<String, herald_sdk::Error> {
    let client = v1::Client { name: format!("{PREFIX}{number}"), is_sandbox: true, ..Default::default() };
    let client = operator
        .create_client(v1::CreateClientRequest { client: Some(client), ..Default::default() })
        .await?;
    let credit =
        v1::TopUpRequest { client_id: client.id.clone(), amount_micros: CREDIT_MICROS, ..Default::default() };
    operator.top_up(credit).await?;
    Ok(client.id)
}
