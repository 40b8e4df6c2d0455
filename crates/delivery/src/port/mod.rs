//! The ports: what the use cases need of technology. Each method's comment is the contract that the
//! conformance suite checks.

mod admin;
mod audit;
mod limiter;
mod queue;
mod store;
mod view;

pub use admin::{
    AdminStore, AuditFilter, ClientFilter, Created, Creation, DeadLetterFilter, Migration, RateRow, Scanned,
    Schema, UnmatchedReport,
};
pub use audit::{AuditStore, Books, Checkpoint, PurgeLimits, Purged};
pub use limiter::{Admission, Admitted, Limiter, Rate};
pub use queue::{Bell, Due, Offer, Queue, Ring, Ticket};
pub use store::{
    Claim, Claimed, PendingReport, ReportTarget, Restock, StoreError, StoredReports, Timer, Transaction,
    WorkStore,
};
pub use view::{EventPage, MessageFilter, PageAsked, Total, TransactionFilter, ViewStore};

/// The whole store.
pub trait Store: WorkStore + ViewStore + AdminStore + AuditStore {}

impl<T: WorkStore + ViewStore + AdminStore + AuditStore> Store for T {}
