//! What cannot work is refused at the start, without telling secrets.

use std::error::Error;
use std::sync::Arc;

use limiter_redis::{Options, OptionsError, RedisLimiter};
use memory::MemoryLimiter;

async fn refusal(options: Options) -> OptionsError {
    match RedisLimiter::start(&options, Arc::new(MemoryLimiter::new())).await {
        Ok(_) => panic!("it was taken"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_url_that_cannot_be_used_is_refused_without_being_told() {
    for url in [
        "",
        "hunter2",
        "http://user:hunter2@localhost",
        "redis://user:hunter2@",
        "redis://user:hunter2@localhost:port",
        "redis://user:hunter2@localhost/hunter2",
        "redis://user:hunter2@localhost?protocol=four",
        "rediss://user:hunter2@localhost",
    ] {
        let error = refusal(Options::new(url, 0)).await;
        let source = error.source().map(ToString::to_string);
        let told = format!("{error} {error:?} {source:?}");
        assert!(matches!(error, OptionsError::Url(_)), "{url}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[tokio::test]
async fn a_prefix_that_would_move_keys_is_refused() {
    for prefix in ["", "a{b", "}", "a b", "ä", &"x".repeat(65)] {
        let options = Options { prefix: prefix.into(), ..Options::new("redis://localhost", 0) };
        assert!(matches!(refusal(options).await, OptionsError::Prefix), "{prefix}");
    }
}
