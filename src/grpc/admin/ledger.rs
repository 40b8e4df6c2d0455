//! The books, checked and told. Nothing is repaired.

use std::sync::Arc;

use delivery::port::ClientFilter;
use delivery::reconcile;
use message::id::ClientId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use crate::app::App;
use crate::auth::Principal;
use crate::grpc::convert::audit::audit as told;
use crate::grpc::faults::read_id;
use crate::grpc::{find_client, trail};
use crate::proto::v1;
use crate::status;

/// Clients read at once, and audits that wait for a slow reader.
const PAGE: i64 = 100;
const FRAMES: usize = 16;

/// A frame for each client.
pub type Audits = ReceiverStream<Result<v1::AuditLedgerResponse, Status>>;

type Frames = mpsc::Sender<Result<v1::AuditLedgerResponse, Status>>;

pub async fn audit(
    app: &Arc<App>,
    operator: &Principal,
    client_id: &str,
) -> Result<Response<Audits>, Status> {
    let one = if client_id.is_empty() { None } else { Some(read_id("client_id", client_id)?) };
    if let Some(id) = one {
        find_client(app, id).await?;
    }
    let place = app.places.take(&operator.key_id)?;
    trail::log(&operator.key_id, one, "AdminService.AuditLedger");
    let (frames, sent) = mpsc::channel(FRAMES);
    let app = app.clone();
    tokio::spawn(async move {
        audit_into(app, one, frames).await;
        drop(place);
    });
    Ok(Response::new(ReceiverStream::new(sent)))
}

/// Audits one client or all, a frame each, until the caller leaves or the server stops.
async fn audit_into(app: Arc<App>, one: Option<ClientId>, frames: Frames) {
    let audited = async {
        if let Some(id) = one {
            return audit_each(&app, &[id], &frames).await;
        }
        let mut after = None;
        loop {
            let clients = app.store.clients(&ClientFilter::default(), after, PAGE, PAGE).await;
            let clients = clients.map_err(status::store_error)?.items;
            let ids: Vec<ClientId> = clients.iter().map(|client| client.id).collect();
            let Some(last) = ids.last() else { return Ok(()) };
            after = Some(*last);
            audit_each(&app, &ids, &frames).await?;
        }
    };
    let ended = tokio::select! {
        ended = audited => ended,
        () = app.streams_end.cancelled() => Err(status::shutting_down()),
        () = frames.closed() => return,
    };
    if let Err(error) = ended {
        let _ = frames.send(Err(error)).await;
    }
}

async fn audit_each(app: &App, ids: &[ClientId], frames: &Frames) -> Result<(), Status> {
    for id in ids {
        let audited = reconcile::audit(app.store.as_ref(), &app.timing, *id).await;
        if let Some((audit, _)) = audited.map_err(status::store_error)? {
            // A caller that left is noticed by whoever runs this.
            let _ = frames.send(Ok(told(audit))).await;
        }
    }
    Ok(())
}
