//! Prices change for messages that are not accepted yet, and for no others.

use herald_sdk::tonic::Code;
use herald_sdk::v1::{self, ErrorReason};

use super::admin;
use crate::support::{
    Herald, Mode, NewAccount, PART_PRICE, Setup, in_both_modes, nothing_held, refusal, sms,
};

in_both_modes! {
    prices_change_for_new_messages_and_accepted_ones_keep_theirs,
    rates_are_listed_by_currency_and_prefix_in_pages,
    bad_rates_are_refused_all_together_and_none_is_set,
}

fn rate(currency: &str, prefix: &str, part_price_micros: i64) -> v1::Rate {
    v1::Rate { currency: currency.into(), prefix: prefix.into(), part_price_micros }
}

async fn set(herald: &Herald, rates: &[v1::Rate]) -> i32 {
    let request = v1::SetRatesRequest { rates: rates.to_vec() };
    admin(herald).set_rates(request).await.expect("the rates are set").into_inner().set_count
}

async fn delete(herald: &Herald, rates: &[v1::Rate]) -> i32 {
    let request = v1::DeleteRatesRequest { rates: rates.to_vec() };
    admin(herald).delete_rates(request).await.expect("the rates are gone").into_inner().deleted_count
}

async fn prices_change_for_new_messages_and_accepted_ones_keep_theirs(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let client = herald.impatient_client(&account.key);
    let keyed = |key: &str| v1::SendMessageRequest {
        idempotency_key: key.into(),
        // Long enough under way for the prices to change.
        ..sms("+12025550121", "Hello")
    };
    let first = client.send(keyed("first")).await.expect("the send is accepted");
    assert_eq!(first.message.price_micros, PART_PRICE);

    assert_eq!(set(&herald, &[rate("USD", "1202", 2 * PART_PRICE), rate("USD", "1", 7)]).await, 2);
    let second = client.send(keyed("second")).await.expect("the send is accepted");
    assert_eq!(second.message.price_micros, 2 * PART_PRICE, "the longest prefix");
    assert_eq!(delete(&herald, &[rate("USD", "1202", 0), rate("USD", "99", 0)]).await, 1);
    let third = client.send(keyed("third")).await.expect("the send is accepted");
    assert_eq!(third.message.price_micros, 7);

    assert_eq!(delete(&herald, &[rate("USD", "1", 0), rate("USD", "", 0)]).await, 2);
    let unpriced = client.send(keyed("fourth")).await;
    refusal(unpriced, Code::FailedPrecondition, ErrorReason::NoRate);
    // What was accepted is answered again as it was, though it could not be sent now.
    for (key, receipt) in [("first", &first), ("second", &second), ("third", &third)] {
        let again = client.send(keyed(key)).await.expect("a replay needs no price");
        assert!(again.replayed);
        assert_eq!(again.message, receipt.message);
    }
    let another = v1::SendMessageRequest { text: "Goodbye".into(), ..keyed("first") };
    refusal(client.send(another).await, Code::FailedPrecondition, ErrorReason::NoRate);
    let balance = nothing_held(&client).await;
    assert_eq!(balance.available_micros, 1_000_000_000 - 3 * PART_PRICE - 7);

    set(&herald, &[rate("USD", "", PART_PRICE)]).await;
    client.send(keyed("fourth")).await.expect("the key was not used up");
    herald.finish().await;
}

async fn rates_are_listed_by_currency_and_prefix_in_pages(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    // Beside the rate that `herald init` has set.
    let euros = [rate("EUR", "", 1), rate("EUR", "4", 4), rate("EUR", "49", 3), rate("EUR", "5", 2)];
    let dollars = [rate("USD", "", PART_PRICE), rate("USD", "49", 5)];
    set(&herald, &[&euros[..], &dollars[1..]].concat()).await;
    // A second time nothing changes.
    assert_eq!(set(&herald, &euros).await, 4);
    let listed = async |currency: &str| {
        let mut request =
            v1::ListRatesRequest { currency: currency.into(), page_size: 2, ..Default::default() };
        let mut rates = Vec::new();
        loop {
            let page = admin(&herald).list_rates(request.clone()).await.expect("a page").into_inner();
            assert!(page.rates.len() <= 2);
            rates.extend(page.rates);
            if page.next_page_token.is_empty() {
                return rates;
            }
            request.page_token = page.next_page_token;
        }
    };
    assert_eq!(listed("").await, [&euros[..], &dollars[..]].concat());
    assert_eq!(listed("EUR").await, euros);
    assert_eq!(listed("GBP").await, []);
    let first = v1::ListRatesRequest { page_size: 1, ..Default::default() };
    let page_token = admin(&herald).list_rates(first).await.expect("a page").into_inner().next_page_token;
    let foreign = v1::ListRatesRequest { currency: "EUR".into(), page_token, ..Default::default() };
    refusal(admin(&herald).list_rates(foreign).await, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    herald.finish().await;
}

async fn bad_rates_are_refused_all_together_and_none_is_set(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let rates = vec![rate("EUR", "", 1), rate("euro", "+49", -1), rate("EUR", "", 2)];
    let answer = admin(&herald).set_rates(v1::SetRatesRequest { rates }).await;
    let error = refusal(answer, Code::InvalidArgument, ErrorReason::InvalidField);
    let named: Vec<&str> =
        error.field_violations().iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(named, ["rates[1].currency", "rates[1].prefix", "rates[1].part_price_micros", "rates[2]"]);
    // Thousands of faults are told in what an error has room for.
    let rates = vec![rate("euro", "", 1); 3_000];
    let answer = admin(&herald).set_rates(v1::SetRatesRequest { rates }).await;
    let error = refusal(answer, Code::InvalidArgument, ErrorReason::InvalidField);
    assert_eq!(error.field_violations().len(), 20);
    let listed =
        admin(&herald).list_rates(v1::ListRatesRequest::default()).await.expect("a page").into_inner();
    assert_eq!(listed.rates, [rate("USD", "", PART_PRICE)]);
    let rates = (0..5_000).map(|number| rate("EUR", &number.to_string(), number)).collect::<Vec<_>>();
    assert_eq!(set(&herald, &rates).await, 5_000);
    assert_eq!(delete(&herald, &rates).await, 5_000);
    herald.finish().await;
}
