//! A client of the gateway, as its operator sets it up.

use std::time::Duration;

use herald_sdk::{Client, v1};

use super::herald::Herald;
use super::wait::until;

/// The client to make. The default is a sandbox client with credit for thousands of parts, that waits only a short
/// time for reports.
#[derive(Clone, Debug)]
pub(crate) struct NewAccount {
    pub(crate) client: v1::Client,
    pub(crate) credit_micros: i64,
}

impl Default for NewAccount {
    fn default() -> Self {
        let client = v1::Client {
            name: "story".into(),
            is_sandbox: true,
            report_timeout: Some(span(Duration::from_secs(5))),
            resend_after: Some(span(Duration::from_secs(1))),
            ..Default::default()
        };
        Self { client, credit_micros: 1_000_000_000 }
    }
}

/// A client that was made, with its key for everything that clients may do.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) client: Client,
}

impl NewAccount {
    pub(crate) fn with_credit(credit_micros: i64) -> Self {
        Self { credit_micros, ..Self::default() }
    }

    /// `connect` makes a client of the SDK with a key.
    pub(super) async fn create(self, operator: &Client, connect: impl Fn(&str) -> Client) -> Account {
        let request = v1::CreateClientRequest { client: Some(self.client), ..Default::default() };
        let made = operator.create_client(request).await;
        let id = made.expect("the client is made").id;
        if self.credit_micros > 0 {
            let credit = v1::TopUpRequest {
                client_id: id.clone(),
                amount_micros: self.credit_micros,
                idempotency_key: "first".into(),
                ..Default::default()
            };
            operator.top_up(credit).await.expect("credit is booked");
        }
        let scopes = [v1::Scope::Send, v1::Scope::Read, v1::Scope::Billing];
        let key = new_key_by(operator, &id, &scopes).await;
        Account { client: connect(&key), id, key }
    }
}

/// A new key of the client, or of an operator when `client_id` is empty.
pub(crate) async fn new_key(herald: &Herald, client_id: &str, scopes: &[v1::Scope]) -> String {
    new_key_by(&herald.operator(), client_id, scopes).await
}

async fn new_key_by(operator: &Client, client_id: &str, scopes: &[v1::Scope]) -> String {
    let request = v1::CreateApiKeyRequest {
        client_id: client_id.to_owned(),
        name: "story".into(),
        scopes: scopes.iter().map(|scope| i32::from(*scope)).collect(),
        ..Default::default()
    };
    operator.create_api_key(request).await.expect("the key is made").secret
}

/// As protobuf writes it.
pub(crate) fn span(span: Duration) -> prost_types::Duration {
    span.try_into().expect("a short time")
}

/// A request to send, as typed by hand.
pub(crate) fn sms(to: &str, text: &str) -> v1::SendMessageRequest {
    v1::SendMessageRequest { to: to.into(), text: text.into(), ..Default::default() }
}

/// Waits until the money of every message is decided; answers the balance then.
pub(crate) async fn nothing_held(client: &Client) -> v1::Balance {
    until("the end of every hold", async || {
        let balance = client.balance().await.expect("the balance can be read");
        (balance.held_micros == 0).then_some(balance)
    })
    .await
}

/// All messages of the client, newest first.
pub(crate) async fn every_message(client: &Client) -> Vec<v1::Message> {
    let mut request = v1::ListMessagesRequest { page_size: 500, ..Default::default() };
    let mut messages = Vec::new();
    loop {
        let page = client.list_messages(request.clone()).await.expect("messages can be listed");
        messages.extend(page.messages);
        if page.next_page_token.is_empty() {
            return messages;
        }
        request.page_token = page.next_page_token;
    }
}
