//! The table: each error that an RPC documents for itself, with a call that provokes it.

use herald_sdk::v1::ErrorReason::{self, *};
use serde_json::{Value, json};

use super::world::{ABSENT, World};
use crate::docs::described::Place;

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub(super) enum Who {
    /// A client with credit and every scope.
    Own,
    /// One without credit.
    Poor,
    /// One that may not send.
    Suspended,
    /// A key with as many streams as it may have.
    Streaming,
    Operator,
    Provider,
    /// A provider without its key, and one with another provider's.
    Keyless,
    Stranger,
}

pub(super) enum Request {
    Json(Box<dyn Fn(&World) -> Value + Send + Sync>),
    /// Larger than any method takes.
    Huge,
}

pub(super) struct Row {
    pub(super) method: &'static str,
    pub(super) place: Place,
    pub(super) reason: ErrorReason,
    pub(super) who: Who,
    pub(super) request: Request,
}

type Make = fn(&World) -> Value;
type Errors = &'static [(ErrorReason, Who, Make)];

/// Every row.
pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (method, errors) in OF_CALLS {
        for (reason, who, make) in *errors {
            rows.push(row(method, Place::Call, *reason, *who, *make));
        }
    }
    for (method, errors) in OF_ITEMS {
        for (reason, who, make) in *errors {
            rows.push(row(method, Place::Item, *reason, *who, *make));
        }
    }
    for method in TOO_LARGE {
        let who = if *method == INGEST { Who::Provider } else { who_may(method) };
        let (place, reason) = (Place::Call, RequestTooLarge);
        rows.push(Row { method, place, reason, who, request: Request::Huge });
    }
    for (reason, who, make) in SENDS {
        rows.extend(send_rows(*reason, *who, *make));
    }
    rows
}

fn row(
    method: &'static str,
    place: Place,
    reason: ErrorReason,
    who: Who,
    make: impl Fn(&World) -> Value + Send + Sync + 'static,
) -> Row {
    Row { method, place, reason, who, request: Request::Json(Box::new(make)) }
}

fn who_may(method: &str) -> Who {
    if method.starts_with("AdminService") { Who::Operator } else { Who::Own }
}

/// A send is refused for the same reasons alone, in a batch and on a stream, where each has a key.
fn send_rows(reason: ErrorReason, who: Who, make: Make) -> Vec<Row> {
    let keyed = move |world: &World, on: &str| {
        let mut send = make(world);
        if send["idempotency_key"].is_null() || reason == OutcomeUncertain {
            send["idempotency_key"] = json!(format!("{on}/{}", reason.as_str_name()));
        }
        send
    };
    let (call, item) = (Place::Call, Place::Item);
    let mut rows = vec![
        row("MessagingService/SendMessage", call, reason, who, make),
        row(
            "MessagingService/SendMessages",
            item,
            reason,
            who,
            move |world| json!({"messages": [keyed(world, "batch")]}),
        ),
    ];
    // On a stream the rate holds the caller back, and no message is refused for it.
    if reason != RateLimited {
        rows.push(row(
            "MessagingService/StreamMessages",
            item,
            reason,
            who,
            move |world| json!({"message": keyed(world, "stream")}),
        ));
    }
    rows
}

const INGEST: &str = "ReportService/IngestDeliveryReports";

const TOO_LARGE: &[&str] = &[
    "MessagingService/SendMessage",
    "MessagingService/SendMessages",
    "BillingService/Quote",
    "AdminService/SetRates",
    INGEST,
];

