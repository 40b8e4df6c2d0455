-- Times are microseconds since the Unix epoch. Ids are 16-byte blobs. Words are those of the code.
-- Tables that belong to a client are led by client_id.

-- One row: what identifies this database.
CREATE TABLE installation (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    log_epoch  INTEGER NOT NULL
) STRICT;

CREATE TABLE secrets (
    name   TEXT PRIMARY KEY,
    value  BLOB NOT NULL CHECK (length(value) = 32)
) STRICT, WITHOUT ROWID;

CREATE TABLE clients (
    id                 BLOB PRIMARY KEY CHECK (length(id) = 16),
    name               TEXT NOT NULL,
    state              TEXT NOT NULL CHECK (state IN ('ACTIVE', 'SUSPENDED')),
    suspend_reason     TEXT NOT NULL,
    currency           TEXT NOT NULL CHECK (length(currency) = 3),
    is_sandbox         INTEGER NOT NULL CHECK (is_sandbox IN (0, 1)),
    capture_on         TEXT NOT NULL CHECK (capture_on IN ('DELIVERED', 'SENT')),
    settle_unreported  TEXT NOT NULL CHECK (settle_unreported IN ('CAPTURE', 'RELEASE')),
    report_timeout     INTEGER NOT NULL CHECK (report_timeout > 0),
    on_unknown         TEXT NOT NULL CHECK (on_unknown IN ('WAIT', 'RESEND')),
    resend_after       INTEGER NOT NULL CHECK (resend_after > 0),
    parts_per_second   INTEGER NOT NULL CHECK (parts_per_second >= 0),
    burst_parts        INTEGER NOT NULL CHECK (burst_parts >= 0),
    default_sender     TEXT NOT NULL,
    max_parts          INTEGER NOT NULL CHECK (max_parts BETWEEN 1 AND 255),
    low_balance        INTEGER NOT NULL CHECK (low_balance >= 0),
    created_at         INTEGER NOT NULL,
    revision           INTEGER NOT NULL,     -- grows with each change
    -- The idempotency key that made it, if one did, and the fingerprint of that call.
    creation_key       TEXT UNIQUE,
    creation_print     BLOB CHECK (length(creation_print) = 32),
    CHECK ((creation_key IS NULL) = (creation_print IS NULL))
) STRICT, WITHOUT ROWID;

