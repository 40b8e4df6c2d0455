//! Providers tell how they do.

use herald_sdk::v1;

use super::admin;
use crate::support::{Herald, Mode, NewAccount, Setup, in_both_modes, nothing_held, sms};

in_both_modes! {
    a_provider_is_unused_then_up_then_degraded,
}

async fn a_provider_is_unused_then_up_then_degraded(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let provider = async || {
        let answer = admin(&herald).list_providers(v1::ListProvidersRequest {}).await.expect("the providers");
        let mut providers = answer.into_inner().providers;
        assert_eq!(providers.len(), 1);
        providers.remove(0)
    };
    let unused = provider().await;
    assert_eq!((unused.name.as_str(), unused.kind.as_str()), ("simulator", "simulator"));
    assert_eq!(unused.health(), v1::provider::Health::Unspecified);
    assert_eq!((unused.in_flight, unused.success_ratio), (0, 1.0));
    assert!(unused.window > 0);

    account.client.send(sms("+12025550100", "Hello")).await.expect("the send is accepted");
    nothing_held(&account.client).await;
    let up = provider().await;
    assert_eq!((up.health(), up.detail.as_str()), (v1::provider::Health::Up, ""));
    assert!(up.submits_per_second > 0.0);

    account.client.send(sms("+12025550121", "Hello")).await.expect("the send is accepted");
    nothing_held(&account.client).await;
    let degraded = provider().await;
    assert_eq!(degraded.health(), v1::provider::Health::Degraded);
    assert_eq!(degraded.detail, "submits failed for now in the last minute: 1");
    assert!(degraded.success_ratio < 1.0);
    herald.finish().await;
}