const SENDS: Errors = &[
    (InvalidField, Who::Own, |_| json!({"to": "+12025550100", "text": "Hello", "max_parts": 300})),
    (RecipientInvalid, Who::Own, |_| json!({"to": "nobody", "text": "Hello"})),
    (SenderInvalid, Who::Own, |_| json!({"to": "+12025550100", "text": "Hello", "sender": "TwelveLetter"})),
    (
        TextNotEncodable,
        Who::Own,
        |_| json!({"to": "+12025550100", "text": "日", "encoding": "ENCODING_GSM7"}),
    ),
    (TooManyParts, Who::Own, |_| json!({"to": "+12025550100", "text": "a".repeat(161), "max_parts": 1})),
    (PriceAboveMax, Who::Own, |_| json!({"to": "+12025550100", "text": "Hello", "max_price_micros": 1})),
    (NoRoute, Who::Own, |_| json!({"to": "+12025550150", "text": "Hello"})),
    (NoRate, Who::Own, |_| json!({"to": "+12025550151", "text": "Hello"})),
    (RecipientOptedOut, Who::Own, |_| json!({"to": "+12025550154", "text": "Hello"})),
    (InsufficientCredit, Who::Poor, |_| json!({"to": "+12025550100", "text": "Hello"})),
    (ClientSuspended, Who::Suspended, |_| json!({"to": "+12025550100", "text": "Hello"})),
    (
        IdempotencyKeyReused,
        Who::Own,
        |world| json!({"to": "+12025550100", "text": "Another", "idempotency_key": world.used_key}),
    ),
    (RateLimited, Who::Own, |_| json!({"to": "+12025550153", "text": "Hello"})),
    (
        OutcomeUncertain,
        Who::Own,
        |_| json!({"to": "+12025550155", "text": "Hello", "idempotency_key": "alone"}),
    ),
];

const POSITIONS: Errors = &[
    (InvalidField, Who::Own, |world| json!({"resume_token": world.aged_token, "from_oldest": true})),
    (ResumeTokenInvalid, Who::Own, |_| json!({"resume_token": "x"})),
    (ResumeTokenExpired, Who::Own, |world| json!({"resume_token": world.aged_token})),
    (TooManyStreams, Who::Streaming, |_| json!({})),
];

const CLIENT_NAMED: Errors = &[
    (InvalidField, Who::Operator, |_| json!({"client_id": "7", "note": "as asked"})),
    (ResourceNotFound, Who::Operator, |_| json!({"client_id": ABSENT, "note": "as asked"})),
];

const KEY_NAMED: Errors = &[
    (InvalidField, Who::Operator, |_| json!({"key_id": "no-id"})),
    (ResourceNotFound, Who::Operator, |_| json!({"key_id": "test0123456789abcdef"})),
];

const PAGES_OF_OPERATORS: Errors = &[
    (InvalidField, Who::Operator, |_| json!({"page_size": -1})),
    (PageTokenInvalid, Who::Operator, |_| json!({"page_token": "x"})),
];

const PAGES: Errors = &[
    (InvalidField, Who::Own, |_| json!({"page_size": -1})),
    (PageTokenInvalid, Who::Own, |_| json!({"page_token": "x"})),
];

const PAGES_OF_THE_LOG: Errors = &[
    (InvalidField, Who::Own, |_| json!({"page_size": -1})),
    (ResumeTokenInvalid, Who::Own, |_| json!({"resume_token": "x"})),
    (ResumeTokenExpired, Who::Own, |world| json!({"resume_token": world.aged_token})),
];

