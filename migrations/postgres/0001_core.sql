-- Times are timestamptz, spans are microseconds. Words are those of the code.
-- Tables that belong to a client are led by client_id.
--
-- What grows with traffic is cut into partitions by time, which the program makes ahead (crates/store-postgres,
-- `partitions`): a week each, a day for idempotency keys. An id is a UUIDv7, so a span of time is a range of ids. There
-- are no default partitions: they would be read by each statement, and stand in the way of new ones.

-- One row: what identifies this database.
CREATE TABLE installation (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    log_epoch  BIGINT NOT NULL
);

CREATE TABLE secrets (
    name   TEXT PRIMARY KEY,
    value  BYTEA NOT NULL CHECK (octet_length(value) = 32)
);

CREATE TABLE clients (
    id                 UUID PRIMARY KEY,
    name               TEXT NOT NULL,
    state              TEXT NOT NULL CHECK (state IN ('ACTIVE', 'SUSPENDED')),
    suspend_reason     TEXT NOT NULL,
    currency           TEXT NOT NULL CHECK (length(currency) = 3),
    is_sandbox         BOOLEAN NOT NULL,
    capture_on         TEXT NOT NULL CHECK (capture_on IN ('DELIVERED', 'SENT')),
    settle_unreported  TEXT NOT NULL CHECK (settle_unreported IN ('CAPTURE', 'RELEASE')),
    report_timeout     BIGINT NOT NULL CHECK (report_timeout > 0),
    on_unknown         TEXT NOT NULL CHECK (on_unknown IN ('WAIT', 'RESEND')),
    resend_after       BIGINT NOT NULL CHECK (resend_after > 0),
    parts_per_second   INTEGER NOT NULL CHECK (parts_per_second >= 0),
    burst_parts        INTEGER NOT NULL CHECK (burst_parts >= 0),
    default_sender     TEXT NOT NULL,
    max_parts          INTEGER NOT NULL CHECK (max_parts BETWEEN 1 AND 255),
    low_balance        BIGINT NOT NULL CHECK (low_balance >= 0),
    created_at         TIMESTAMPTZ NOT NULL,
    revision           BIGINT NOT NULL,      -- grows with each change
    -- The idempotency key that made it, if one did, and the fingerprint of that call.
    creation_key       TEXT UNIQUE,
    creation_print     BYTEA CHECK (octet_length(creation_print) = 32),
    CHECK ((creation_key IS NULL) = (creation_print IS NULL))
);

-- The hot row of a client. Its lock orders everything that moves the client's credit or log. Half of each page is left
-- free, here and below, so that the versions of a row that changes stay in its page and touch no index.
CREATE TABLE client_heads (
    client_id        UUID PRIMARY KEY REFERENCES clients (id),
    available        BIGINT NOT NULL CHECK (available >= 0),
    held             BIGINT NOT NULL CHECK (held >= 0),
    last_seq         BIGINT NOT NULL CHECK (last_seq >= 0),
    oldest_seq       BIGINT NOT NULL CHECK (oldest_seq >= 1),
    -- Events from span_seq on have a time from span_at on: the start of the newest partition that has any. So readers of
    -- the end of the log touch the newest partitions only.
    span_at          TIMESTAMPTZ NOT NULL DEFAULT '-infinity',
    span_seq         BIGINT NOT NULL DEFAULT 1 CHECK (span_seq >= 1),
    CHECK (oldest_seq - 1 <= last_seq)
) WITH (fillfactor = 50);

CREATE TABLE checkpoints (
    client_id   UUID PRIMARY KEY REFERENCES clients (id),
    seq         BIGINT NOT NULL CHECK (seq >= 0),
    available   BIGINT NOT NULL CHECK (available >= 0),
    held        BIGINT NOT NULL CHECK (held >= 0),
    written_at  TIMESTAMPTZ NOT NULL
);

