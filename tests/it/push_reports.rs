//! Providers push their reports: stored when the answer comes, applied soon after, each once.

use herald_sdk::tonic::service::interceptor::InterceptedService;
use herald_sdk::tonic::transport::{Channel, Endpoint};
use herald_sdk::tonic::{Code, Request, Status};
use herald_sdk::v1::report_service_client::ReportServiceClient;
use herald_sdk::v1::{self, ErrorReason};

use crate::support::{
    Account, Herald, Mode, NewAccount, Setup, in_both_modes, nothing_held, refusal, sms, span, until,
};

in_both_modes! {
    a_message_without_a_report_is_delivered_by_the_one_that_is_pushed,
    a_failure_that_is_pushed_gives_the_credit_back_and_tells_why,
    reports_of_unknown_messages_are_kept_listed_and_applied_once_the_message_is_known,
    only_a_key_of_the_provider_may_push,
    bad_reports_are_named_and_none_of_the_request_is_stored,
}

/// Adds the provider's key.
type WithKey = Box<dyn FnMut(Request<()>) -> Result<Request<()>, Status> + Send>;

/// A provider that pushes.
pub(crate) struct Pusher(ReportServiceClient<InterceptedService<Channel, WithKey>>);

impl Pusher {
    pub(crate) fn new(herald: &Herald, key: &str) -> Self {
        let channel = Endpoint::from_shared(herald.url()).expect("the address is well formed").connect_lazy();
        let key: Option<herald_sdk::tonic::metadata::MetadataValue<_>> =
            (!key.is_empty()).then(|| key.parse().expect("a key is ASCII"));
        let with_key: WithKey = Box::new(move |mut call| {
            if let Some(key) = &key {
                call.metadata_mut().insert("x-provider-key", key.clone());
            }
            Ok(call)
        });
        Self(ReportServiceClient::with_interceptor(channel, with_key))
    }

    pub(crate) async fn push(&mut self, reports: &[v1::ProviderReport]) -> Result<(i32, i32), Status> {
        self.push_as("simulator", reports).await
    }

    /// How many were new, and how many were known.
    async fn push_as(
        &mut self,
        provider: &str,
        reports: &[v1::ProviderReport],
    ) -> Result<(i32, i32), Status> {
        let request =
            v1::IngestDeliveryReportsRequest { provider: provider.into(), reports: reports.to_vec() };
        let answer = self.0.ingest_delivery_reports(request).await?.into_inner();
        Ok((answer.stored_count, answer.duplicate_count))
    }
}

pub(crate) fn report(provider_message_id: &str, status: v1::message::Status) -> v1::ProviderReport {
    v1::ProviderReport {
        provider_message_id: provider_message_id.into(),
        status: status.into(),
        ..Default::default()
    }
}

/// A new key of the provider, with its id.
pub(crate) async fn provider_key(herald: &Herald) -> (String, String) {
    let request = v1::CreateProviderKeyRequest { provider: "simulator".into(), name: "dlr".into() };
    let made = herald.operator().raw().admin().create_provider_key(request).await;
    let made = made.expect("the key is made").into_inner();
    (made.provider_key.expect("the key").id, made.secret)
}

/// A client that waits for reports for longer than a story takes.
fn patient() -> NewAccount {
    let mut new = NewAccount::default();
    new.client.report_timeout = Some(span(std::time::Duration::from_secs(600)));
    new
}

/// Sends a message that the simulator takes and never reports; answers it when it is SENT.
async fn unreported(account: &Account) -> v1::Message {
    let sent = account.client.send(sms("+12025550140", "Hello")).await.expect("the send is accepted").message;
    until("the provider's acceptance", async || {
        let message = account.client.get_message(&sent.id).await.expect("the message");
        (message.status() == v1::message::Status::Sent).then_some(message)
    })
    .await
}

async fn until_status(account: &Account, id: &str, status: v1::message::Status) -> v1::Message {
    until(status.as_str_name(), async || {
        let message = account.client.get_message(id).await.expect("the message");
        (message.status() == status).then_some(message)
    })
    .await
}

