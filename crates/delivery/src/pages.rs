//! Reads of clients' logs: those that wait while one is under way share the next.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};

use crate::port::{EventPage, PageAsked, Store, StoreError};

/// Reads that share a statement, at most.
const BATCH: usize = 64;
/// Reads that may wait; who comes past that waits for a place.
const WAITING: usize = 1_024;
/// Statements under way at once, so that a reader far back in its log does not hold up the others.
const AT_ONCE: usize = 2;

/// Reads pages. Dropped, it reads no more.
pub(crate) struct Pages(mpsc::Sender<Waiting>);

struct Waiting {
    asked: PageAsked,
    answer: oneshot::Sender<Result<EventPage, StoreError>>,
}

impl Pages {
    /// Must be called within a Tokio runtime.
    pub(crate) fn of(store: &Arc<dyn Store>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..AT_ONCE {
            tokio::spawn(read(store.clone(), receiver.clone()));
        }
        Self(sender)
    }

    pub(crate) async fn read(&self, asked: PageAsked) -> Result<EventPage, StoreError> {
        let (answer, answered) = oneshot::channel();
        let gone = |_| StoreError::Unavailable("nobody reads the logs any more".into());
        self.0.send(Waiting { asked, answer }).await.map_err(|_| gone(()))?;
        answered.await.map_err(|_| gone(()))?
    }
}

async fn read(store: Arc<dyn Store>, waiting: Arc<Mutex<mpsc::Receiver<Waiting>>>) {
    loop {
        let mut batch = Vec::new();
        if waiting.lock().await.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        // Whoever has left needs no page.
        batch.retain(|one| !one.answer.is_closed());
        metrics::counter!("herald_log_reads_total").increment(1);
        let asked: Vec<PageAsked> = batch.iter().map(|one| one.asked).collect();
        match store.event_pages(&asked).await {
            Ok(pages) => {
                for (one, page) in batch.into_iter().zip(pages) {
                    let _ = one.answer.send(Ok(page));
                }
            }
            Err(error) => {
                for one in batch {
                    let _ = one.answer.send(Err(error.echo()));
                }
            }
        }
    }
}
