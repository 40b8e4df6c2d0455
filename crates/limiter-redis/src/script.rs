//! What is asked of Redis and written there. All keys of a client share a slot of a cluster.

use std::sync::atomic::Ordering;
use std::time::Duration;

use deadpool_redis::redis::aio::ConnectionLike;
use deadpool_redis::redis::{self, FromRedisValue, ParsingError, Pipeline, RedisResult, Script, Value};
use delivery::model::{IdempotencyKey, Made, RememberedCall};
use delivery::port::{Admission, Admitted};
use message::fingerprint::Fingerprint;
use message::id::{ClientId, MessageId};
use uuid::Uuid;

use crate::options::{Clock, Options};

/// Gives tokens back to a bucket that is there; the next take cuts what is above the burst.
const GIVE_BACK: &str = "if redis.call('EXISTS', KEYS[1]) == 1 then \
     redis.call('HINCRBYFLOAT', KEYS[1], 'tokens', ARGV[1]) end";

pub(crate) struct Scripts {
    admit: Script,
    prefix: String,
    log_epoch: u64,
    clock: Clock,
}

impl Scripts {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            admit: Script::new(include_str!("admit.lua")),
            prefix: options.prefix.clone(),
            log_epoch: options.log_epoch,
            clock: options.clock.clone(),
        }
    }

    /// One round trip, and two more when Redis has lost the script.
    pub(crate) async fn admit(
        &self,
        mut connection: impl ConnectionLike,
        ask: &Admission<'_>,
    ) -> RedisResult<Admitted> {
        let (parts, per_second, burst) =
            ask.rate.map_or((0, 0, 0), |rate| (rate.parts, rate.per_second.max(1), rate.burst.max(1)));
        let mut call = self.admit.key(self.bucket(ask.client));
        if let Some((key, _)) = ask.call {
            call.key(self.copy(key));
        }
        call.arg(parts).arg(per_second).arg(burst);
        match &self.clock {
            Clock::Redis => call.arg(""),
            Clock::Fixed(micros) => call.arg(micros.load(Ordering::SeqCst)),
        };
        if let Some((_, fingerprint)) = ask.call {
            call.arg(self.mark(&fingerprint));
        }
        let Answer(admitted) = call.invoke_async(&mut connection).await?;
        Ok(admitted)
    }

    pub(crate) fn give_back(&self, pipeline: &mut Pipeline, client: ClientId, parts: u32) {
        pipeline.cmd("EVAL").arg(GIVE_BACK).arg(1).arg(self.bucket(client)).arg(parts).ignore();
    }

    /// Writes a copy of a call that made a message.
    pub(crate) fn remember(&self, pipeline: &mut Pipeline, copy: &Copied) {
        let millis = u64::try_from(copy.lifetime.as_millis()).unwrap_or(u64::MAX).max(1);
        pipeline.cmd("SET").arg(&copy.key).arg(&copy.value).arg("PX").arg(millis).ignore();
    }

    pub(crate) fn copy_of(&self, call: &RememberedCall, lifetime: Duration) -> Option<Copied> {
        let Made::Message(id) = call.made else { return None };
        let mut value = self.mark(&call.fingerprint);
        value.extend_from_slice(id.as_uuid().as_bytes());
        // The key lives from its commit, the copy from a little later: it ends before the key does.
        Some(Copied { key: self.copy(&call.key), value, lifetime: lifetime.mul_f64(0.99) })
    }

    /// Redis is there and can be written.
    pub(crate) async fn probe(&self, mut connection: impl ConnectionLike) -> RedisResult<()> {
        let key = format!("{}:probe", self.prefix);
        redis::cmd("SET").arg(key).arg(1).arg("EX").arg(60).query_async(&mut connection).await
    }

    fn bucket(&self, client: ClientId) -> String {
        format!("{}:{{{client}}}:bucket", self.prefix)
    }

    fn copy(&self, key: &IdempotencyKey) -> String {
        format!("{}:{{{}}}:call:{}:{}", self.prefix, key.client, key.kind, key.key)
    }

    /// What a copy must begin with to be of the same request, in the same history of the log.
    fn mark(&self, fingerprint: &Fingerprint) -> Vec<u8> {
        [&self.log_epoch.to_be_bytes(), fingerprint.as_bytes().as_slice()].concat()
    }
}

/// A copy on its way.
pub(crate) struct Copied {
    key: String,
    value: Vec<u8>,
    lifetime: Duration,
}

struct Answer(Admitted);

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        match value {
            Value::Int(0) => Ok(Self(Admitted::Passed)),
            Value::Int(micros @ 1..) => {
                Ok(Self(Admitted::RetryAfter(Duration::from_micros(micros.unsigned_abs()))))
            }
            Value::BulkString(id) => match Uuid::from_slice(&id) {
                Ok(id) => Ok(Self(Admitted::Remembered(MessageId::from_uuid(id)))),
                Err(_) => Err("a copy does not end with an id".into()),
            },
            _ => Err("the limiter's script answered something else".into()),
        }
    }
}
