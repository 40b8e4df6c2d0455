//! The inbox as a provider meets it: stored, then acknowledged; and a report that no store takes.

use std::sync::Arc;

use async_trait::async_trait;
use delivery::inbox;
use message::report::{ProviderReport, ReportState};
use provider::{Accepted, Provider, ReportBatch, Submission, SubmitError};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::bench::Bench;
use crate::given::{self, PROVIDER};

/// A provider account that reports what a claim hands it.
struct Reporter(Mutex<mpsc::Receiver<ReportBatch>>);

#[async_trait]
impl Provider for Reporter {
    fn name(&self) -> &str {
        PROVIDER
    }

    fn window(&self) -> usize {
        1
    }

    async fn submit(&self, _: &Submission) -> Result<Accepted, SubmitError> {
        Err(SubmitError::Unavailable { detail: "it only reports".to_owned() })
    }

    async fn next_reports(&self) -> Option<ReportBatch> {
        self.0.lock().await.recv().await
    }
}

/// Delivers one batch, as the provider would. Answers whether it was acknowledged.
async fn deliver(bench: &Bench, reports: Vec<ProviderReport>) -> bool {
    let (batches, taken) = mpsc::channel(1);
    let (stored, acknowledged) = oneshot::channel();
    batches.send(ReportBatch { reports, stored }).await.unwrap();
    // With nothing more to come, the receiver ends by itself.
    drop(batches);
    let provider = Arc::new(Reporter(Mutex::new(taken)));
    inbox::receive(bench.mover(), provider, Arc::new(Notify::new()), CancellationToken::new()).await;
    acknowledged.await.is_ok()
}

pub async fn reports_are_acknowledged_once_they_are_stored(bench: Bench) {
    let report = given::report("ref", ReportState::Delivered);
    assert!(deliver(&bench, vec![report.clone()]).await);
    let again = bench.store.store_reports(PROVIDER, &[report]).await.unwrap();
    assert_eq!((again.new, again.duplicate), (0, 1));
}

pub async fn a_poison_report_is_given_up_and_its_neighbours_are_stored(bench: Bench) {
    let client = bench.client().await;
    bench.sent(client, "good").await;
    bench.sent(client, "later").await;
    // A part's number is one octet; no store takes a larger one.
    let poison = ProviderReport { part: 256, ..given::report("good", ReportState::Delivered) };
    let good = given::report("good", ReportState::Delivered);
    let later = given::report("later", ReportState::EnRoute);
    assert!(deliver(&bench, vec![poison.clone(), good.clone(), later]).await);
    let pending = bench.pending().await;
    assert_eq!(pending.len(), 2);
    assert!(pending.iter().any(|pending| pending.report == good));
    // Alone it is given up too, or the provider would deliver it for ever.
    assert!(deliver(&bench, vec![poison]).await);
    assert_eq!(bench.pending().await.len(), 2);
}
