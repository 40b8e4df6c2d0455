//! What a campaign costs, what an operator books, and the statement that both end up in.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use herald_sdk::tonic::Code;
use herald_sdk::v1::transaction::Type;
use herald_sdk::v1::{self, ErrorReason};
use herald_sdk::{Client, Error};

use crate::support::{
    Account, Herald, Mode, NewAccount, PART_PRICE, Setup, in_both_modes, item_error, nothing_held, refusal,
    sms,
};

in_both_modes! {
    a_quote_prices_each_recipient_and_says_whether_the_credit_covers_it,
    a_quote_with_mistakes_names_them_all,
    an_adjustment_is_booked_once_and_never_below_zero,
    what_an_operator_books_is_in_the_audit_trail_once,
    a_statement_adds_up_to_the_micro_over_any_period,
}

async fn a_quote_prices_each_recipient_and_says_whether_the_credit_covers_it(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::with_credit(5 * PART_PRICE)).await;
    let client = &account.client;
    let to = |numbers: &[&str]| numbers.iter().map(|number| (*number).to_owned()).collect::<Vec<_>>();
    let request = v1::QuoteRequest {
        to: to(&["+12025550100", "nobody", "+1 (613) 555-0100", "+12025550151"]),
        text: "a".repeat(200),
        ..Default::default()
    };
    let quoted = quote(client, request).await.expect("a quote");
    let lines: Vec<_> = quoted
        .lines
        .iter()
        .map(|line| (line.to.as_str(), line.country.as_str(), line.part_count, line.price_micros))
        .collect();
    let expected = [
        ("+12025550100", "US", 2, 2 * PART_PRICE),
        ("nobody", "", 2, 0),
        ("+16135550100", "CA", 2, 2 * PART_PRICE),
        ("+12025550151", "US", 2, 0),
    ];
    assert_eq!(lines, expected);
    assert_eq!(quoted.lines[0].part_price_micros, PART_PRICE);
    let errors: Vec<_> = quoted.lines.iter().map(|line| line.error.as_ref().map(item_error)).collect();
    let reasons: Vec<_> = errors.iter().map(|error| error.as_ref().and_then(Error::reason)).collect();
    assert_eq!(reasons, [None, Some(ErrorReason::RecipientInvalid), None, Some(ErrorReason::NoRate)]);
    assert_eq!((quoted.total_micros, quoted.available_micros), (4 * PART_PRICE, 5 * PART_PRICE));
    assert!(!quoted.is_affordable, "a line has an error");
    for (parts, is_affordable) in [(5, true), (6, false)] {
        let request = v1::QuoteRequest { to: to(&["+12025550100"]), part_count: parts, ..Default::default() };
        let quoted = quote(client, request).await.expect("a quote");
        assert_eq!((quoted.is_affordable, quoted.currency.as_str()), (is_affordable, "USD"));
        assert_eq!(quoted.total_micros, i64::from(parts) * PART_PRICE);
    }
    assert_eq!(client.balance().await.expect("the balance").seq, 1, "a quote left a trace");
    herald.finish().await;
}

async fn a_quote_with_mistakes_names_them_all(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    type Quote = v1::QuoteRequest;
    let fine = || Quote { to: vec!["+12025550100".into()], text: "Hello".into(), ..Default::default() };
    let invalid = ErrorReason::InvalidField;
    for (request, reason, fields) in [
        (Quote { to: Vec::new(), ..fine() }, invalid, vec!["to"]),
        (Quote { to: vec!["+12025550100".into(); 1_001], ..fine() }, invalid, vec!["to"]),
        (Quote { text: String::new(), ..fine() }, invalid, vec!["text"]),
        (Quote { part_count: 1, ..fine() }, invalid, vec!["part_count"]),
        (Quote { part_count: 256, text: String::new(), ..fine() }, invalid, vec!["part_count"]),
        (Quote { part_count: -1, text: String::new(), ..fine() }, invalid, vec!["part_count"]),
        (Quote { encoding: 9, to: Vec::new(), ..fine() }, invalid, vec!["encoding", "to"]),
        (
            Quote { encoding: v1::Encoding::Gsm7.into(), text: "日".into(), ..fine() },
            ErrorReason::TextNotEncodable,
            vec!["text"],
        ),
        (Quote { text: "a".repeat(2_000), ..fine() }, ErrorReason::TooManyParts, vec!["text"]),
    ] {
        let error = refusal(quote(&account.client, request).await, Code::InvalidArgument, reason);
        let named: Vec<&str> =
            error.field_violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, fields, "{error}");
    }
    herald.finish().await;
}

