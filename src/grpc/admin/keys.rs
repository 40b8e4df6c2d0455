//! API keys.

use std::time::Duration;

use delivery::model::ApiKey;
use message::Timestamp;
use message::id::ClientId;
use tonic::{Response, Status};

use super::now;
use crate::app::App;
use crate::auth::Principal;
use crate::auth::key::IssuedKey;
use crate::grpc::convert::client::check_name;
use crate::grpc::convert::key::{api_key, check_key_id, read_ranges, read_scopes};
use crate::grpc::convert::{read_span, read_timestamp};
use crate::grpc::faults::Faults;
use crate::grpc::trail::{self, Deed};
use crate::grpc::{find_client, page};
use crate::proto::v1;
use crate::proto_json::proto_json;
use crate::status;
use crate::token::PageOf;

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// How long an old key goes on beside its successor.
const OVERLAP_DEFAULT: Duration = DAY;
const OVERLAP_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

pub async fn create(
    app: &App,
    operator: &Principal,
    asked: v1::CreateApiKeyRequest,
) -> Result<Response<v1::CreateApiKeyResponse>, Status> {
    let now = now(app).await?;
    let mut faults = Faults::default();
    check_name(&mut faults, "name", &asked.name);
    let is_operators = asked.client_id.is_empty();
    let scopes = read_scopes(&mut faults, is_operators, &asked.scopes);
    let expire_at = read_timestamp(&mut faults, "expire_time", asked.expire_time);
    faults.check("expire_time", expire_at.is_none_or(|at| at > now), "must be in the future");
    let allowed_ranges = read_ranges(&mut faults, &asked.allowed_ranges);
    let owner =
        (!is_operators).then(|| faults.take("client_id", asked.client_id.parse::<ClientId>())).flatten();
    faults.into_result()?;
    let is_sandbox = match owner {
        None => false,
        Some(id) => find_client(app, id).await?.0.is_sandbox,
    };

    let of = Terms { owner, name: asked.name, scopes, expire_at, allowed_ranges };
    let (row, secret) = issue(app, is_sandbox, now, of).await?;
    let told = api_key(&row);
    let deed = Deed::new("AdminService.CreateApiKey", owner).target(&row.id).change("", proto_json(&told));
    let entry = trail::entry(app, operator, deed).await?;
    app.store.create_api_key(&row, &entry).await.map_err(status::store_error)?;
    Ok(Response::new(v1::CreateApiKeyResponse { api_key: Some(told), secret }))
}

pub async fn list(
    app: &App,
    asked: &v1::ListApiKeysRequest,
) -> Result<Response<v1::ListApiKeysResponse>, Status> {
    let mut faults = Faults::default();
    let size = page::size(&mut faults, asked.page_size);
    let owner = (!asked.client_id.is_empty())
        .then(|| faults.take("client_id", asked.client_id.parse::<ClientId>()))
        .flatten();
    faults.into_result()?;
    let owner_told = owner.map(|id| id.to_string()).unwrap_or_default();
    let (list, tokens) = (PageOf::new("api_keys", &[&owner_told]), &app.tokens);
    let after = page::open(tokens, page::OPERATORS, &list, &asked.page_token)?.unwrap_or_default();
    let after = String::from_utf8(after).map_err(|_| status::page_token_invalid(crate::token::BadToken))?;

    let read = app.store.api_keys(owner, &after, page::read_limit(size)).await;
    let mut keys = read.map_err(status::store_error)?;
    let cursor = |last: &ApiKey| last.id.clone().into_bytes();
    let next_page_token = page::cut(tokens, page::OPERATORS, &list, &mut keys, size, cursor);
    let api_keys = keys.iter().map(api_key).collect();
    Ok(Response::new(v1::ListApiKeysResponse { api_keys, next_page_token }))
}