async fn a_message_without_a_report_is_delivered_by_the_one_that_is_pushed(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(patient()).await;
    let (_, key) = provider_key(&herald).await;
    let mut pusher = Pusher::new(&herald, &key);
    let message = unreported(&account).await;
    assert!(!message.provider_message_id.is_empty());
    let on_its_way = report(&message.provider_message_id, v1::message::Status::Sent);
    let delivered = v1::ProviderReport {
        done_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
        ..report(&message.provider_message_id, v1::message::Status::Delivered)
    };
    let both = [on_its_way, delivered.clone()];
    assert_eq!(pusher.push(&both).await.expect("they are stored"), (2, 0));
    until_status(&account, &message.id, v1::message::Status::Delivered).await;
    let balance = nothing_held(&account.client).await;
    assert_eq!(pusher.push(&both).await.expect("they are stored"), (0, 2));
    // The same word at another time is another report: it is kept, and changes nothing.
    let later = v1::ProviderReport { done_time: None, ..delivered };
    assert_eq!(pusher.push(&[later.clone(), later]).await.expect("they are stored"), (1, 1));
    let after = account.client.balance().await.expect("the balance");
    assert_eq!(after.available_micros, balance.available_micros);
    herald.finish().await;
}

async fn a_failure_that_is_pushed_gives_the_credit_back_and_tells_why(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(patient()).await;
    let (_, key) = provider_key(&herald).await;
    let before = account.client.balance().await.expect("the balance").available_micros;
    let message = unreported(&account).await;
    let failed = v1::ProviderReport {
        provider_code: "27".into(),
        detail: "absent subscriber".into(),
        reason: v1::failure::Reason::RecipientUnreachable.into(),
        ..report(&message.provider_message_id, v1::message::Status::FailedPerm)
    };
    assert_eq!(Pusher::new(&herald, &key).push(&[failed]).await.expect("it is stored"), (1, 0));
    let failed = until_status(&account, &message.id, v1::message::Status::FailedPerm).await;
    let failure = failed.failure.expect("it tells why");
    assert_eq!(failure.reason(), v1::failure::Reason::RecipientUnreachable);
    assert_eq!((failure.provider_code.as_str(), failure.detail.as_str()), ("27", "absent subscriber"));
    assert_eq!(nothing_held(&account.client).await.available_micros, before);
    herald.finish().await;
}

async fn reports_of_unknown_messages_are_kept_listed_and_applied_once_the_message_is_known(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(patient()).await;
    let (_, key) = provider_key(&herald).await;
    let mut pusher = Pusher::new(&herald, &key);
    // The simulator counts its references: this tells the next one.
    let first = unreported(&account).await.provider_message_id;
    assert_eq!(
        pusher.push(&[report(&first, v1::message::Status::Delivered)]).await.expect("it is stored"),
        (1, 0)
    );
    let (run, number) = first.rsplit_once('-').expect("a reference ends with a number");
    let reference = format!("{run}-{}", number.parse::<u64>().expect("it is a number") + 1);
    let early = report(&reference, v1::message::Status::Delivered);
    let never =
        v1::ProviderReport { provider_code: "9".into(), ..report("never", v1::message::Status::Expired) };
    assert_eq!(pusher.push(&[early, never]).await.expect("they are stored"), (2, 0));
    let unmatched = async |provider: &str| {
        let mut admin = herald.operator().raw().admin();
        let mut request =
            v1::ListUnmatchedReportsRequest { page_size: 1, provider: provider.into(), ..Default::default() };
        let mut reports = Vec::new();
        loop {
            let page = admin.list_unmatched_reports(request.clone()).await.expect("a page").into_inner();
            reports.extend(page.reports);
            if page.next_page_token.is_empty() {
                return reports;
            }
            request.page_token = page.next_page_token;
        }
    };
    let listed = unmatched("").await;
    let ids: Vec<&str> = listed.iter().map(|report| report.provider_message_id.as_str()).collect();
    assert_eq!(ids, ["never", &reference], "newest first");
    assert_eq!(listed[0].status(), v1::message::Status::FailedPerm);
    let failure = listed[0].failure.as_ref().expect("it tells why");
    assert_eq!(failure.reason(), v1::failure::Reason::ValidityExpired);
    assert_eq!((failure.provider_code.as_str(), listed[0].provider.as_str()), ("9", "simulator"));
    assert_eq!(listed[1].status(), v1::message::Status::Delivered);
    assert!(listed.iter().all(|report| report.store_time.is_some()));
    assert!(unmatched("nobody").await.is_empty());

    let sent = account.client.send(sms("+12025550140", "Hello")).await.expect("the send is accepted").message;
    let delivered = until_status(&account, &sent.id, v1::message::Status::Delivered).await;
    assert_eq!(delivered.provider_message_id, reference);
    let left = unmatched("simulator").await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].provider_message_id, "never");
    herald.finish().await;
}

