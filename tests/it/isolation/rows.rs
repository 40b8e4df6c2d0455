//! The methods, and what their requests name.

use prost_reflect::MethodDescriptor;
use serde_json::{Value, json};

use crate::support::raw;

/// One method: the scope that it needs, a request that its rightful caller may make, and the fields in which a request
/// names something that belongs to somebody.
pub(crate) struct Row {
    pub(crate) method: &'static str,
    /// Empty = any key will do.
    pub(crate) scope: &'static str,
    pub(crate) request: fn(&Things) -> Value,
    pub(crate) names: &'static [(&'static str, Named)],
}

/// What a field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Message,
    CanceledMessage,
    Client,
    ApiKey,
    ProviderKey,
    ResumeToken,
    MessagesPage,
    TransactionsPage,
}

/// What belongs to one client.
pub(crate) struct Things {
    pub(super) client: String,
    pub(super) message: String,
    /// It may be canceled again.
    pub(super) canceled: String,
    /// The id of one of its API keys, which nobody uses.
    pub(super) api_key: String,
    /// The id of a provider's key.
    pub(super) provider_key: String,
    pub(super) resume_token: String,
    pub(super) messages_page: String,
    pub(super) transactions_page: String,
}

const MESSAGE: (&str, Named) = ("message_id", Named::Message);
const CLIENT: (&str, Named) = ("client_id", Named::Client);
const API_KEY: (&str, Named) = ("key_id", Named::ApiKey);
const PROVIDER_KEY: (&str, Named) = ("key_id", Named::ProviderKey);
pub(super) const RESUME_TOKEN: (&str, Named) = ("resume_token", Named::ResumeToken);
const MESSAGES_PAGE: (&str, Named) = ("page_token", Named::MessagesPage);
const TRANSACTIONS_PAGE: (&str, Named) = ("page_token", Named::TransactionsPage);

/// The methods that providers call with keys of their own; `push_reports` tries them.
pub(super) const OF_PROVIDERS: &[&str] = &["ReportService/IngestDeliveryReports"];

