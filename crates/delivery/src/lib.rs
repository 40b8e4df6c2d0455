//! The use cases of the gateway: accept, dispatch, report, sweep, watch, reconcile; and the ports they need.
//! For `src/`, which assembles them with adapters. Rules are pure functions in the leaves (`accept::prepare`,
//! `accept::decide`, `transition`, `book`, `reconcile::examine`); no SQL, no transport, no configuration here.

#[macro_use]
pub mod faults;

pub mod model;
pub mod plan;
pub mod port;
pub mod timing;

pub mod book;
pub mod retry;
pub mod transition;

pub mod accept;
pub mod adjust;
pub mod cancel;
pub mod change;
pub mod credit;
pub mod dispatch;
pub mod health;
pub mod inbox;
pub mod lane;
mod pages;
pub mod reconcile;
pub mod retention;
pub mod rings;
pub mod statement;
pub mod sweep;
pub mod top_up;
pub mod watch;
pub mod writer;
