//! Partitions: made ahead of what is written, or at the last moment, and dropped whole.
//!
//! One is made as a table of its own and then attached, which waits for no reader and no writer. A partition is detached
//! `CONCURRENTLY`, for the same reason: a plain detach would hold up every send behind the longest read. That cannot be in a
//! transaction, so what is dropped was hidden before: see [`PostgresStore::drop_old_partitions`].

use std::collections::BTreeSet;
use std::sync::RwLock;

use delivery::crash_point;
use delivery::plan::Plan;
use delivery::timing::KEY_LIFETIME;
use message::Timestamp;
use sqlx::postgres::{PgBindIterExt, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _, Row};
use tokio::time::timeout;

use crate::PostgresStore;
use crate::clock::Time;
use crate::spans::{self, EVENTS, FAMILIES, Family, KEYS, LOCKS, MESSAGES, STATES, Span};

/// Those who make or drop partitions do it one after the other. The number is as good as any.
const LOCK: i64 = 0x6865_7261_6c64;

/// Nobody waits long behind what changes a table's partitions.
const SETTINGS: [(&str, &str); 2] = [("lock_timeout", "2s"), ("statement_timeout", "10s")];

/// The partitions that this node knows of.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    known: RwLock<BTreeSet<Span>>,
}

impl Partitions {
    fn missing(&self, mut spans: BTreeSet<Span>) -> BTreeSet<Span> {
        let known = self.known.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        spans.retain(|span| !known.contains(span));
        spans
    }

    fn add(&self, spans: BTreeSet<Span>) {
        self.known.write().unwrap_or_else(|poisoned| poisoned.into_inner()).extend(spans);
    }

    /// Another node has dropped one that was known here.
    pub(crate) fn forget(&self) {
        self.known.write().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
    }
}

impl PostgresStore {
    /// Makes the partitions of now and of the spans that come.
    pub(crate) async fn make_room(&self, now: Timestamp) -> Result<(), sqlx::Error> {
        self.make(spans::ahead(now)).await
    }

    /// Makes what a plan needs and [`make_room`](Self::make_room) has not made: a node whose sweeper stood still for weeks.
    pub(crate) async fn make_room_for(&self, plan: &Plan) -> Result<(), sqlx::Error> {
        self.make(spans::of_plan(plan)).await
    }

    async fn make(&self, spans: BTreeSet<Span>) -> Result<(), sqlx::Error> {
        let missing = self.shared.partitions.missing(spans);
        if missing.is_empty() {
            return Ok(());
        }
        self.in_time(async {
            let mut connection = self.aside(SETTINGS).await?;
            let mut work = connection.begin().await?;
            lock(&mut work).await?;
            crash_point!("partition.attach", attach(&mut work, &missing)).await?;
            crash_point!("partition.commit", work.commit()).await?;
            connection.close().await
        })
        .await?;
        self.shared.partitions.add(missing);
        Ok(())
    }

    /// Drops the partitions in which nothing is left that anybody sees: keys past their lifetime; events below their
    /// clients' `oldest_seq`, which was moved in a transaction before; messages that were removed, all of them.
    ///
    /// A crash in between leaves a partition that is detached or half so: the next round goes on with it.
    pub(crate) async fn drop_old_partitions(&self, now: Timestamp) -> Result<(), sqlx::Error> {
        let mut connection = self.in_time(self.aside(SETTINGS)).await?;
        if self.in_time(try_lock(&mut connection)).await? {
            self.in_time(finish(&mut connection)).await?;
            for span in old_spans(&mut connection, KEYS, now - KEY_LIFETIME).await? {
                self.in_time(drop_partition(&mut connection, &span)).await?;
            }
            // A span is left in peace until the next one is over too: no transaction of its time is open any more.
            for family in [EVENTS, STATES] {
                let spans = old_spans(&mut connection, family, now - family.span).await?;
                for span in &spans {
                    if !self.in_time(is_over(&mut connection, span)).await? {
                        break;
                    }
                    self.in_time(drop_partition(&mut connection, span)).await?;
                }
            }
        }
        connection.close().await
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
        let late = || Err(sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::TimedOut)));
        timeout(self.shared.options.answer_timeout, work).await.unwrap_or_else(|_| late())
    }
}

async fn lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let sql = "-- lock partitions\nSELECT pg_advisory_xact_lock($1)";
    sqlx::query(sql).bind(LOCK).execute(connection).await.map(drop)
}

/// For the rest of the session.
async fn try_lock(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("-- try to lock partitions\nSELECT pg_try_advisory_lock($1)")
        .bind(LOCK)
        .fetch_one(connection)
        .await
}