async fn an_adjustment_is_booked_once_and_never_below_zero(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::with_credit(1_000)).await;
    let up = adjust(&herald, &account, "up", 500).await.expect("it is booked");
    assert!(!up.replayed);
    let booked = up.transaction.clone().expect("the transaction");
    assert_eq!((booked.r#type(), booked.available_delta_micros), (Type::Adjustment, 500));
    assert_eq!((booked.available_after_micros, booked.note.as_str()), (1_500, "as agreed"));
    let again = adjust(&herald, &account, "up", 500).await.expect("it is answered");
    assert_eq!((again.replayed, again.transaction), (true, up.transaction));
    let other = adjust(&herald, &account, "up", 400).await;
    refusal(other, Code::AlreadyExists, ErrorReason::IdempotencyKeyReused);
    let error = refusal(
        adjust(&herald, &account, "below", -1_501).await,
        Code::FailedPrecondition,
        ErrorReason::InsufficientCredit,
    );
    let facts = ["need_micros", "available_micros", "currency"].map(|name| error.info(name));
    assert_eq!(facts, [Some("1501"), Some("1500"), Some("USD")]);
    adjust(&herald, &account, "down", -1_500).await.expect("down to nothing");
    assert_eq!(account.client.balance().await.expect("the balance").available_micros, 0);

    let raw = herald.operator().raw().billing();
    type Adjust = v1::AdjustBalanceRequest;
    let fine = || Adjust {
        client_id: account.id.clone(),
        delta_micros: 1,
        idempotency_key: "fine".into(),
        note: "why".into(),
    };
    for (fields, request) in [
        (vec!["delta_micros"], Adjust { delta_micros: 0, ..fine() }),
        (vec!["note"], Adjust { note: String::new(), ..fine() }),
        (vec!["note"], Adjust { note: "a\nb".into(), ..fine() }),
        (
            vec!["idempotency_key", "client_id"],
            Adjust { client_id: "7".into(), idempotency_key: "a b".into(), ..fine() },
        ),
    ] {
        let answer = raw.clone().adjust_balance(request).await;
        let error = refusal(answer, Code::InvalidArgument, ErrorReason::InvalidField);
        let named: Vec<&str> =
            error.field_violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, fields, "{error}");
    }
    let keyless = raw.clone().adjust_balance(Adjust { idempotency_key: String::new(), ..fine() }).await;
    refusal(keyless, Code::InvalidArgument, ErrorReason::IdempotencyKeyRequired);
    let absent = "0198e7a2-5c1e-7b90-9a41-0c6f2d3b8e55";
    let nobody = raw.clone().adjust_balance(Adjust { client_id: absent.into(), ..fine() }).await;
    refusal(nobody, Code::NotFound, ErrorReason::ResourceNotFound);
    herald.finish().await;
}

