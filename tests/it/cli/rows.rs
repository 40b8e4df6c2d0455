//! Each verb with an answer, and how it is refused.

/// Whose key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Client,
    Operator,
}

/// What a verb prints with `--json`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// An object with these fields.
    Object(&'static [&'static str]),
    /// An array whose first element has these fields.
    List(&'static [&'static str]),
    /// An array, which may be empty.
    Array,
}

/// A verb that is answered. With a wrong key it must be refused.
pub(super) struct Answered {
    pub(super) who: Who,
    /// Capital words stand for what the world has: CLIENT, MESSAGE, SCHEDULED, KEY, LETTER, ABSENT.
    pub(super) arguments: &'static [&'static str],
    pub(super) shape: Shape,
}

/// A verb that is refused, with the exit code and a word of its error.
pub(super) type Refused = (Who, &'static [&'static str], i32, &'static str);

const MESSAGE: &[&str] = &["id", "status", "priceMicros", "createTime"];
const CLIENT: &[&str] = &["id", "name", "state", "currency"];
const TRANSACTION: &[&str] = &["seq", "id", "type", "availableDeltaMicros"];
const KEY: &[&str] = &["id", "name", "scopes"];

const fn client(arguments: &'static [&'static str], shape: Shape) -> Answered {
    Answered { who: Who::Client, arguments, shape }
}

const fn operator(arguments: &'static [&'static str], shape: Shape) -> Answered {
    Answered { who: Who::Operator, arguments, shape }
}

pub(super) const ANSWERED: &[Answered] = &[
    client(&["send", "+12025550100", "Hello", "--key", "k1"], Shape::Object(MESSAGE)),
    client(&["send", "+12025550100", "Hi", "--wait", "--class", "otp"], Shape::Object(MESSAGE)),
    client(&["messages", "list", "--to", "+12025550100"], Shape::List(MESSAGE)),
    client(&["messages", "list", "--status", "canceled", "--since", "1h"], Shape::Array),
    client(&["messages", "get", "MESSAGE"], Shape::Object(MESSAGE)),
    client(&["messages", "cancel", "SCHEDULED"], Shape::Object(MESSAGE)),
    client(
        &["preview", "Ça va", "--to", "+12025550100"],
        Shape::Object(&["encoding", "parts", "forcingCharacters"]),
    ),
    client(
        &["quote", "--to", "+12025550100", "--parts", "2"],
        Shape::Object(&["lines", "totalMicros", "isAffordable"]),
    ),
    client(&["watch", "--from-oldest", "--count", "1", "--final"], Shape::Object(&["resumeToken"])),
    client(&["balance"], Shape::Object(&["availableMicros", "heldMicros", "isLow"])),
    client(&["balance", "--watch", "--count", "1"], Shape::Object(&["availableMicros", "seq"])),
    client(&["balance", "--transactions", "--type", "top_up"], Shape::List(TRANSACTION)),
    client(&["statement", "--since", "1h"], Shape::Object(&["lines", "closingAvailableMicros"])),
    client(&["whoami"], Shape::Object(&["client", "apiKey", "serverVersion"])),
    client(&["call", "BillingService/GetBalance"], Shape::Object(&["balance"])),
    operator(&["whoami"], Shape::Object(&["apiKey", "mode"])),
    operator(&["balance", "--client", "CLIENT"], Shape::Object(&["availableMicros"])),
    operator(&["topup", "CLIENT", "25.50", "--key", "t1"], Shape::Object(TRANSACTION)),
    operator(&["adjust", "CLIENT", "-0.50", "--note", "why"], Shape::Object(TRANSACTION)),
    operator(&["client", "create", "shop", "--sandbox", "--low-balance", "5"], Shape::Object(CLIENT)),
    operator(&["client", "get", "CLIENT"], Shape::Object(CLIENT)),
    operator(&["client", "list", "--state", "active"], Shape::List(CLIENT)),
    operator(
        &["client", "update", "CLIENT", "--max-parts", "7", "--unset", "low_balance_micros"],
        Shape::Object(CLIENT),
    ),
    operator(&["client", "suspend", "CLIENT", "--note", "unpaid"], Shape::Object(CLIENT)),
    operator(&["client", "resume", "CLIENT"], Shape::Object(CLIENT)),
    operator(&["key", "create", "shop", "--client", "CLIENT"], Shape::Object(&["apiKey", "secret"])),
    operator(&["key", "list", "--client", "CLIENT"], Shape::List(KEY)),
    operator(&["key", "rotate", "KEY", "--overlap", "1h"], Shape::Object(&["apiKey", "secret", "oldApiKey"])),
    operator(&["key", "revoke", "KEY"], Shape::Object(KEY)),
    operator(&["rate", "set", "44=0.05", "default=0.01"], Shape::Object(&["setCount"])),
    operator(&["rate", "list", "--currency", "USD"], Shape::List(&["currency", "prefix", "partPriceMicros"])),
    operator(&["rate", "import", "rates.csv"], Shape::Object(&["setCount"])),
    operator(&["rate", "delete", "44"], Shape::Object(&["deletedCount"])),
    operator(&["dead-letters", "list", "--open"], Shape::List(&["clientId", "message", "hasUnknownAttempt"])),
    operator(&["dead-letters", "replay", "LETTER", "--dry-run"], Shape::Object(&["outcomes"])),
    operator(&["providers"], Shape::List(&["name", "health", "window"])),
    operator(&["provider-key", "create", "simulator", "push"], Shape::Object(&["providerKey", "secret"])),
    operator(&["provider-key", "list"], Shape::List(&["id", "provider"])),
    operator(&["provider-key", "revoke", "PROVIDER-KEY"], Shape::Object(&["id", "revokeTime"])),
    operator(&["unmatched-reports", "--provider", "simulator"], Shape::Array),
    operator(&["audit", "--client", "CLIENT"], Shape::List(&["action", "keyId", "after"])),
    operator(&["ledger", "audit"], Shape::List(&["clientId", "balanceDriftMicros"])),
    operator(&["retention", "set", "--events", "90d"], Shape::Object(&["events"])),
    operator(&["retention", "show"], Shape::Object(&["events"])),
];

