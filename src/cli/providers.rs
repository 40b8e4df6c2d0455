//! `herald providers`: how the providers of the answering node do.

use herald_sdk::v1;

use super::connect::Global;
use super::exit::Failed;
use super::output;
use super::page::Shape;

const PROVIDERS: Shape<v1::Provider> = Shape {
    name: "Provider",
    header: &["NAME", "KIND", "HEALTH", "IN FLIGHT", "SUBMITS/S", "ACCEPTED", "DETAIL"],
    row,
};

pub async fn run(global: &Global) -> Result<(), Failed> {
    PROVIDERS.print(global.output, &global.operator()?.list_providers().await?)
}

fn row(provider: &v1::Provider) -> Vec<String> {
    let health = output::word(provider.health().as_str_name(), "HEALTH_");
    vec![
        provider.name.clone(),
        provider.kind.clone(),
        if health.is_empty() { "not used yet".to_owned() } else { health },
        format!("{}/{}", provider.in_flight, provider.window),
        format!("{:.1}", provider.submits_per_second),
        format!("{:.1} %", provider.success_ratio * 100.0),
        provider.detail.clone(),
    ]
}
