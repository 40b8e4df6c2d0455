//! A stop under load: what was accepted is kept, and what was begun is ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use herald_sdk::v1;
use tokio::task::JoinSet;

use crate::support::{
    Herald, Mode, NewAccount, Setup, SimulatorProcess, every_message, free_port, in_both_modes, nothing_held,
    sms, soon, until,
};

in_both_modes! {
    a_stop_under_load_keeps_what_was_accepted_and_leaves_no_outcome_unknown,
}

async fn a_stop_under_load_keeps_what_was_accepted_and_leaves_no_outcome_unknown(mode: Mode) {
    const SENDERS: usize = 16;
    const EACH: usize = 20;
    let folder = tempfile::tempdir().expect("a temporary folder");
    // A process of its own: it owes reports while the server is away.
    let simulator = SimulatorProcess::start(folder.path(), 1, 1.0).await;
    let setup = Setup::default()
        .set("HERALD_LISTEN", format!("127.0.0.1:{}", free_port()))
        .set("HERALD_SIMULATOR__ADDRESS", simulator.address);
    let mut herald = Herald::start(mode, setup).await;
    let account = herald.account(NewAccount::default()).await;
    let accepted = Arc::new(AtomicUsize::new(0));
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (client, accepted) = (account.client.clone(), accepted.clone());
        senders.spawn(async move {
            for number in 0..EACH {
                let key = format!("stop-{sender}-{number}");
                let request = v1::SendMessageRequest { idempotency_key: key, ..sms("+12025550100", "Hello") };
                client.send(request).await.expect("the SDK bridges a restart");
                accepted.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    until("half of the sends", async || {
        (accepted.load(Ordering::Relaxed) >= SENDERS * EACH / 2).then_some(())
    })
    .await;
    herald.stop().await;
    herald.start_server().await;
    while let Some(ended) = soon("the last sender", senders.join_next()).await {
        ended.expect("every send was accepted");
    }
    nothing_held(&account.client).await;

    let messages = every_message(&account.client).await;
    assert_eq!(messages.len(), SENDERS * EACH);
    for message in &messages {
        assert_eq!(
            (message.status(), message.attempt_count),
            (v1::message::Status::Delivered, 1),
            "{message:?}"
        );
    }
    let types = vec!["message.unknown".to_owned()];
    let request = v1::ListEventsRequest { types, page_size: 500, ..Default::default() };
    let unknown = account.client.list_events(request).await.expect("the events");
    assert!(unknown.caught_up);
    assert_eq!(unknown.events, [], "the workers did not end what they had begun");
    assert_eq!(simulator.witness().messages().count(), messages.len());
    herald.finish().await;
}