pub async fn rotate(
    app: &App,
    operator: &Principal,
    asked: v1::RotateApiKeyRequest,
) -> Result<Response<v1::RotateApiKeyResponse>, Status> {
    let mut faults = Faults::default();
    check_key_id(&mut faults, "key_id", &asked.key_id);
    let bounds = (Duration::ZERO, OVERLAP_MAX);
    let overlap = read_span(&mut faults, "overlap", asked.overlap, bounds, OVERLAP_DEFAULT);
    faults.into_result()?;
    let old = find_key(app, &asked.key_id).await?;
    let now = now(app).await?;
    if old.revoked_at.is_some() || old.expire_at.is_some_and(|at| at <= now) {
        return Err(status::invalid_field("key_id", "names a key that has ended"));
    }

    let of = Terms {
        owner: old.client,
        name: old.name.clone(),
        scopes: old.scopes.clone(),
        expire_at: old.expire_at,
        allowed_ranges: old.allowed_ranges.clone(),
    };
    let (new, secret) = issue(app, old.id.starts_with("test"), now, of).await?;
    let end_at = now + overlap;
    let ending = ApiKey {
        expire_at: Some(old.expire_at.map_or(end_at, |expire_at| expire_at.min(end_at))),
        ..old.clone()
    };
    let rotated = |old: &ApiKey, secret| v1::RotateApiKeyResponse {
        api_key: Some(api_key(&new)),
        secret,
        old_api_key: Some(api_key(old)),
    };
    let deed = Deed::new("AdminService.RotateApiKey", old.client)
        .target(&old.id)
        .change(proto_json(&api_key(&old)), proto_json(&rotated(&ending, String::new())));
    let entry = trail::entry(app, operator, deed).await?;
    let ended = app.store.rotate_api_key(&old.id, end_at, &new, &entry).await.map_err(status::store_error)?;
    let ended = ended.ok_or_else(|| status::not_found("ApiKey", &old.id))?;
    app.authenticator.forget(&old.id).await;
    Ok(Response::new(rotated(&ended, secret)))
}

pub async fn revoke(
    app: &App,
    operator: &Principal,
    key_id: &str,
) -> Result<Response<v1::RevokeApiKeyResponse>, Status> {
    let mut faults = Faults::default();
    check_key_id(&mut faults, "key_id", key_id);
    faults.into_result()?;
    let before = find_key(app, key_id).await?;
    if before.revoked_at.is_some() {
        return Ok(Response::new(v1::RevokeApiKeyResponse { api_key: Some(api_key(&before)) }));
    }
    // The store sets the very time, a moment later.
    let after = ApiKey { revoked_at: Some(now(app).await?), ..before.clone() };
    let deed = Deed::new("AdminService.RevokeApiKey", before.client)
        .target(key_id)
        .change(proto_json(&api_key(&before)), proto_json(&api_key(&after)));
    let entry = trail::entry(app, operator, deed).await?;
    let revoked = app.store.revoke_api_key(key_id, &entry).await.map_err(status::store_error)?;
    app.authenticator.forget(key_id).await;
    let revoked = revoked.ok_or_else(|| status::not_found("ApiKey", key_id))?;
    Ok(Response::new(v1::RevokeApiKeyResponse { api_key: Some(api_key(&revoked)) }))
}

async fn find_key(app: &App, id: &str) -> Result<ApiKey, Status> {
    let found = app.store.api_key(id).await.map_err(status::store_error)?;
    found.ok_or_else(|| status::not_found("ApiKey", id))
}

/// What a key is made with.
struct Terms {
    owner: Option<ClientId>,
    name: String,
    scopes: Vec<delivery::model::Scope>,
    expire_at: Option<Timestamp>,
    allowed_ranges: Vec<String>,
}

/// A new key as the store keeps it, and the whole of it.
async fn issue(app: &App, is_sandbox: bool, now: Timestamp, of: Terms) -> Result<(ApiKey, String), Status> {
    let issued = IssuedKey::generate(is_sandbox, &mut rand::rng());
    let secret = issued.whole.expose().to_owned();
    let fingerprint = issued.fingerprint(app.authenticator.pepper()).to_vec();
    let id = issued.id.clone();
    // bcrypt takes milliseconds, which are not the runtime's to spend.
    let cost = app.authenticator.cost;
    let hashed = tokio::task::spawn_blocking(move || issued.hash(cost)).await;
    let hashed = hashed.map_err(|error| status::internal(&error))?;
    let row = ApiKey {
        id,
        client: of.owner,
        name: of.name,
        scopes: of.scopes,
        secret_hash: hashed.map_err(|error| status::internal(&error))?,
        fingerprint,
        created_at: now,
        expire_at: of.expire_at,
        revoked_at: None,
        last_used_at: None,
        allowed_ranges: of.allowed_ranges,
    };
    Ok((row, secret))
}
