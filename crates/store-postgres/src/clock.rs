//! The database's time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use message::Timestamp;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Decode, Encode, PgExecutor, Postgres, Type};

/// Where a store takes its time from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The database's own clock.
    #[default]
    Database,
    /// A test's: microseconds since the Unix epoch.
    Fixed(Arc<AtomicI64>),
}

/// A clock that never goes back.
#[derive(Debug, Default)]
pub(crate) struct Ticker {
    clock: Clock,
    newest: AtomicI64,
}

impl Ticker {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, newest: AtomicI64::new(i64::MIN) }
    }

    /// What a statement takes in place of the database's clock, in `COALESCE(.., now())`: a test's time, or NULL.
    pub(crate) fn fixed(&self) -> Option<Time> {
        match &self.clock {
            Clock::Database => None,
            Clock::Fixed(micros) => {
                Some(Time(self.seen(Timestamp::from_micros(micros.load(Ordering::SeqCst)))))
            }
        }
    }

    pub(crate) async fn now(&self, executor: impl PgExecutor<'_>) -> Result<Timestamp, sqlx::Error> {
        let Time(read) = sqlx::query_scalar("-- now\nSELECT COALESCE($1, clock_timestamp())")
            .bind(self.fixed())
            .fetch_one(executor)
            .await?;
        Ok(self.seen(read))
    }

    /// The time that a statement read, or a later one that was seen before it.
    pub(crate) fn seen(&self, read: Timestamp) -> Timestamp {
        let newest = self.newest.fetch_max(read.as_micros(), Ordering::SeqCst);
        Timestamp::from_micros(read.as_micros().max(newest))
    }
}

/// A `timestamptz` on the wire: microseconds since 2000-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Timestamp);

/// From the Unix epoch to PostgreSQL's.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// The types' fixed numbers, from PostgreSQL's `pg_type.dat`.
const TIMESTAMPTZ: Oid = Oid(1184);
const TIMESTAMPTZ_ARRAY: Oid = Oid(1185);

impl Type<Postgres> for Time {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }
}

impl PgHasArrayType for Time {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ_ARRAY)
    }
}

impl Encode<'_, Postgres> for Time {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        // Saturated, the earliest instant is PostgreSQL's `-infinity`.
        <i64 as Encode<Postgres>>::encode(self.0.as_micros().saturating_sub(EPOCH_MICROS), buffer)
    }
}

impl Decode<'_, Postgres> for Time {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        if value.format() != PgValueFormat::Binary {
            return Err("a time was not sent in binary".into());
        }
        let micros = <i64 as Decode<Postgres>>::decode(value)?;
        Ok(Self(Timestamp::from_micros(micros.saturating_add(EPOCH_MICROS))))
    }
}