CREATE TABLE api_keys (
    id              TEXT COLLATE "C" PRIMARY KEY,
    client_id       UUID REFERENCES clients (id),
    name            TEXT NOT NULL,
    scopes          TEXT NOT NULL,           -- words joined by ','
    secret_hash     TEXT NOT NULL,
    fingerprint     BYTEA NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL,
    expire_at       TIMESTAMPTZ,
    revoked_at      TIMESTAMPTZ,
    last_used_at    TIMESTAMPTZ,
    allowed_ranges  TEXT NOT NULL            -- CIDR ranges joined by ',', empty = all
);
CREATE INDEX api_keys_of_client ON api_keys (client_id, id);

-- What providers push their reports with.
CREATE TABLE provider_keys (
    id           TEXT COLLATE "C" PRIMARY KEY,
    provider     TEXT COLLATE "C" NOT NULL,
    name         TEXT NOT NULL,
    fingerprint  BYTEA NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    revoked_at   TIMESTAMPTZ
);

-- Settings of the installation that operators change while it runs; values are JSON.
CREATE TABLE settings (
    name   TEXT PRIMARY KEY,
    value  TEXT NOT NULL
);

-- What operators did.
CREATE TABLE audit_entries (
    id          UUID PRIMARY KEY,
    at          TIMESTAMPTZ NOT NULL,
    key_id      TEXT NOT NULL,               -- '' = the server itself
    client_id   UUID,
    action      TEXT NOT NULL,
    target      TEXT NOT NULL,
    was         TEXT NOT NULL,               -- JSON before, or ''
    becomes     TEXT NOT NULL,               -- JSON after, or ''
    note        TEXT NOT NULL,
    request_id  TEXT NOT NULL
);

CREATE TABLE rates (
    currency           TEXT NOT NULL CHECK (length(currency) = 3),
    prefix             TEXT NOT NULL,
    part_price_micros  BIGINT NOT NULL CHECK (part_price_micros >= 0),
    PRIMARY KEY (currency, prefix)
);

-- What never changes after accept.
CREATE TABLE messages (
    client_id          UUID NOT NULL,
    id                 UUID NOT NULL,
    recipient          TEXT NOT NULL,
    sender             TEXT NOT NULL,
    body_text          TEXT,
    body_data          BYTEA,
    encoding           TEXT NOT NULL CHECK (encoding IN ('GSM7', 'UCS2', 'BINARY')),
    reference_bits     SMALLINT NOT NULL CHECK (reference_bits IN (8, 16)),
    part_count         SMALLINT NOT NULL CHECK (part_count BETWEEN 1 AND 255),
    price_micros       BIGINT NOT NULL CHECK (price_micros >= 0),
    currency           TEXT NOT NULL CHECK (length(currency) = 3),
    reference          TEXT NOT NULL,
    metadata           TEXT NOT NULL,        -- a JSON object of strings
    on_unknown         TEXT NOT NULL CHECK (on_unknown IN ('WAIT', 'RESEND')),
    shifts             TEXT NOT NULL,        -- national tables; '' = none
    is_transliterated  BOOLEAN NOT NULL,
    priority           TEXT NOT NULL CHECK (priority IN ('LOW', 'NORMAL', 'HIGH')),
    is_flash           BOOLEAN NOT NULL,
    class              TEXT NOT NULL CHECK (class IN ('TRANSACTIONAL', 'OTP', 'MARKETING')),
    replay_of          UUID,
    scheduled_at       TIMESTAMPTZ,
    created_at         TIMESTAMPTZ NOT NULL,
    expire_at          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (client_id, id),
    CHECK ((body_text IS NULL) <> (body_data IS NULL)),
    CHECK (expire_at >= created_at)
) PARTITION BY RANGE (id);

