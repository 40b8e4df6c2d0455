//! The methods, and what their requests name.

use prost_reflect::MethodDescriptor;
use serde_json::{Value, json};

use crate::support::raw;

/// One method: the scope that it needs, a request that its rightful caller may make, and the fields in which a request
/// names something that belongs to somebody.
pub(super) struct Row {
    pub(super) method: &'static str,
    /// Empty = any key will do.
    pub(super) scope: &'static str,
    pub(super) request: fn(&Things) -> Value,
    pub(super) names: &'static [(&'static str, Named)],
}

/// What a field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Message,
    Client,
    ResumeToken,
    MessagesPage,
    TransactionsPage,
}

/// What belongs to one client.
pub(super) struct Things {
    pub(super) client: String,
    pub(super) message: String,
    pub(super) resume_token: String,
    pub(super) messages_page: String,
    pub(super) transactions_page: String,
}

const MESSAGE: (&str, Named) = ("message_id", Named::Message);
const CLIENT: (&str, Named) = ("client_id", Named::Client);
pub(super) const RESUME_TOKEN: (&str, Named) = ("resume_token", Named::ResumeToken);
const MESSAGES_PAGE: (&str, Named) = ("page_token", Named::MessagesPage);
const TRANSACTIONS_PAGE: (&str, Named) = ("page_token", Named::TransactionsPage);

pub(super) const ROWS: &[Row] = &[
    Row {
        method: "MessagingService/SendMessage",
        scope: "SEND",
        request: |_| json!({"to": "+12025550100", "text": "Hello"}),
        names: &[],
    },
    Row {
        method: "MessagingService/GetMessage",
        scope: "READ",
        request: |own| json!({"message_id": own.message}),
        names: &[MESSAGE],
    },
    Row {
        method: "MessagingService/ListMessages",
        scope: "READ",
        request: |_| json!({}),
        names: &[MESSAGES_PAGE],
    },
    Row {
        method: "MessagingService/SubscribeDeliveryReports",
        scope: "READ",
        request: |_| json!({"from_oldest": false}),
        names: &[("message_ids", Named::Message), RESUME_TOKEN],
    },
    Row {
        method: "MessagingService/ListDeliveryReports",
        scope: "READ",
        request: |_| json!({}),
        names: &[("message_ids", Named::Message), RESUME_TOKEN],
    },
    Row {
        method: "EventService/SubscribeEvents",
        scope: "READ",
        request: |_| json!({}),
        names: &[RESUME_TOKEN],
    },
    Row { method: "EventService/ListEvents", scope: "READ", request: |_| json!({}), names: &[RESUME_TOKEN] },
    Row { method: "BillingService/GetBalance", scope: "BILLING", request: |_| json!({}), names: &[] },
    Row {
        method: "BillingService/ListTransactions",
        scope: "BILLING",
        request: |_| json!({}),
        names: &[MESSAGE, TRANSACTIONS_PAGE],
    },
    Row {
        method: "BillingService/TopUp",
        scope: "ADMIN",
        request: |own| json!({"client_id": own.client, "amount_micros": 1, "idempotency_key": "one"}),
        names: &[CLIENT],
    },
    Row { method: "AccountService/GetAccount", scope: "", request: |_| json!({}), names: &[] },
    Row {
        method: "AdminService/CreateClient",
        scope: "ADMIN",
        request: |_| json!({"client": {"name": "another", "is_sandbox": true}}),
        names: &[],
    },
    Row {
        method: "AdminService/GetClient",
        scope: "ADMIN",
        request: |own| json!({"client_id": own.client}),
        names: &[CLIENT],
    },
    Row {
        method: "AdminService/CreateApiKey",
        scope: "ADMIN",
        request: |own| json!({"client_id": own.client, "name": "another", "scopes": ["SCOPE_READ"]}),
        names: &[CLIENT],
    },
    Row {
        method: "AdminService/AuditLedger",
        scope: "ADMIN",
        request: |own| json!({"client_id": own.client}),
        names: &[CLIENT],
    },
];

impl Things {
    pub(super) fn of(&self, named: Named) -> &str {
        match named {
            Named::Message => &self.message,
            Named::Client => &self.client,
            Named::ResumeToken => &self.resume_token,
            Named::MessagesPage => &self.messages_page,
            Named::TransactionsPage => &self.transactions_page,
        }
    }
}

/// Each row with its method.
pub(super) fn rows() -> impl Iterator<Item = (&'static Row, MethodDescriptor)> {
    ROWS.iter().map(|row| (row, method(row.method)))
}

pub(super) fn method(name: &str) -> MethodDescriptor {
    raw::methods().into_iter().find(|method| raw::short_name(method) == name).expect("the method exists")
}
