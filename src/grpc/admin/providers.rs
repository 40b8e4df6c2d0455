//! Providers: how they do, and the keys with which they push reports.

use delivery::health::{Reading, State};
use delivery::model::ProviderKey;
use tonic::{Response, Status};

use super::{check_word, now};
use crate::app::{App, ProviderAccount};
use crate::auth::Principal;
use crate::auth::key::IssuedKey;
use crate::grpc::convert::client::check_name;
use crate::grpc::convert::count;
use crate::grpc::convert::key::{check_key_id, provider_key};
use crate::grpc::faults::Faults;
use crate::grpc::trail::{self, Deed};
use crate::proto::v1;
use crate::proto_json::proto_json;
use crate::status;

/// Keys that are listed.
const KEYS_MAX: i64 = 1_000;

pub fn list(app: &App) -> v1::ListProvidersResponse {
    let mut providers: Vec<v1::Provider> = app.providers.iter().map(provider).collect();
    providers.sort_by(|one, next| one.name.cmp(&next.name));
    v1::ListProvidersResponse { providers }
}

fn provider(account: &ProviderAccount) -> v1::Provider {
    let reading = account.health.read();
    v1::Provider {
        name: account.name.clone(),
        kind: account.kind.to_owned(),
        health: match reading.state {
            State::Unused => v1::provider::Health::Unspecified,
            State::Up => v1::provider::Health::Up,
            State::Degraded => v1::provider::Health::Degraded,
            State::Down => v1::provider::Health::Down,
        }
        .into(),
        detail: detail(&reading),
        in_flight: i32::try_from(reading.in_flight).unwrap_or(i32::MAX),
        window: count(account.window),
        submits_per_second: reading.submits_per_second,
        success_ratio: reading.success_ratio,
    }
}

/// What is wrong, in words; empty when nothing is.
fn detail(reading: &Reading) -> String {
    let counts = [
        (reading.unavailable_in_a_row, "in a row that could not reach it"),
        (reading.throttled, "throttled in the last minute"),
        (reading.failed_for_now, "failed for now in the last minute"),
        (reading.unknown, "with an unknown outcome in the last minute"),
    ];
    let told = counts.iter().filter(|(count, _)| *count > 0);
    told.map(|(count, what)| format!("submits {what}: {count}")).collect::<Vec<_>>().join("; ")
}

pub async fn create_key(
    app: &App,
    operator: &Principal,
    asked: v1::CreateProviderKeyRequest,
) -> Result<Response<v1::CreateProviderKeyResponse>, Status> {
    let mut faults = Faults::default();
    check_name(&mut faults, "name", &asked.name);
    check_word(&mut faults, "provider", &asked.provider);
    faults.check("provider", !asked.provider.is_empty(), "must name a provider");
    faults.into_result()?;
    if !app.providers.iter().any(|account| account.name == asked.provider) {
        return Err(status::not_found("Provider", &asked.provider));
    }
    let issued = IssuedKey::generate_for_provider(&mut rand::rng());
    let row = ProviderKey {
        id: issued.id.clone(),
        provider: asked.provider,
        name: asked.name,
        fingerprint: issued.fingerprint(app.authenticator.pepper()).to_vec(),
        created_at: now(app).await?,
        revoked_at: None,
    };
    let told = provider_key(&row);
    let deed =
        Deed::new("AdminService.CreateProviderKey", None).target(&row.id).change("", proto_json(&told));
    let entry = trail::entry(app, operator, deed).await?;
    app.store.create_provider_key(&row, &entry).await.map_err(status::store_error)?;
    let secret = issued.whole.expose().to_owned();
    Ok(Response::new(v1::CreateProviderKeyResponse { provider_key: Some(told), secret }))
}

pub async fn list_keys(app: &App) -> Result<Response<v1::ListProviderKeysResponse>, Status> {
    let keys = app.store.provider_keys(KEYS_MAX).await.map_err(status::store_error)?;
    let provider_keys = keys.iter().map(provider_key).collect();
    Ok(Response::new(v1::ListProviderKeysResponse { provider_keys }))
}

pub async fn revoke_key(
    app: &App,
    operator: &Principal,
    key_id: &str,
) -> Result<Response<v1::RevokeProviderKeyResponse>, Status> {
    let mut faults = Faults::default();
    check_key_id(&mut faults, "key_id", key_id);
    faults.into_result()?;
    let absent = || status::not_found("ProviderKey", key_id);
    let before = app.store.provider_key(key_id).await.map_err(status::store_error)?.ok_or_else(absent)?;
    let answer = |key: &ProviderKey| v1::RevokeProviderKeyResponse { provider_key: Some(provider_key(key)) };
    if before.revoked_at.is_some() {
        return Ok(Response::new(answer(&before)));
    }
    // The store sets the very time, a moment later.
    let after = ProviderKey { revoked_at: Some(now(app).await?), ..before.clone() };
    let deed = Deed::new("AdminService.RevokeProviderKey", None)
        .target(key_id)
        .change(proto_json(&provider_key(&before)), proto_json(&provider_key(&after)));
    let entry = trail::entry(app, operator, deed).await?;
    let revoked = app.store.revoke_provider_key(key_id, &entry).await.map_err(status::store_error)?;
    Ok(Response::new(answer(&revoked.ok_or_else(absent)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_in_words_and_nothing_when_all_is_well() {
        let fine = Reading {
            state: State::Up,
            in_flight: 1,
            submits_per_second: 1.0,
            success_ratio: 1.0,
            throttled: 0,
            failed_for_now: 0,
            unknown: 0,
            unavailable_in_a_row: 0,
        };
        assert_eq!(detail(&fine), "");
        let told = detail(&Reading { throttled: 3, unavailable_in_a_row: 7, ..fine });
        let expected = "submits in a row that could not reach it: 7; submits throttled in the last minute: 3";
        assert_eq!(told, expected);
    }
}
