//! Waiting for what will be so, never for a time.

use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until `look` finds something; fails after [`PATIENCE`], saying what did not come.
pub(crate) async fn until<T, L>(what: &str, look: L) -> T
where
    L: AsyncFnMut() -> Option<T>,
{
    within(PATIENCE, LOOK, what, look).await
}

/// The same for what takes longer, and is looked at less often.
pub(crate) async fn within<T, L>(limit: Duration, pause: Duration, what: &str, mut look: L) -> T
where
    L: AsyncFnMut() -> Option<T>,
{
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < limit, "{what}: not within {} s", limit.as_secs());
        tokio::time::sleep(pause).await;
    }
}

/// The future's value, which must come within [`PATIENCE`].
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {} s", PATIENCE.as_secs()),
    }
}