pub(super) const ROWS: &[Row] = &[
    Row {
        method: "MessagingService/SendMessage",
        scope: "SEND",
        request: |_| json!({"to": "+12025550100", "text": "Hello"}),
        names: &[],
    },
    Row {
        method: "MessagingService/SendMessages",
        scope: "SEND",
        request: |_| json!({"messages": [{"to": "+12025550100", "text": "Hello"}]}),
        names: &[],
    },
    Row {
        method: "MessagingService/StreamMessages",
        scope: "SEND",
        request: |_| json!({"message": {"to": "+12025550100", "text": "Hello", "idempotency_key": "up"}}),
        names: &[],
    },
    Row {
        method: "MessagingService/CancelMessage",
        scope: "SEND",
        request: |own| json!({"message_id": own.canceled}),
        names: &[("message_id", Named::CanceledMessage)],
    },
    Row {
        method: "MessagingService/PreviewMessage",
        scope: "READ",
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
    Row { method: "BillingService/WatchBalance", scope: "BILLING", request: |_| json!({}), names: &[] },
    Row {
        method: "BillingService/Quote",
        scope: "BILLING",
        request: |_| json!({"to": ["+12025550100"], "part_count": 1}),
        names: &[],
    },
    Row {
        method: "BillingService/GetStatement",
        scope: "BILLING",
        request: |_| json!({"start_time": "2026-01-01T00:00:00Z"}),
        names: &[],
    },
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
    Row {
        method: "BillingService/AdjustBalance",
        scope: "ADMIN",
        request: |own| json!({"client_id": own.client, "delta_micros": 1, "idempotency_key": "one", "note": "as asked"}),
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
        method: "AdminService/ListClients",
        scope: "ADMIN",
        request: |_| json!({}),
        names: &[MESSAGES_PAGE],
    },
    Row {
        method: "AdminService/UpdateClient",
        scope: "ADMIN",
        request: |own| json!({"client": {"id": own.client, "low_balance_micros": 5}, "update_mask": "lowBalanceMicros"}),
        names: &[("client.id", Named::Client)],
    },
    Row {
        method: "AdminService/SuspendClient",
        scope: "ADMIN",
        request: |own| json!({"client_id": own.client, "note": "unpaid"}),
        names: &[CLIENT],
    },
    Row {
        method: "AdminService/ResumeClient",
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
        method: "AdminService/ListApiKeys",
        scope: "ADMIN",
        request: |own| json!({"client_id": own.client}),
        names: &[CLIENT, MESSAGES_PAGE],
    },
    Row {
        method: "AdminService/RotateApiKey",
        scope: "ADMIN",
        request: |own| json!({"key_id": own.api_key}),
        names: &[API_KEY],
    },
    Row { method: "AdminService/ListRates", scope: "ADMIN", request: |_| json!({}), names: &[MESSAGES_PAGE] },
    Row {
        method: "AdminService/SetRates",
        scope: "ADMIN",
        request: |_| json!({"rates": [{"currency": "GBP", "part_price_micros": 1}]}),
        names: &[],
    },
    Row {
        method: "AdminService/DeleteRates",
        scope: "ADMIN",
        request: |_| json!({"rates": [{"currency": "GBP"}]}),
        names: &[],
    },
    Row {
        method: "AdminService/ListDeadLetters",
        scope: "ADMIN",
        request: |own| json!({"client_id": own.client}),
        names: &[CLIENT, MESSAGES_PAGE],
    },
    Row {
        method: "AdminService/ReplayDeadLetters",
        scope: "ADMIN",
        request: |own| json!({"message_ids": [own.message]}),
        names: &[("message_ids", Named::Message)],
    },
    Row { method: "AdminService/ListProviders", scope: "ADMIN", request: |_| json!({}), names: &[] },
    Row {
        method: "AdminService/CreateProviderKey",
        scope: "ADMIN",
        request: |_| json!({"provider": "simulator", "name": "another"}),
        names: &[],
    },
    Row { method: "AdminService/ListProviderKeys", scope: "ADMIN", request: |_| json!({}), names: &[] },
    Row {
        method: "AdminService/RevokeProviderKey",
        scope: "ADMIN",
        request: |own| json!({"key_id": own.provider_key}),
        names: &[PROVIDER_KEY],
    },
    Row {
        method: "AdminService/ListUnmatchedReports",
        scope: "ADMIN",
        request: |_| json!({}),
        names: &[MESSAGES_PAGE],
    },
    Row { method: "AdminService/GetRetention", scope: "ADMIN", request: |_| json!({}), names: &[] },
    Row {
        method: "AdminService/UpdateRetention",
        scope: "ADMIN",
        request: |_| json!({"retention": {"audit_entries": "2592000s"}}),
        names: &[],
    },
    Row {
        method: "AdminService/ListAuditEntries",
        scope: "ADMIN",
        request: |own| json!({"client_id": own.client}),
        names: &[CLIENT, API_KEY, MESSAGES_PAGE],
    },
    Row {
        method: "AdminService/AuditLedger",
        scope: "ADMIN",
        request: |own| json!({"client_id": own.client}),
        names: &[CLIENT],
    },
    // The last: others need the key.
    Row {
        method: "AdminService/RevokeApiKey",
        scope: "ADMIN",
        request: |own| json!({"key_id": own.api_key}),
        names: &[API_KEY],
    },
];

impl Things {
    pub(super) fn of(&self, named: Named) -> &str {
        match named {
            Named::Message => &self.message,
            Named::CanceledMessage => &self.canceled,
            Named::Client => &self.client,
            Named::ApiKey => &self.api_key,
            Named::ProviderKey => &self.provider_key,
            Named::ResumeToken => &self.resume_token,
            Named::MessagesPage => &self.messages_page,
            Named::TransactionsPage => &self.transactions_page,
        }
    }
}

/// Each row with its method.
pub(crate) fn rows() -> impl Iterator<Item = (&'static Row, MethodDescriptor)> {
    ROWS.iter().map(|row| (row, raw::method(row.method)))
}