/// Makes those that are not there. A table that has its name is attached: both happen in one transaction.
async fn attach(connection: &mut PgConnection, spans: &BTreeSet<Span>) -> Result<(), sqlx::Error> {
    let spans: Vec<Span> = spans.iter().copied().collect();
    let sql = "-- missing partitions
        SELECT k.number, k.name
        FROM unnest($1::text[], $2::timestamptz[]) WITH ORDINALITY AS s (parent, starts_at, number)
        CROSS JOIN LATERAL (SELECT s.number, s.parent || to_char(s.starts_at, '_YYYYMMDD') AS name) AS k
        WHERE to_regclass(k.name) IS NULL ORDER BY k.number";
    let missing = sqlx::query(sql)
        .bind(spans.iter().map(|span| span.family.table).bind_iter())
        .bind(spans.iter().map(|span| Time(span.starts_at())).bind_iter())
        .fetch_all(&mut *connection)
        .await?;
    for row in missing {
        let number: i64 = row.try_get("number")?;
        let span = usize::try_from(number - 1).ok().and_then(|index| spans.get(index));
        let span = span.ok_or(sqlx::Error::RowNotFound)?;
        let name: &str = row.try_get("name")?;
        let (Family { table, with, .. }, [from, to]) = (span.family, span.bounds());
        let sql = format!(
            "-- make partition
            CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS) {with};
            ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// The partitions that end before `before` or then, oldest first.
async fn old_spans(
    connection: &mut PgConnection,
    family: Family,
    before: Timestamp,
) -> Result<Vec<Span>, sqlx::Error> {
    let sql = "-- old partitions
        SELECT to_timestamp(right(c.relname, 8), 'YYYYMMDD') AS starts_at
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = $1::regclass AND c.relname ~ '_[0-9]{8}$' ORDER BY starts_at";
    let rows = sqlx::query(sql).bind(family.table).fetch_all(connection).await?;
    let spans = rows.iter().map(|row| Ok(Span::of(family, row.try_get::<Time, _>("starts_at")?.0)));
    let spans = spans.collect::<Result<Vec<_>, sqlx::Error>>()?;
    Ok(spans.into_iter().filter(|span| span.ends_at() <= before).collect())
}

/// A span of states stands for the messages and locks of the same span.
fn together(span: &Span) -> Vec<Span> {
    match span.family {
        STATES => [STATES, LOCKS, MESSAGES].map(|family| Span::of(family, span.starts_at())).into(),
        _ => vec![*span],
    }
}

/// Nobody sees a row of it any more.
async fn is_over(connection: &mut PgConnection, span: &Span) -> Result<bool, sqlx::Error> {
    for span in together(span) {
        let Some(name) = name(connection, &span).await? else { continue };
        let rest = match span.family {
            // One look into its index for each client.
            EVENTS => format!(
                "client_heads AS h CROSS JOIN LATERAL (SELECT e.seq FROM {name} AS e
                    WHERE e.client_id = h.client_id AND e.seq >= h.oldest_seq LIMIT 1) AS e"
            ),
            _ => name,
        };
        let sql = format!("-- is partition over\nSELECT NOT EXISTS (SELECT 1 FROM {rest})");
        if !sqlx::query_scalar::<_, bool>(AssertSqlSafe(sql)).fetch_one(&mut *connection).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn drop_partition(connection: &mut PgConnection, span: &Span) -> Result<(), sqlx::Error> {
    for span in together(span) {
        let Some(name) = name(connection, &span).await? else { continue };
        let table = span.family.table;
        let sql = format!("ALTER TABLE {table} DETACH PARTITION {name} CONCURRENTLY");
        let detached = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection);
        crash_point!("partition.detach", detached).await?;
        let dropped = sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {name}"))).execute(&mut *connection);
        crash_point!("partition.drop", dropped).await?;
    }
    Ok(())
}

/// `None` = there is no such partition.
async fn name(connection: &mut PgConnection, span: &Span) -> Result<Option<String>, sqlx::Error> {
    let sql = "-- partition's name\nSELECT to_regclass($1 || to_char($2, '_YYYYMMDD'))::text";
    let query = sqlx::query_scalar(sql).bind(span.family.table).bind(Time(span.starts_at()));
    query.fetch_one(connection).await
}

/// Drops what a crash has left detached, or in the midst of it.
async fn finish(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let sql = "-- half dropped partitions
        SELECT c.oid::regclass::text AS name, f.parent, COALESCE(i.inhdetachpending, false) AS is_pending
        FROM unnest($1::text[]) AS f (parent)
        JOIN pg_class AS c ON c.relname ~ ('^' || f.parent || '_[0-9]{8}$') AND c.relkind = 'r'
            AND c.relnamespace = (SELECT p.relnamespace FROM pg_class AS p WHERE p.oid = f.parent::regclass)
        LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
        WHERE i.inhrelid IS NULL OR i.inhdetachpending";
    let tables = FAMILIES.iter().map(|family| family.table).bind_iter();
    for row in sqlx::query(sql).bind(tables).fetch_all(&mut *connection).await? {
        let (name, parent): (&str, &str) = (row.try_get("name")?, row.try_get("parent")?);
        if row.try_get("is_pending")? {
            let sql = format!("ALTER TABLE {parent} DETACH PARTITION {name} FINALIZE");
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
        }
        let dropped = sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {name}"))).execute(&mut *connection);
        crash_point!("partition.finish", dropped).await?;
    }
    Ok(())
}
