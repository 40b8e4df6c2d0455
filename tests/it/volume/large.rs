//! A large upload: what the server holds in memory is bounded, however slowly its acknowledgements are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use herald_sdk::Client;
use herald_sdk::tonic::Request;
use herald_sdk::tonic::metadata::{Ascii, MetadataValue};
use herald_sdk::tonic::service::Interceptor;
use herald_sdk::tonic::service::interceptor::InterceptedService;
use herald_sdk::tonic::transport::{Channel, Endpoint};
use herald_sdk::v1::messaging_service_client::MessagingServiceClient;
use herald_sdk::v1::{self, ErrorReason};

use super::upload::{Upload, accepted};
use crate::support::{Herald, Mode, NewAccount, PART_PRICE, Setup, in_both_modes, sms, until};

const COUNT: usize = 100_000;
/// After so many the server has all that it needs.
const WARM: usize = 10_000;
/// Acknowledgements between two pauses of the reader.
const BETWEEN_PAUSES: usize = 10_000;
/// Octets that HTTP/2 lets the server send before they are read.
const WINDOW: u32 = 65_535;
/// Sent and not acknowledged as far as the reader has read: in flight, in the channels, and in the windows of both ends.
const UNREAD_MAX: usize = 6_000;
const GROWTH_MAX_KIB: u64 = 64 * 1024;

in_both_modes! {
    a_hundred_thousand_sends_with_a_slow_reader_take_bounded_memory_and_are_acknowledged_once,
}

async fn a_hundred_thousand_sends_with_a_slow_reader_take_bounded_memory_and_are_acknowledged_once(
    mode: Mode,
) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let credit_micros = PART_PRICE * i64::try_from(COUNT).expect("it fits");
    let account = herald.unsettled_account(NewAccount::with_credit(credit_micros)).await;
    let mut upload = Upload::over(narrow(&herald, &account.key)).await.expect("a stream");
    let sent = Arc::new(AtomicUsize::new(0));
    let sender = tokio::spawn(send_all(upload.up.clone(), sent.clone()));
    let mut is_acknowledged = vec![false; COUNT];
    let (mut warm_kib, mut most_kib) = (0, 0);
    for read in 0..COUNT {
        if read % BETWEEN_PAUSES == BETWEEN_PAUSES / 2 {
            // The reader takes nothing until the server takes nothing either.
            stands_still(&sent).await;
            let unread = sent.load(Ordering::Relaxed) - read;
            assert!(unread <= UNREAD_MAX, "the server reads on without a reader: {unread} are unread");
        }
        let ack = upload.next_ack().await.expect("the stream goes on").expect("no error");
        accepted(&ack);
        let seen = &mut is_acknowledged[usize::try_from(ack.index).expect("from 0")];
        assert!(!std::mem::replace(seen, true), "{} is acknowledged twice", ack.index);
        if read == WARM {
            warm_kib = resident_kib(herald.pid());
        }
        if read > WARM && read % 1_000 == 0 {
            most_kib = most_kib.max(resident_kib(herald.pid()));
        }
    }
    sender.await.expect("all were sent");
    let (more, end) = upload.half_close().await;
    assert!(more.is_empty() && end.is_ok(), "{more:?} {end:?}");
    println!("resident: {warm_kib} KiB after {WARM} messages, at most {most_kib} KiB later");
    assert!(most_kib < warm_kib + GROWTH_MAX_KIB, "{warm_kib} KiB grew to {most_kib} KiB");
    check_books(&account.client, credit_micros).await;
    herald.finish().await;
}

/// A caller whose connection holds little that is not read.
fn narrow(
    herald: &Herald,
    key: &str,
) -> MessagingServiceClient<InterceptedService<Channel, impl Interceptor + Clone>> {
    let key: MetadataValue<Ascii> = key.parse().expect("a key is ASCII");
    let endpoint = Endpoint::from_shared(herald.url()).expect("the address is well formed");
    let narrow = endpoint.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
    MessagingServiceClient::with_interceptor(narrow.connect_lazy(), move |mut request: Request<()>| {
        request.metadata_mut().insert("x-api-key", key.clone());
        Ok(request)
    })
}

/// Each message is due in a week, so that nothing but the accepting is looked at.
async fn send_all(up: tokio::sync::mpsc::Sender<v1::StreamMessagesRequest>, sent: Arc<AtomicUsize>) {
    let text = "a".repeat(160);
    let in_a_week = std::time::SystemTime::now() + Duration::from_secs(7 * 24 * 3_600);
    for number in 0..COUNT {
        let message = v1::SendMessageRequest {
            idempotency_key: number.to_string(),
            schedule_time: Some(in_a_week.into()),
            ..sms("+12025550100", &text)
        };
        let frame = v1::StreamMessagesRequest { tag: String::new(), message: Some(message) };
        up.send(frame).await.expect("the stream takes frames");
        sent.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until the count has not moved for a while, or is complete.
async fn stands_still(sent: &AtomicUsize) {
    let (mut last, mut looks) = (usize::MAX, 0);
    until("the end of the reading", async || {
        let now = sent.load(Ordering::Relaxed);
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
        (looks >= 15 || now == COUNT).then_some(())
    })
    .await;
}

/// Exactly the hundred thousand: the credit is used up, all of it held, and the log has an event for each.
async fn check_books(client: &Client, credit_micros: i64) {
    let balance = client.balance().await.expect("the balance");
    assert_eq!((balance.available_micros, balance.held_micros), (0, credit_micros));
    assert_eq!(balance.seq, 1 + i64::try_from(COUNT).expect("it fits"));
    let one_more = v1::SendMessageRequest { idempotency_key: "more".into(), ..sms("+12025550100", "Hello") };
    let refused = client.send(one_more).await.expect_err("the credit is used up");
    assert_eq!(refused.reason(), Some(ErrorReason::InsufficientCredit));
}

/// Resident memory of the process (proc(5), VmRSS).
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
