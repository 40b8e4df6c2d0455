//! Taking away what a test made on a server that others use too.

use std::error::Error;

/// Whatever may go wrong there.
pub(super) type Failure = Box<dyn Error + Send + Sync>;

/// Does the work now, on a thread of its own: the test's runtime may be on its way out. What fails is told; the test has
/// its verdict already.
pub(super) fn remove(what: &str, work: impl Future<Output = Result<(), Failure>> + Send + 'static) {
    let worker = std::thread::spawn(move || -> Result<(), Failure> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
    });
    if let Ok(Err(error)) = worker.join() {
        eprintln!("a test's {what} not removed: {error}");
    }
}