async fn what_an_operator_books_is_in_the_audit_trail_once(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::with_credit(0)).await;
    for _ in 0..2 {
        let top_up = v1::TopUpRequest {
            client_id: account.id.clone(),
            amount_micros: 1_000,
            idempotency_key: "one".into(),
            note: "paid".into(),
            ..Default::default()
        };
        herald.operator().top_up(top_up).await.expect("it is booked, or answered again");
        adjust(&herald, &account, "one", -300).await.expect("it is booked, or answered again");
    }
    refusal(
        adjust(&herald, &account, "too-much", -701).await,
        Code::FailedPrecondition,
        ErrorReason::InsufficientCredit,
    );
    let request = v1::ListAuditEntriesRequest { client_id: account.id.clone(), ..Default::default() };
    let page =
        herald.operator().raw().admin().list_audit_entries(request).await.expect("the trail").into_inner();
    let booked: BTreeMap<&str, Vec<(&str, &str)>> = page
        .audit_entries
        .iter()
        .filter(|entry| entry.action.starts_with("BillingService."))
        .fold(BTreeMap::new(), |mut all, entry| {
            all.entry(entry.action.as_str()).or_insert_with(Vec::new).push((&entry.note, &entry.after));
            all
        });
    let expected: BTreeMap<&str, Vec<(&str, &str)>> = [
        ("BillingService.TopUp", vec![("paid", r#"{"availableDeltaMicros":"1000"}"#)]),
        ("BillingService.AdjustBalance", vec![("as agreed", r#"{"availableDeltaMicros":"-300"}"#)]),
    ]
    .into();
    assert_eq!(booked, expected);
    herald.finish().await;
}

async fn a_statement_adds_up_to_the_micro_over_any_period(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::with_credit(1_000_000)).await;
    let client = &account.client;
    for to in ["+12025550100", "+12025550110", "+12025550111", "+12025550100"] {
        client.send(sms(to, "Hello")).await.expect("the send is accepted");
        nothing_held(client).await;
    }
    adjust(&herald, &account, "down", -5).await.expect("it is booked");
    let request = v1::ListTransactionsRequest { page_size: 500, ..Default::default() };
    let all = client.transactions(request).await.expect("the transactions").transactions;
    let mut times: Vec<prost_types::Timestamp> = all.iter().rev().filter_map(|each| each.time).collect();
    let (first, end) = (seconds(-3_600), seconds(3_600));
    times.push(end);
    for start in std::iter::once(first).chain(times.iter().copied()) {
        for end in times.iter().copied().filter(|end| at(*end) > at(start)) {
            let statement = statement(client, Some(start), Some(end)).await.expect("a statement");
            check_sums(&statement);
            let within = |each: &&v1::Transaction| {
                each.time.is_some_and(|time| at(time) >= at(start) && at(time) < at(end))
            };
            for line in &statement.lines {
                let kind: Vec<_> =
                    all.iter().filter(within).filter(|each| each.r#type == line.r#type).collect();
                assert_eq!(line.count, i64::try_from(kind.len()).expect("a few"));
                let available: i64 = kind.iter().map(|each| each.available_delta_micros).sum();
                let held: i64 = kind.iter().map(|each| each.held_delta_micros).sum();
                assert_eq!((line.available_delta_micros, line.held_delta_micros), (available, held));
            }
            assert!(statement.lines.is_sorted_by_key(|line| line.r#type), "in the order of the types");
        }
    }
    let whole = statement(client, Some(first), None).await.expect("until now");
    let balance = client.balance().await.expect("the balance");
    assert_eq!((whole.opening_available_micros, whole.opening_held_micros), (0, 0));
    assert_eq!(whole.closing_available_micros, balance.available_micros);
    assert_eq!(whole.closing_held_micros, balance.held_micros);
    let kinds: Vec<Type> = whole.lines.iter().map(v1::StatementLine::r#type).collect();
    assert_eq!(kinds, [Type::TopUp, Type::Hold, Type::Capture, Type::Release, Type::Adjustment]);
    let malformed = prost_types::Timestamp { seconds: 0, nanos: -1 };
    for (start, end, fields) in [
        (None, None, vec!["start_time"]),
        (None, Some(malformed), vec!["start_time", "end_time"]),
        (Some(end), None, vec!["start_time"]),
        (Some(first), Some(first), vec!["end_time"]),
    ] {
        let answer = statement(client, start, end).await;
        let error = refusal(answer, Code::InvalidArgument, ErrorReason::InvalidField);
        let named: Vec<&str> =
            error.field_violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, fields, "{error}");
    }
    herald.finish().await;
}

fn check_sums(statement: &v1::Statement) {
    let available: i64 = statement.lines.iter().map(|line| line.available_delta_micros).sum();
    let held: i64 = statement.lines.iter().map(|line| line.held_delta_micros).sum();
    assert_eq!(statement.opening_available_micros + available, statement.closing_available_micros);
    assert_eq!(statement.opening_held_micros + held, statement.closing_held_micros);
}

/// So many seconds from now.
fn seconds(ahead: i64) -> prost_types::Timestamp {
    let mut time: prost_types::Timestamp = SystemTime::now().into();
    time.seconds += ahead;
    time
}

fn at(time: prost_types::Timestamp) -> Duration {
    SystemTime::try_from(time)
        .expect("after 1970")
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970")
}

async fn statement(
    client: &Client,
    start_time: Option<prost_types::Timestamp>,
    end_time: Option<prost_types::Timestamp>,
) -> Result<v1::Statement, Error> {
    let request = v1::GetStatementRequest { start_time, end_time };
    let answer = client.raw().billing().get_statement(request).await?.into_inner();
    Ok(answer.statement.expect("the answer has the statement"))
}

async fn quote(client: &Client, request: v1::QuoteRequest) -> Result<v1::QuoteResponse, Error> {
    Ok(client.raw().billing().quote(request).await?.into_inner())
}

async fn adjust(
    herald: &Herald,
    account: &Account,
    key: &str,
    delta_micros: i64,
) -> Result<v1::AdjustBalanceResponse, Error> {
    let request = v1::AdjustBalanceRequest {
        client_id: account.id.clone(),
        delta_micros,
        idempotency_key: key.into(),
        note: "as agreed".into(),
    };
    Ok(herald.operator().raw().billing().adjust_balance(request).await?.into_inner())
}