const OF_CALLS: &[(&str, Errors)] = &[
    ("MessagingService/SendMessages", &[(InvalidField, Who::Own, |_| json!({}))]),
    (
        "MessagingService/StreamMessages",
        &[
            (InvalidField, Who::Own, |_| json!({"tag": "a frame without a message"})),
            (TooManyStreams, Who::Streaming, |_| json!({})),
        ],
    ),
    (
        "MessagingService/GetMessage",
        &[
            (InvalidField, Who::Own, |_| json!({"message_id": "7"})),
            (ResourceNotFound, Who::Own, |_| json!({"message_id": ABSENT})),
        ],
    ),
    ("MessagingService/ListMessages", PAGES),
    (
        "MessagingService/CancelMessage",
        &[
            (InvalidField, Who::Own, |_| json!({"message_id": "7"})),
            (ResourceNotFound, Who::Own, |_| json!({"message_id": ABSENT})),
            (MessageNotCancelable, Who::Own, |world| json!({"message_id": world.delivered})),
        ],
    ),
    (
        "MessagingService/PreviewMessage",
        &[
            (InvalidField, Who::Own, |_| json!({})),
            (RecipientInvalid, Who::Own, |_| json!({"to": "nobody", "text": "Hello"})),
            (SenderInvalid, Who::Own, |_| json!({"text": "Hello", "sender": "TwelveLetter"})),
            (TextNotEncodable, Who::Own, |_| json!({"text": "日", "encoding": "ENCODING_GSM7"})),
            (TooManyParts, Who::Own, |_| json!({"text": "a".repeat(40_000)})),
            (NoRoute, Who::Own, |_| json!({"to": "+12025550150", "text": "Hello"})),
            (NoRate, Who::Own, |_| json!({"to": "+12025550151", "text": "Hello"})),
            (RecipientOptedOut, Who::Own, |_| json!({"to": "+12025550154", "text": "Hello"})),
        ],
    ),
    ("MessagingService/SubscribeDeliveryReports", POSITIONS),
    ("MessagingService/ListDeliveryReports", PAGES_OF_THE_LOG),
    ("EventService/SubscribeEvents", POSITIONS),
    ("EventService/ListEvents", PAGES_OF_THE_LOG),
    (
        "BillingService/WatchBalance",
        &[
            (InvalidField, Who::Own, |_| json!({"low_balance_micros": -1})),
            (TooManyStreams, Who::Streaming, |_| json!({})),
        ],
    ),
    ("BillingService/ListTransactions", PAGES),
    ("BillingService/GetStatement", &[(InvalidField, Who::Own, |_| json!({}))]),
    (
        "BillingService/Quote",
        &[
            (InvalidField, Who::Own, |_| json!({})),
            (
                TextNotEncodable,
                Who::Own,
                |_| json!({"to": ["+12025550100"], "text": "日", "encoding": "ENCODING_GSM7"}),
            ),
            (TooManyParts, Who::Own, |_| json!({"to": ["+12025550100"], "text": "a".repeat(2_000)})),
        ],
    ),
    (
        "BillingService/TopUp",
        &[
            (InvalidField, Who::Operator, |world| booking(world, "invalid", json!({"amount_micros": 0}))),
            (IdempotencyKeyRequired, Who::Operator, |world| booking(world, "", json!({"amount_micros": 1}))),
            (IdempotencyKeyReused, Who::Operator, |world| {
                booking(world, "first", json!({"amount_micros": 1}))
            }),
            (CurrencyMismatch, Who::Operator, |world| {
                booking(world, "euros", json!({"amount_micros": 1, "currency": "EUR"}))
            }),
            (ResourceNotFound, Who::Operator, |world| {
                booking(world, "nobody", json!({"amount_micros": 1, "client_id": ABSENT}))
            }),
        ],
    ),
    (
        "BillingService/AdjustBalance",
        &[
            (InvalidField, Who::Operator, |world| adjustment(world, "invalid", json!({"delta_micros": 0}))),
            (IdempotencyKeyRequired, Who::Operator, |world| {
                adjustment(world, "", json!({"delta_micros": 1}))
            }),
            (IdempotencyKeyReused, Who::Operator, |world| {
                adjustment(world, &world.used_key, json!({"delta_micros": -1}))
            }),
            (InsufficientCredit, Who::Operator, |world| {
                adjustment(
                    world,
                    "below zero",
                    json!({"delta_micros": -1_000_000_000_000_i64, "idempotency_key": "low"}),
                )
            }),
            (ResourceNotFound, Who::Operator, |world| {
                adjustment(world, "nobody", json!({"delta_micros": 1, "client_id": ABSENT}))
            }),
        ],
    ),
    (
        "AdminService/CreateClient",
        &[
            (InvalidField, Who::Operator, |_| json!({})),
            (
                IdempotencyKeyReused,
                Who::Operator,
                |world| json!({"client": {"name": "another"}, "idempotency_key": world.used_key}),
            ),
        ],
    ),
    (
        "AdminService/GetClient",
        &[
            (InvalidField, Who::Operator, |_| json!({"client_id": "7"})),
            (ResourceNotFound, Who::Operator, |_| json!({"client_id": ABSENT})),
        ],
    ),
    ("AdminService/ListClients", PAGES_OF_OPERATORS),
    (
        "AdminService/UpdateClient",
        &[
            (InvalidField, Who::Operator, |_| json!({"client": {"id": ABSENT}})),
            (
                ResourceNotFound,
                Who::Operator,
                |_| json!({"client": {"id": ABSENT, "name": "another"}, "update_mask": "name"}),
            ),
        ],
    ),
    ("AdminService/SuspendClient", CLIENT_NAMED),
    ("AdminService/ResumeClient", CLIENT_NAMED),
    (
        "AdminService/CreateApiKey",
        &[
            (InvalidField, Who::Operator, |_| json!({})),
            (
                ResourceNotFound,
                Who::Operator,
                |_| json!({"client_id": ABSENT, "name": "another", "scopes": ["SCOPE_READ"]}),
            ),
        ],
    ),
    ("AdminService/ListApiKeys", PAGES_OF_OPERATORS),
    ("AdminService/RotateApiKey", KEY_NAMED),
    ("AdminService/RevokeApiKey", KEY_NAMED),
    ("AdminService/ListRates", PAGES_OF_OPERATORS),
    ("AdminService/SetRates", &[(InvalidField, Who::Operator, |_| json!({}))]),
    ("AdminService/DeleteRates", &[(InvalidField, Who::Operator, |_| json!({}))]),
    ("AdminService/ListDeadLetters", PAGES_OF_OPERATORS),
    ("AdminService/ReplayDeadLetters", &[(InvalidField, Who::Operator, |_| json!({"message_ids": ["7"]}))]),
    (
        "AdminService/CreateProviderKey",
        &[
            (InvalidField, Who::Operator, |_| json!({})),
            (ResourceNotFound, Who::Operator, |_| json!({"provider": "nobody", "name": "another"})),
        ],
    ),
    ("AdminService/RevokeProviderKey", KEY_NAMED),
    ("AdminService/ListUnmatchedReports", PAGES_OF_OPERATORS),
    ("AdminService/UpdateRetention", &[(InvalidField, Who::Operator, |_| json!({}))]),
    ("AdminService/ListAuditEntries", PAGES_OF_OPERATORS),
    (
        "AdminService/AuditLedger",
        &[
            (InvalidField, Who::Operator, |_| json!({"client_id": "7"})),
            (ResourceNotFound, Who::Operator, |_| json!({"client_id": ABSENT})),
        ],
    ),
    (
        INGEST,
        &[
            (InvalidField, Who::Provider, |_| json!({"provider": "simulator"})),
            (ApiKeyMissing, Who::Keyless, |_| report("simulator")),
            (ApiKeyInvalid, Who::Stranger, |_| report("simulator")),
            (ApiKeyInvalid, Who::Provider, |_| report("another")),
        ],
    ),
];