/// Verbs that need no server, or are one. Other tests run them.
pub(super) const OFFLINE: &[&str] = &[
    "bench",
    "completions",
    "config check",
    "config schema",
    "config show",
    "dev",
    "init",
    "migrate",
    "ready",
    "serve",
    "simulator",
];

pub(super) const REFUSED: &[Refused] = &[
    (Who::Client, &["send", "nobody", "Hello"], 3, "\n  to: "),
    (Who::Client, &["send", "+12025550152", "Hello"], 3, "INSUFFICIENT_CREDIT"),
    (Who::Client, &["send", "+12025550100", "Hello", "--max-price", "0.000001"], 3, "PRICE_ABOVE_MAX"),
    (Who::Client, &["send", "+12025550100", "Bye", "--key", "k1"], 3, "IDEMPOTENCY_KEY_REUSED"),
    (Who::Client, &["send", "+12025550100", "Hello", "--at", "2020-01-01T00:00:00Z"], 3, "schedule_time"),
    (Who::Client, &["send", "+12025550111", "Hello", "--wait"], 10, "FAILED_PERM"),
    (Who::Client, &["send", "+12025550100"], 2, "TEXT"),
    (Who::Client, &["send", "+12025550100", "Hello", "--at", "soon"], 2, "--at"),
    (Who::Client, &["send", "+12025550100", "Hello", "--priority", "urgent"], 2, "high"),
    (Who::Client, &["messages", "list", "--status", "lost"], 2, "failed_perm"),
    (Who::Client, &["messages", "get", "ABSENT"], 5, "RESOURCE_NOT_FOUND"),
    (Who::Client, &["messages", "get", "x"], 3, "message_id"),
    (Who::Client, &["messages", "cancel", "ABSENT"], 5, "RESOURCE_NOT_FOUND"),
    (Who::Client, &["messages", "cancel", "MESSAGE"], 3, "MESSAGE_NOT_CANCELABLE"),
    (Who::Client, &["preview", "Hello", "--to", "nobody"], 3, "RECIPIENT_INVALID"),
    (Who::Client, &["quote", "Hello"], 2, "--to"),
    (Who::Client, &["quote", "Hello", "--to", "+12025550100", "--file", "x"], 2, "--file"),
    (Who::Client, &["watch", "--resume", "x"], 3, "RESUME_TOKEN_INVALID"),
    (Who::Client, &["balance", "--type", "hold"], 2, "--transactions"),
    (Who::Client, &["statement"], 2, "--since"),
    (Who::Client, &["topup", "CLIENT", "1"], 4, "SCOPE_MISSING"),
    (Who::Client, &["adjust", "CLIENT", "1", "--note", "x"], 4, "SCOPE_MISSING"),
    (Who::Client, &["client", "list"], 4, "SCOPE_MISSING"),
    (Who::Client, &["audit"], 4, "SCOPE_MISSING"),
    (Who::Client, &["ledger", "audit"], 4, "SCOPE_MISSING"),
    (Who::Client, &["call", "AdminService/ListRates"], 4, "SCOPE_MISSING"),
    (Who::Client, &["call", "BillingService/GetNothing"], 1, "GetBalance"),
    (Who::Operator, &["balance"], 3, "herald-client-id"),
    (Who::Operator, &["balance", "--client", "ABSENT"], 5, "RESOURCE_NOT_FOUND"),
    (Who::Operator, &["topup", "ABSENT", "1"], 5, "RESOURCE_NOT_FOUND"),
    (Who::Operator, &["topup", "CLIENT", "1", "--currency", "EUR"], 3, "CURRENCY_MISMATCH"),
    (Who::Operator, &["topup", "CLIENT", "-1"], 2, "AMOUNT"),
    (Who::Operator, &["topup", "CLIENT", "26", "--key", "t1"], 3, "IDEMPOTENCY_KEY_REUSED"),
    (Who::Operator, &["adjust", "CLIENT", "-9999999", "--note", "x"], 3, "INSUFFICIENT_CREDIT"),
    (Who::Operator, &["adjust", "ABSENT", "1", "--note", "x"], 5, "RESOURCE_NOT_FOUND"),
    (Who::Operator, &["adjust", "CLIENT", "1"], 2, "--note"),
    (Who::Operator, &["client", "create", "shop", "--currency", "dollars"], 3, "currency"),
    (Who::Operator, &["client", "get", "ABSENT"], 5, "RESOURCE_NOT_FOUND"),
    (Who::Operator, &["client", "update", "CLIENT"], 3, "update_mask"),
    (Who::Operator, &["client", "update", "CLIENT", "--unset", "id"], 3, "INVALID_FIELD"),
    (Who::Operator, &["client", "update", "ABSENT", "--max-parts", "7"], 5, "RESOURCE_NOT_FOUND"),
    (Who::Operator, &["client", "suspend", "ABSENT", "--note", "x"], 5, "RESOURCE_NOT_FOUND"),
    (Who::Operator, &["client", "resume", "ABSENT"], 5, "RESOURCE_NOT_FOUND"),
    (Who::Operator, &["key", "create", "x", "--client", "ABSENT"], 5, "RESOURCE_NOT_FOUND"),
    (Who::Operator, &["key", "create", "x", "--scope", "send"], 3, "scopes"),
    (Who::Operator, &["key", "rotate", "nobody"], 5, "RESOURCE_NOT_FOUND"),
    (Who::Operator, &["key", "revoke", "nobody"], 5, "RESOURCE_NOT_FOUND"),
    (Who::Operator, &["rate", "set", "44=cheap"], 2, "PREFIX=PRICE"),
    (Who::Operator, &["rate", "set", "44=1", "44=2"], 3, "INVALID_FIELD"),
    (Who::Operator, &["rate", "set", "44=1", "--currency", "dollars"], 3, "INVALID_FIELD"),
    (Who::Operator, &["rate", "import", "absent.csv"], 2, "absent.csv"),
    (Who::Operator, &["dead-letters", "replay", "ABSENT"], 3, "refused"),
    (Who::Operator, &["dead-letters", "replay", "x"], 3, "message_ids"),
    (Who::Operator, &["provider-key", "create", "nobody", "x"], 5, "RESOURCE_NOT_FOUND"),
    (Who::Operator, &["provider-key", "revoke", "nobody"], 5, "RESOURCE_NOT_FOUND"),
    (Who::Operator, &["ledger", "audit", "--client", "ABSENT"], 5, "RESOURCE_NOT_FOUND"),
    (Who::Operator, &["retention", "set"], 2, "--events"),
    (Who::Operator, &["retention", "set", "--events", "1h"], 3, "events"),
    (Who::Operator, &["nothing"], 2, "nothing"),
];