-- The hot row of a client. Its lock orders everything that moves the client's credit or log.
CREATE TABLE client_heads (
    client_id        BLOB PRIMARY KEY REFERENCES clients (id),
    available        INTEGER NOT NULL CHECK (available >= 0),
    held             INTEGER NOT NULL CHECK (held >= 0),
    last_seq         INTEGER NOT NULL CHECK (last_seq >= 0),
    oldest_seq       INTEGER NOT NULL CHECK (oldest_seq >= 1)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoints (
    client_id   BLOB PRIMARY KEY REFERENCES clients (id),
    seq         INTEGER NOT NULL CHECK (seq >= 0),
    available   INTEGER NOT NULL CHECK (available >= 0),
    held        INTEGER NOT NULL CHECK (held >= 0),
    written_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    id              TEXT PRIMARY KEY,
    client_id       BLOB REFERENCES clients (id),
    name            TEXT NOT NULL,
    scopes          TEXT NOT NULL,           -- words joined by ','
    secret_hash     TEXT NOT NULL,
    fingerprint     BLOB NOT NULL,
    created_at      INTEGER NOT NULL,
    expire_at       INTEGER,
    revoked_at      INTEGER,
    last_used_at    INTEGER,
    allowed_ranges  TEXT NOT NULL            -- CIDR ranges joined by ',', empty = all
) STRICT, WITHOUT ROWID;
CREATE INDEX api_keys_of_client ON api_keys (client_id, id);

-- What providers push their reports with.
CREATE TABLE provider_keys (
    id           TEXT PRIMARY KEY,
    provider     TEXT NOT NULL,
    name         TEXT NOT NULL,
    fingerprint  BLOB NOT NULL,
    created_at   INTEGER NOT NULL,
    revoked_at   INTEGER
) STRICT, WITHOUT ROWID;

-- Settings of the installation that operators change while it runs; values are JSON.
CREATE TABLE settings (
    name   TEXT PRIMARY KEY,
    value  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What operators did.
CREATE TABLE audit_entries (
    id          BLOB PRIMARY KEY,
    at          INTEGER NOT NULL,
    key_id      TEXT NOT NULL,               -- '' = the server itself
    client_id   BLOB,
    action      TEXT NOT NULL,
    target      TEXT NOT NULL,
    was         TEXT NOT NULL,               -- JSON before, or ''
    becomes     TEXT NOT NULL,               -- JSON after, or ''
    note        TEXT NOT NULL,
    request_id  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE rates (
    currency           TEXT NOT NULL CHECK (length(currency) = 3),
    prefix             TEXT NOT NULL,
    part_price_micros  INTEGER NOT NULL CHECK (part_price_micros >= 0),
    PRIMARY KEY (currency, prefix)
) STRICT, WITHOUT ROWID;

-- What never changes after accept.
CREATE TABLE messages (
    client_id          BLOB NOT NULL,
    id                 BLOB NOT NULL CHECK (length(id) = 16),
    recipient          TEXT NOT NULL,
    sender             TEXT NOT NULL,
    body_text          TEXT,
    body_data          BLOB,
    encoding           TEXT NOT NULL CHECK (encoding IN ('GSM7', 'UCS2', 'BINARY')),
    reference_bits     INTEGER NOT NULL CHECK (reference_bits IN (8, 16)),
    part_count         INTEGER NOT NULL CHECK (part_count BETWEEN 1 AND 255),
    price_micros       INTEGER NOT NULL CHECK (price_micros >= 0),
    currency           TEXT NOT NULL,
    reference          TEXT NOT NULL,
    metadata           TEXT NOT NULL,        -- a JSON object of strings
    on_unknown         TEXT NOT NULL CHECK (on_unknown IN ('WAIT', 'RESEND')),
    shifts             TEXT NOT NULL,        -- national tables; '' = none
    is_transliterated  INTEGER NOT NULL CHECK (is_transliterated IN (0, 1)),
    priority           TEXT NOT NULL CHECK (priority IN ('LOW', 'NORMAL', 'HIGH')),
    is_flash           INTEGER NOT NULL CHECK (is_flash IN (0, 1)),
    class              TEXT NOT NULL CHECK (class IN ('TRANSACTIONAL', 'OTP', 'MARKETING')),
    replay_of          BLOB,
    scheduled_at       INTEGER,
    created_at         INTEGER NOT NULL,
    expire_at          INTEGER NOT NULL,
    PRIMARY KEY (client_id, id),
    CHECK ((body_text IS NULL) <> (body_data IS NULL))
) STRICT, WITHOUT ROWID;

-- The narrow row that does change.
CREATE TABLE message_states (
    client_id         BLOB NOT NULL,
    id                BLOB NOT NULL,
    status            TEXT NOT NULL CHECK (status IN ('SCHEDULED', 'QUEUED', 'SENDING', 'FAILED_TEMP', 'UNKNOWN',
                                                      'SENT', 'DELIVERED', 'FAILED_PERM', 'EXPIRED', 'CANCELED')),
    status_at         INTEGER NOT NULL,
    fence             INTEGER NOT NULL CHECK (fence >= 0),
    attempt           INTEGER NOT NULL CHECK (attempt >= 0),
    due_at            INTEGER,
    lease_until       INTEGER,
    timer_at          INTEGER,
    provider          TEXT NOT NULL,
    provider_refs     TEXT NOT NULL,         -- a JSON array of strings
    failure_reason    TEXT,
    failure_detail    TEXT,
    failure_code      TEXT,
    part_states       TEXT NOT NULL,         -- one letter a part
    has_open_earlier  INTEGER NOT NULL CHECK (has_open_earlier IN (0, 1)),
    last_event_seq    INTEGER NOT NULL CHECK (last_event_seq >= 1),
    PRIMARY KEY (client_id, id),
    CHECK ((status = 'SENDING') = (lease_until IS NOT NULL)),
    CHECK ((status IN ('QUEUED', 'FAILED_TEMP', 'SCHEDULED') AND due_at IS NOT NULL)
           OR status IN ('UNKNOWN', 'SENDING')
           OR (status NOT IN ('QUEUED', 'FAILED_TEMP', 'SCHEDULED') AND due_at IS NULL))
) STRICT, WITHOUT ROWID;

-- The hold for one message: HELD, then CAPTURED or RELEASED, exactly once.
CREATE TABLE credit_locks (
    client_id      BLOB NOT NULL,
    message_id     BLOB NOT NULL,
    amount_micros  INTEGER NOT NULL CHECK (amount_micros >= 0),
    state          TEXT NOT NULL CHECK (state IN ('HELD', 'CAPTURED', 'RELEASED')),
    PRIMARY KEY (client_id, message_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX credit_locks_held ON credit_locks (client_id, message_id) WHERE state = 'HELD';

-- When the sweeper next looks at a message: one row for each message that still needs a look.
CREATE TABLE timers (
    wake_at     INTEGER NOT NULL,
    client_id   BLOB NOT NULL,
    message_id  BLOB NOT NULL,
    PRIMARY KEY (wake_at, client_id, message_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency_keys (
    client_id    BLOB NOT NULL,
    kind         TEXT NOT NULL CHECK (kind IN ('SEND', 'TOP_UP', 'ADJUST')),
    key          TEXT NOT NULL,
    fingerprint  BLOB NOT NULL CHECK (length(fingerprint) = 32),
    message_id   BLOB,
    event_seq    INTEGER,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (client_id, kind, key),
    CHECK ((message_id IS NULL) <> (event_seq IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- A client's event log: seq 1, 2, 3 ... without a gap.
CREATE TABLE events (
    client_id         BLOB NOT NULL,
    seq               INTEGER NOT NULL CHECK (seq >= 1),
    kind              TEXT NOT NULL,
    at                INTEGER NOT NULL,
    message_id        BLOB,
    previous_seq      INTEGER NOT NULL CHECK (previous_seq >= 0 AND previous_seq < seq),
    -- The delivery report; status IS NULL = none.
    status            TEXT,
    previous_status   TEXT,
    recipient         TEXT,
    reference         TEXT,
    part              INTEGER,
    attempt           INTEGER,
    provider          TEXT,
    provider_ref      TEXT,
    failure_reason    TEXT,
    failure_detail    TEXT,
    failure_code      TEXT,
    next_attempt_at   INTEGER,
    ignored           INTEGER,
    -- The credit movement; transaction_kind IS NULL = none.
    transaction_kind  TEXT CHECK (transaction_kind IN ('TOP_UP', 'HOLD', 'CAPTURE', 'RELEASE', 'ADJUSTMENT')),
    available_delta   INTEGER NOT NULL,
    held_delta        INTEGER NOT NULL,
    note              TEXT,
    available_after   INTEGER NOT NULL CHECK (available_after >= 0),
    held_after        INTEGER NOT NULL CHECK (held_after >= 0),
    PRIMARY KEY (client_id, seq),
    CHECK (transaction_kind IS NOT NULL OR (available_delta = 0 AND held_delta = 0)),
    CHECK (status IS NULL OR message_id IS NOT NULL)
) STRICT, WITHOUT ROWID;

-- Which attempt a provider's reference stands for; written by submit and by report alike.
CREATE TABLE provider_refs (
    provider    TEXT NOT NULL,
    reference   TEXT NOT NULL,
    client_id   BLOB,                        -- NULL = only reports have named it so far
    message_id  BLOB,
    attempt     INTEGER,
    part        INTEGER,
    reported    INTEGER NOT NULL CHECK (reported IN (0, 1)),
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (provider, reference)
) STRICT, WITHOUT ROWID;
CREATE INDEX provider_refs_age ON provider_refs (created_at);

-- The inbox: a report is durable here before its provider is answered.
CREATE TABLE provider_reports (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    provider        TEXT NOT NULL,
    reference       TEXT NOT NULL,           -- '' = the provider echoes only ours
    client_id       BLOB,                    -- with message_id and attempt: our reference, echoed
    message_id      BLOB,
    attempt         INTEGER,
    state           TEXT NOT NULL CHECK (state IN ('ACCEPTED', 'EN_ROUTE', 'DELIVERED', 'FAILED', 'REMARK')),
    part            INTEGER NOT NULL CHECK (part BETWEEN 0 AND 255),
    done_date       TEXT NOT NULL,
    failure_reason  TEXT,
    failure_detail  TEXT,
    failure_code    TEXT,
    stored_at       INTEGER NOT NULL,
    is_done         INTEGER NOT NULL CHECK (is_done IN (0, 1))
) STRICT;
CREATE UNIQUE INDEX provider_reports_once ON provider_reports
    (provider, reference, COALESCE(message_id, x''), COALESCE(attempt, 0), state, part, done_date);
CREATE INDEX provider_reports_pending ON provider_reports (id) WHERE is_done = 0;
CREATE INDEX provider_reports_age ON provider_reports (stored_at);

CREATE TABLE dead_letters (
    client_id            BLOB NOT NULL,
    message_id           BLOB NOT NULL,
    provider             TEXT NOT NULL,
    failure_reason       TEXT NOT NULL,
    failure_detail       TEXT NOT NULL,
    failure_code         TEXT NOT NULL,
    has_unknown_attempt  INTEGER NOT NULL CHECK (has_unknown_attempt IN (0, 1)),
    at                   INTEGER NOT NULL,
    replayed_as          BLOB,
    PRIMARY KEY (client_id, message_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX dead_letters_newest ON dead_letters (at, client_id, message_id);
CREATE INDEX dead_letters_by_message ON dead_letters (message_id);
