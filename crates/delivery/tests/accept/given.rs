//! A client, an installation's rates and providers, and a request that is fine.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use delivery::accept::prepare::{Prepared, Setting, prepare};
use delivery::accept::{AcceptError, FieldViolation, SendRequest};
use delivery::model::{Client, ClientState, Head};
use delivery::plan::Loaded;
use ledger::{Balance, Policy};
use message::Timestamp;
use message::id::{ClientId, Entropy};
use message::parts::ReferenceBits;
use message::status::OnUnknown;
use routing::rates::RateTable;
use routing::route::{ProviderEntry, ProviderKind};

pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
/// Micros a part to the United States, the only rate.
pub(crate) const PART_PRICE: i64 = 7_900;

pub(crate) fn client() -> Client {
    Client {
        id: ClientId::new(NOW, Entropy([1; 10])),
        name: "test".into(),
        state: ClientState::Active,
        suspend_reason: String::new(),
        currency: "USD".into(),
        is_sandbox: true,
        policy: Policy::default(),
        report_timeout: Duration::from_secs(3_600),
        on_unknown: OnUnknown::Wait,
        resend_after: Duration::from_secs(60),
        parts_per_second: 0,
        burst_parts: 0,
        default_sender: "Herald".into(),
        max_parts: 10,
        low_balance_micros: 0,
        created_at: NOW,
        revision: 1,
    }
}

/// What a transaction finds of the client alone.
pub(crate) fn loaded(client: &Client, available: i64) -> Loaded {
    let head = Head { balance: Balance::new(available, 0).unwrap(), last_seq: 4, oldest_seq: 1 };
    Loaded {
        now: NOW,
        clients: BTreeMap::from([(client.id, (client.clone(), head))]),
        messages: BTreeMap::new(),
        keys: HashMap::new(),
        pending_reports: BTreeSet::new(),
        dead_letters: BTreeMap::new(),
    }
}

pub(crate) fn request() -> SendRequest {
    SendRequest { to: "+12025550100".into(), text: "Hello".into(), ..SendRequest::default() }
}

/// Prepares with one rate and these kinds of providers.
pub(crate) fn prepare_with(
    client: &Client,
    kinds: &[ProviderKind],
    part_price: i64,
    request: SendRequest,
) -> Result<Prepared, AcceptError> {
    let rates = RateTable::new([("USD".into(), "1".into(), part_price)]).unwrap();
    let providers: Vec<_> = kinds.iter().map(|kind| ProviderEntry::new("p", *kind)).collect();
    let setting = Setting { rates: &rates, providers: &providers, reference_bits: ReferenceBits::Sixteen };
    prepare(client, setting, &request)
}

pub(crate) fn prepared(request: SendRequest) -> Result<Prepared, AcceptError> {
    prepare_with(&client(), &[ProviderKind::Simulator], PART_PRICE, request)
}

/// The fields that break their limits, in order.
pub(crate) fn violations(result: Result<Prepared, AcceptError>) -> Vec<FieldViolation> {
    match result {
        Err(AcceptError::Invalid(violations)) => violations,
        other => panic!("expected violations, got {other:?}"),
    }
}
