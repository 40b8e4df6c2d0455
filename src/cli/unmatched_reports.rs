//! `herald unmatched-reports`: provider reports whose message is not known.

use herald_sdk::v1;

use super::connect::Global;
use super::exit::Failed;
use super::output;
use super::page::{Limit, Shape};

/// Arguments of `herald unmatched-reports`.
#[derive(clap::Args)]
pub struct Args {
    /// Only of this provider.
    #[arg(long)]
    provider: Option<String>,
    #[command(flatten)]
    limit: Limit,
}

const REPORTS: Shape<v1::UnmatchedReport> = Shape {
    name: "UnmatchedReport",
    header: &["PROVIDER", "PROVIDER ID", "STATUS", "FAILURE", "STORED"],
    row,
};

pub async fn run(global: &Global, args: Args) -> Result<(), Failed> {
    let operator = global.operator()?;
    let provider = args.provider.unwrap_or_default();
    let fetch = async |page_size, page_token| {
        let request = v1::ListUnmatchedReportsRequest { page_size, page_token, provider: provider.clone() };
        operator.list_unmatched_reports(request).await.map(|page| (page.reports, page.next_page_token))
    };
    REPORTS.list(global.output, &args.limit, fetch).await
}

fn row(report: &v1::UnmatchedReport) -> Vec<String> {
    vec![
        report.provider.clone(),
        report.provider_message_id.clone(),
        output::word(report.status().as_str_name(), "STATUS_"),
        output::failure(report.failure.as_ref()),
        output::time(report.store_time.as_ref()),
    ]
}
