//! What must never be in a log, at any level: texts, whole numbers, keys.

use herald_sdk::v1;

use crate::support::{Herald, Mode, NewAccount, Setup, in_both_modes, new_key, sms};

in_both_modes! {
    logs_hold_no_text_no_whole_number_and_no_key,
}

async fn logs_hold_no_text_no_whole_number_and_no_key(mode: Mode) {
    const TEXT: &str = "Xylophones quiz my fog";
    const LABEL: &str = "label-of-the-caller";
    let setup = Setup::default().set("HERALD_LOG", "debug,herald=trace,delivery=trace");
    let mut herald = Herald::start(mode, setup).await;
    let account = herald.account(NewAccount::default()).await;
    let client = herald.impatient_client(&account.key);
    let mut numbers = Vec::new();
    // Delivered, refused, failed for now, unknown, and refused as a call.
    for nn in [0, 10, 11, 21, 41, 50, 52, 54, 55] {
        let number = format!("+120255501{nn:02}");
        let request = v1::SendMessageRequest {
            metadata: [("label".into(), LABEL.into())].into(),
            idempotency_key: format!("logged-{nn}"),
            ..sms(&number, TEXT)
        };
        let _ = client.send(request).await;
        numbers.push(number);
    }
    let malformed = "+1202555010";
    assert!(client.send(sms(malformed, TEXT)).await.is_err(), "the number is too short");
    let spare = new_key(&herald, &account.id, &[v1::Scope::Read]).await;
    let wrong = herald.impatient_client(&(spare.clone() + "0"));
    assert!(wrong.balance().await.is_err(), "the key is malformed");
    let log = herald.log();
    herald.finish().await;

    let log = log.to_the_end().await;
    assert!(log.contains("SendMessage") && log.lines().count() > 20, "the log was looked at:\n{log}");
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line)
            .unwrap_or_else(|_| panic!("a line is not JSON: {line}"));
    }
    let secret = |key: &str| key.split('_').nth(2).expect("hk_<id>_<secret>_<checksum>").to_owned();
    let secrets = [&account.key, &spare, herald.operator_key()].map(secret);
    let hidden = numbers.iter().map(String::as_str).chain([TEXT, LABEL, malformed]);
    for hidden in hidden.chain(secrets.iter().map(String::as_str)) {
        let digits = hidden.trim_start_matches('+');
        let line = log.lines().find(|line| line.contains(digits));
        assert!(line.is_none(), "{hidden:?} is in the log: {}", line.unwrap_or_default());
    }
}