-- The narrow row that does change. Half of each page of its partitions is left free.
CREATE TABLE message_states (
    client_id         UUID NOT NULL,
    id                UUID NOT NULL,
    status            TEXT NOT NULL CHECK (status IN ('SCHEDULED', 'QUEUED', 'SENDING', 'FAILED_TEMP', 'UNKNOWN',
                                                      'SENT', 'DELIVERED', 'FAILED_PERM', 'EXPIRED', 'CANCELED')),
    status_at         TIMESTAMPTZ NOT NULL,
    fence             BIGINT NOT NULL CHECK (fence >= 0),
    attempt           INTEGER NOT NULL CHECK (attempt >= 0),
    due_at            TIMESTAMPTZ,
    lease_until       TIMESTAMPTZ,
    timer_at          TIMESTAMPTZ,
    provider          TEXT NOT NULL,
    provider_refs     TEXT NOT NULL,         -- a JSON array of strings
    failure_reason    TEXT,
    failure_detail    TEXT,
    failure_code      TEXT,
    part_states       TEXT NOT NULL,         -- one letter a part
    has_open_earlier  BOOLEAN NOT NULL,
    last_event_seq    BIGINT NOT NULL CHECK (last_event_seq >= 1),
    PRIMARY KEY (client_id, id),
    CHECK ((status = 'SENDING') = (lease_until IS NOT NULL)),
    CHECK (num_nulls(failure_reason, failure_detail, failure_code) IN (0, 3)),
    CHECK ((status IN ('QUEUED', 'FAILED_TEMP', 'SCHEDULED') AND due_at IS NOT NULL)
           OR status IN ('UNKNOWN', 'SENDING')
           OR (status NOT IN ('QUEUED', 'FAILED_TEMP', 'SCHEDULED') AND due_at IS NULL))
) PARTITION BY RANGE (id);

-- The hold for one message: HELD, then CAPTURED or RELEASED, exactly once.
CREATE TABLE credit_locks (
    client_id      UUID NOT NULL,
    message_id     UUID NOT NULL,
    amount_micros  BIGINT NOT NULL CHECK (amount_micros >= 0),
    state          TEXT NOT NULL CHECK (state IN ('HELD', 'CAPTURED', 'RELEASED')),
    PRIMARY KEY (client_id, message_id)
) PARTITION BY RANGE (message_id);
CREATE INDEX credit_locks_held ON credit_locks (client_id, message_id) WHERE state = 'HELD';

-- When the sweeper next looks at a message: one row for each message that still needs a look.
CREATE TABLE timers (
    wake_at     TIMESTAMPTZ NOT NULL,
    client_id   UUID NOT NULL,
    message_id  UUID NOT NULL,
    PRIMARY KEY (wake_at, client_id, message_id)
);

-- A key that is written again once its day is over is a second row: the newest counts. That a living key has one row is
-- kept by the lock on the client's head, under which keys are read and written.
CREATE TABLE idempotency_keys (
    client_id    UUID NOT NULL,
    kind         TEXT NOT NULL CHECK (kind IN ('SEND', 'TOP_UP', 'ADJUST')),
    key          TEXT NOT NULL,
    fingerprint  BYTEA NOT NULL CHECK (octet_length(fingerprint) = 32),
    message_id   UUID,
    event_seq    BIGINT,
    created_at   TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (client_id, kind, key, created_at),
    CHECK ((message_id IS NULL) <> (event_seq IS NULL))
) PARTITION BY RANGE (created_at);

