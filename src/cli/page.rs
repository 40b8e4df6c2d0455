//! Lists that come by the page.

use herald_sdk::Error;

use super::connect::Output;
use super::exit::Failed;
use super::output::{self, Json};

/// Most rows on a page.
const PAGE: usize = 500;

/// How much of a list is wanted.
#[derive(clap::Args)]
pub struct Limit {
    /// Stop after this many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// List every one.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// How a kind of row is shown.
pub struct Shape<T> {
    /// The message's name within `herald.v1`.
    pub name: &'static str,
    pub header: &'static [&'static str],
    pub row: fn(&T) -> Vec<String>,
}

impl Limit {
    fn count(&self) -> usize {
        if self.all { usize::MAX } else { self.limit as usize }
    }
}

impl<T: prost::Message> Shape<T> {
    /// Prints rows page by page: a table, an array, or a line each. `fetch` takes a page's size and its token, and answers
    /// its rows and the token of the next.
    pub async fn list(
        &self,
        mode: Output,
        limit: &Limit,
        mut fetch: impl AsyncFnMut(i32, String) -> Result<(Vec<T>, String), Error>,
    ) -> Result<(), Failed> {
        let mut rows = Vec::new();
        let mut values = Vec::new();
        let mut token = String::new();
        let mut left = limit.count();
        loop {
            let size = i32::try_from(left.min(PAGE)).expect("a page is small");
            let (page, next) = fetch(size, token).await?;
            for item in page.iter().take(left) {
                match mode {
                    Output::Table => rows.push((self.row)(item)),
                    Output::Json => values.push(Json::new(self.name, item)?),
                    Output::Jsonl => output::json(mode, self.name, item)?,
                }
            }
            left = left.saturating_sub(page.len());
            token = next;
            if left == 0 || token.is_empty() {
                break;
            }
        }
        match mode {
            Output::Table => output::line(&output::table(self.header, &rows)),
            Output::Json => output::value(mode, &values),
            Output::Jsonl => Ok(()),
        }
    }

    /// Prints a list that comes in one piece.
    pub fn print(&self, mode: Output, items: &[T]) -> Result<(), Failed> {
        match mode {
            Output::Table => {
                let rows: Vec<_> = items.iter().map(self.row).collect();
                output::line(&output::table(self.header, &rows))
            }
            Output::Json => {
                let values = items.iter().map(|item| Json::new(self.name, item));
                output::value(mode, &values.collect::<anyhow::Result<Vec<_>>>()?)
            }
            Output::Jsonl => items.iter().try_for_each(|item| output::json(mode, self.name, item)),
        }
    }
}