const OF_ITEMS: &[(&str, Errors)] = &[
    (
        "MessagingService/StreamMessages",
        &[(
            IdempotencyKeyRequired,
            Who::Own,
            |_| json!({"message": {"to": "+12025550100", "text": "Hello"}}),
        )],
    ),
    (
        "BillingService/Quote",
        &[
            (RecipientInvalid, Who::Own, |_| json!({"to": ["nobody"], "part_count": 1})),
            (NoRoute, Who::Own, |_| json!({"to": ["+12025550150"], "part_count": 1})),
            (NoRate, Who::Own, |_| json!({"to": ["+12025550151"], "part_count": 1})),
            (RecipientOptedOut, Who::Own, |_| json!({"to": ["+12025550154"], "part_count": 1})),
        ],
    ),
    // What has changed since the letter was accepted.
    (
        "AdminService/ReplayDeadLetters",
        &[
            (ResourceNotFound, Who::Operator, |_| json!({"message_ids": [ABSENT]})),
            (DuplicateRiskNotAccepted, Who::Operator, |world| world.replay("risky")),
            (TooManyParts, Who::Operator, |world| world.replay("long")),
            (NoRoute, Who::Operator, |world| world.replay("without a route")),
            (NoRate, Who::Operator, |world| world.replay("without a rate")),
            (RecipientOptedOut, Who::Operator, |world| world.replay("opted out")),
            (InsufficientCredit, Who::Operator, |world| world.replay("poor")),
            (ClientSuspended, Who::Operator, |world| world.replay("suspended")),
            (RateLimited, Who::Operator, |world| world.replay("burst")),
        ],
    ),
];

fn booking(world: &World, key: &str, with: Value) -> Value {
    let mut request = json!({"client_id": world.own.id, "idempotency_key": key});
    let (Some(request_fields), Value::Object(with)) = (request.as_object_mut(), with) else {
        panic!("both are objects")
    };
    request_fields.extend(with);
    request
}

fn adjustment(world: &World, key: &str, with: Value) -> Value {
    let mut request = booking(world, key, with);
    request["note"] = json!("as asked");
    request
}

pub(super) fn report(provider: &str) -> Value {
    json!({"provider": provider, "reports": [{"provider_message_id": "r1", "status": "STATUS_DELIVERED"}]})
}
