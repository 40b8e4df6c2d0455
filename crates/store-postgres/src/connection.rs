//! Connections that answer in time, or are closed.
//!
//! The server ends a statement after its own `statement_timeout`; this is for a server that hangs and says nothing. A
//! statement without an answer fails like a broken connection in the end, and its connection leaves the pool.

use std::io;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Connection as _, Describe, Either, Error, Execute, Executor, Postgres, SqlStr};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::PostgresStore;

/// SQLSTATE read_only_sql_transaction: the server has become a standby.
const READ_ONLY: &str = "25006";

type BoxFuture<'e, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'e>>;
type BoxStream<'e, T> = std::pin::Pin<Box<dyn stream::Stream<Item = Result<T, Error>> + Send + 'e>>;

/// A connection of the pool. It goes back when it is dropped, unless it has failed to answer.
#[derive(Debug)]
pub(crate) struct Connection {
    /// `None` only while it is dropped.
    pooled: Option<PoolConnection<Postgres>>,
    answer_timeout: Duration,
    /// A statement is under way.
    is_busy: bool,
    /// A transaction is open.
    is_open: bool,
    /// It leaves the pool.
    is_unfit: bool,
}

impl Connection {
    pub(crate) fn new(pooled: PoolConnection<Postgres>, answer_timeout: Duration) -> Self {
        Self { pooled: Some(pooled), answer_timeout, is_busy: false, is_open: false, is_unfit: false }
    }

    /// Opens a transaction, which is rolled back when this is dropped before its commit.
    pub(crate) async fn begin(mut self, begin: &'static str) -> Result<Self, Error> {
        self.is_open = true;
        sqlx::raw_sql(begin).execute(&mut self).await?;
        Ok(self)
    }

    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        sqlx::raw_sql("COMMIT").execute(&mut self).await?;
        self.is_open = false;
        Ok(())
    }

    fn pooled(&mut self) -> &mut PoolConnection<Postgres> {
        self.pooled.as_mut().expect("it is there until the drop")
    }

    /// What a statement came to.
    fn ended<T>(&mut self, answer: Result<Result<T, Error>, Elapsed>) -> Result<T, Error> {
        self.is_busy = false;
        let answer = answer.unwrap_or_else(|_| Err(Error::Io(io::Error::from(io::ErrorKind::TimedOut))));
        if answer.as_ref().is_err_and(is_unfit) {
            self.is_unfit = true;
        }
        answer
    }
}

/// After this error no more can be expected of the connection. (Of one that is broken the pool learns by itself.)
fn is_unfit(error: &Error) -> bool {
    match error {
        Error::Io(_) => true,
        Error::Database(cause) => cause.code().as_deref() == Some(READ_ONLY),
        _ => false,
    }
}

impl Drop for Connection {
    /// What was under way is waited for, and a transaction rolled back, before the connection goes back to the pool. The
    /// pool itself pings it then, for as long as that takes: so all of it is bounded here.
    fn drop(&mut self) {
        let Some(mut pooled) = self.pooled.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return drop(pooled.detach()) };
        if self.is_unfit {
            // Without a farewell, which might hang as well.
            return drop(pooled.detach());
        }
        let (is_busy, is_open, within) = (self.is_busy, self.is_open, self.answer_timeout);
        runtime.spawn(async move {
            let tidied = timeout(within, async {
                match (is_open, is_busy) {
                    (true, _) => sqlx::raw_sql("ROLLBACK").execute(&mut *pooled).await.map(drop),
                    (false, true) => pooled.ping().await,
                    (false, false) => Ok(()),
                }
            });
            match tidied.await {
                Ok(Ok(())) => drop(timeout(within, pooled.return_to_pool()).await),
                _ => drop(pooled.detach()),
            }
        });
    }
}

impl<'c> Executor<'c> for &'c mut Connection {
    type Database = Postgres;

    /// Every caller wants all rows, so they are gathered before the first is handed on.
    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Either<PgQueryResult, PgRow>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let answer = async move {
            self.is_busy = true;
            let within = self.answer_timeout;
            let steps = self.pooled().fetch_many(query).try_collect::<Vec<_>>();
            let answer = timeout(within, steps).await;
            self.ended(answer)
        };
        stream::once(answer).map_ok(|steps| stream::iter(steps.into_iter().map(Ok))).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Option<PgRow>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            self.is_busy = true;
            let answer = timeout(self.answer_timeout, self.pooled().fetch_optional(query)).await;
            self.ended(answer)
        })
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, PgStatement>
    where
        'c: 'e,
    {
        Box::pin(async move {
            self.is_busy = true;
            let answer = timeout(self.answer_timeout, self.pooled().prepare_with(sql, parameters)).await;
            self.ended(answer)
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Describe<Postgres>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            self.is_busy = true;
            let answer = timeout(self.answer_timeout, self.pooled().describe(sql)).await;
            self.ended(answer)
        })
    }
}

/// Takes a connection of the pool for one statement.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'s>(pub(crate) &'s PostgresStore);

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

impl<'s> Executor<'s> for Reader<'s> {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Either<PgQueryResult, PgRow>>
    where
        's: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let answer = async move {
            let mut connection = self.0.acquire().await?;
            connection.fetch_many(query).try_collect::<Vec<_>>().await
        };
        stream::once(answer).map_ok(|steps| stream::iter(steps.into_iter().map(Ok))).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Option<PgRow>>
    where
        's: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move { self.0.acquire().await?.fetch_optional(query).await })
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, PgStatement>
    where
        's: 'e,
    {
        Box::pin(async move { self.0.acquire().await?.prepare_with(sql, parameters).await })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Describe<Postgres>>
    where
        's: 'e,
    {
        Box::pin(async move { self.0.acquire().await?.describe(sql).await })
    }
}
