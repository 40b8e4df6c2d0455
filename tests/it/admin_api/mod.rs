//! What operators do, through the API: clients, keys, prices.

mod clients;
mod keys;
mod providers;
mod rates;

use herald_sdk::Transport;
use herald_sdk::v1;
use herald_sdk::v1::admin_service_client::AdminServiceClient;

use crate::support::Herald;

/// The generated client of the operator.
fn admin(herald: &Herald) -> AdminServiceClient<Transport> {
    herald.operator().raw().admin()
}

/// A request to change the fields of the client that `mask` names.
fn update(client: v1::Client, mask: &[&str]) -> v1::UpdateClientRequest {
    let paths = mask.iter().map(|path| (*path).to_owned()).collect();
    v1::UpdateClientRequest { client: Some(client), update_mask: Some(prost_types::FieldMask { paths }) }
}