async fn only_a_key_of_the_provider_may_push(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let (id, key) = provider_key(&herald).await;
    let fine = [report("r1", v1::message::Status::Delivered)];
    let last = key.chars().last().expect("a key has characters");
    let changed = key[..key.len() - 1].to_owned() + if last == '0' { "1" } else { "0" };
    let invalid = |answer: Result<(i32, i32), Status>| {
        refusal(answer, Code::Unauthenticated, ErrorReason::ApiKeyInvalid);
    };
    let without = Pusher::new(&herald, "").push(&fine).await;
    refusal(without, Code::Unauthenticated, ErrorReason::ApiKeyMissing);
    for wrong in ["hp", &changed, herald.operator_key()] {
        invalid(Pusher::new(&herald, wrong).push(&fine).await);
    }
    let mut pusher = Pusher::new(&herald, &key);
    invalid(pusher.push_as("another", &fine).await);
    invalid(pusher.push_as("", &fine).await);
    assert_eq!(pusher.push(&fine).await.expect("it is stored"), (1, 0));
    // A provider's key opens nothing else.
    let other = herald.impatient_client(&key).account().await;
    refusal(other, Code::Unauthenticated, ErrorReason::ApiKeyInvalid);

    let mut admin = herald.operator().raw().admin();
    let listed =
        admin.list_provider_keys(v1::ListProviderKeysRequest {}).await.expect("the keys").into_inner();
    assert_eq!(listed.provider_keys.len(), 1);
    let listed = &listed.provider_keys[0];
    assert_eq!(
        (listed.id.as_str(), listed.provider.as_str(), listed.name.as_str()),
        (id.as_str(), "simulator", "dlr")
    );
    let revoke = v1::RevokeProviderKeyRequest { key_id: id };
    for _ in 0..2 {
        let revoked = admin.revoke_provider_key(revoke.clone()).await.expect("it is revoked").into_inner();
        assert!(revoked.provider_key.expect("the key").revoke_time.is_some());
    }
    let refused = until("the refusal of the key", async || pusher.push(&fine).await.err()).await;
    invalid(Err(refused));
    let absent = admin.revoke_provider_key(v1::RevokeProviderKeyRequest { key_id: "prov0".into() }).await;
    refusal(absent, Code::NotFound, ErrorReason::ResourceNotFound);
    herald.finish().await;
}

async fn bad_reports_are_named_and_none_of_the_request_is_stored(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let (_, key) = provider_key(&herald).await;
    let mut pusher = Pusher::new(&herald, &key);
    let fine = report("r1", v1::message::Status::Delivered);
    let bad = v1::ProviderReport { part_number: -1, ..report("", v1::message::Status::Queued) };
    let refused = pusher.push(&[fine.clone(), bad]).await;
    let error = refusal(refused, Code::InvalidArgument, ErrorReason::InvalidField);
    let named: Vec<&str> =
        error.field_violations().iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(named, ["reports[1].provider_message_id", "reports[1].part_number", "reports[1].status"]);
    let refused = pusher.push(&[]).await;
    refusal(refused, Code::InvalidArgument, ErrorReason::InvalidField);
    assert_eq!(pusher.push(std::slice::from_ref(&fine)).await.expect("it is stored"), (1, 0));
    let many: Vec<_> =
        (0..1_000).map(|number| report(&format!("many {number}"), v1::message::Status::Sent)).collect();
    assert_eq!(pusher.push(&many).await.expect("they are stored"), (1_000, 0));
    assert_eq!(pusher.push(&many).await.expect("they are stored"), (0, 1_000));
    herald.finish().await;
}