-- A client's event log: seq 1, 2, 3 ... without a gap. The key of a partitioned table holds what it is cut by, so it says
-- no more that a seq is given once. That is kept by the lock on the client's head, under which it is given; the reconciler
-- would see a second one.
CREATE TABLE events (
    client_id         UUID NOT NULL,
    seq               BIGINT NOT NULL CHECK (seq >= 1),
    kind              TEXT NOT NULL,
    at                TIMESTAMPTZ NOT NULL,
    message_id        UUID,
    previous_seq      BIGINT NOT NULL CHECK (previous_seq >= 0 AND previous_seq < seq),
    -- The delivery report; status IS NULL = none.
    status            TEXT,
    previous_status   TEXT,
    recipient         TEXT,
    reference         TEXT,
    part              SMALLINT,
    attempt           INTEGER,
    provider          TEXT,
    provider_ref      TEXT,
    failure_reason    TEXT,
    failure_detail    TEXT,
    failure_code      TEXT,
    next_attempt_at   TIMESTAMPTZ,
    ignored           BOOLEAN,
    -- The credit movement; transaction_kind IS NULL = none.
    transaction_kind  TEXT CHECK (transaction_kind IN ('TOP_UP', 'HOLD', 'CAPTURE', 'RELEASE', 'ADJUSTMENT')),
    available_delta   BIGINT NOT NULL,
    held_delta        BIGINT NOT NULL,
    note              TEXT,
    available_after   BIGINT NOT NULL CHECK (available_after >= 0),
    held_after        BIGINT NOT NULL CHECK (held_after >= 0),
    PRIMARY KEY (client_id, seq, at),
    CHECK (status IS NULL OR message_id IS NOT NULL),
    CHECK (num_nulls(recipient, reference, part, attempt, provider, provider_ref, ignored)
           = CASE WHEN status IS NULL THEN 7 ELSE 0 END),
    CHECK (num_nulls(failure_reason, failure_detail, failure_code) IN (0, 3)),
    CHECK (num_nulls(transaction_kind, note) IN (0, 2)),
    CHECK (CASE transaction_kind
           WHEN 'HOLD' THEN available_delta <= 0 AND held_delta >= 0
           WHEN 'CAPTURE' THEN available_delta = 0 AND held_delta <= 0
           WHEN 'RELEASE' THEN available_delta >= 0 AND held_delta <= 0
           WHEN 'TOP_UP' THEN available_delta >= 0 AND held_delta = 0
           WHEN 'ADJUSTMENT' THEN held_delta = 0
           ELSE available_delta = 0 AND held_delta = 0 END)
) PARTITION BY RANGE (at);

-- Which attempt a provider's reference stands for; written by submit and by report alike.
CREATE TABLE provider_refs (
    provider    TEXT NOT NULL,
    reference   TEXT NOT NULL,
    client_id   UUID,                        -- NULL = only reports have named it so far
    message_id  UUID,
    attempt     INTEGER,
    part        SMALLINT,
    reported    BOOLEAN NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (provider, reference),
    CHECK (num_nulls(client_id, message_id, attempt, part) IN (0, 4))
) WITH (fillfactor = 50);
CREATE INDEX provider_refs_age ON provider_refs (created_at);

-- The inbox: a report is durable here before its provider is answered.
CREATE TABLE provider_reports (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider        TEXT NOT NULL,
    reference       TEXT NOT NULL,           -- '' = the provider echoes only ours
    client_id       UUID,                    -- with message_id and attempt: our reference, echoed
    message_id      UUID,
    attempt         INTEGER,
    state           TEXT NOT NULL CHECK (state IN ('ACCEPTED', 'EN_ROUTE', 'DELIVERED', 'FAILED', 'REMARK')),
    part            SMALLINT NOT NULL CHECK (part BETWEEN 0 AND 255),
    done_date       TEXT NOT NULL,
    failure_reason  TEXT,
    failure_detail  TEXT,
    failure_code    TEXT,
    stored_at       TIMESTAMPTZ NOT NULL,
    CHECK (num_nulls(client_id, message_id, attempt) IN (0, 3)),
    CHECK (num_nulls(failure_reason, failure_detail, failure_code) IN (0, 3))
);
CREATE UNIQUE INDEX provider_reports_once ON provider_reports
    (provider, reference, COALESCE(message_id, '00000000-0000-0000-0000-000000000000'), COALESCE(attempt, 0), state, part, done_date);

-- The reports that are not applied yet. A table of its own, so that applying one changes no wide row and no other index.
CREATE TABLE pending_reports (
    id  BIGINT PRIMARY KEY                   -- of provider_reports
);

CREATE TABLE dead_letters (
    client_id            UUID NOT NULL,
    message_id           UUID NOT NULL,
    provider             TEXT NOT NULL,
    failure_reason       TEXT NOT NULL,
    failure_detail       TEXT NOT NULL,
    failure_code         TEXT NOT NULL,
    has_unknown_attempt  BOOLEAN NOT NULL,
    at                   TIMESTAMPTZ NOT NULL,
    replayed_as          UUID,
    PRIMARY KEY (client_id, message_id)
);
CREATE INDEX dead_letters_newest ON dead_letters (at, client_id, message_id);
CREATE INDEX dead_letters_by_message ON dead_letters (message_id);
