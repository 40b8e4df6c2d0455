//! Fills an initialized installation with messages that were sent and delivered over the last eight weeks, for measurements of a
//! database that is not empty. `make bench-stored` runs it.
//!
//! Stopped or killed, it goes on where it was when it is started again. Prints JSON.
//!
//! Arguments: `--url URL --messages MESSAGES --clients CLIENTS`.

mod fill;

use std::error::Error;
use std::time::Instant;

use fill::Filling;
use serde_json::json;

const USAGE: &str = "arguments: --url URL --messages MESSAGES --clients CLIENTS";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mut url, mut messages, mut clients) = (String::new(), 10_000_000, 1_000);
    let mut words = std::env::args().skip(1);
    while let Some(name) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        match name.as_str() {
            "--url" => url = value,
            "--messages" => messages = value.parse()?,
            "--clients" => clients = value.parse()?,
            _ => return Err(USAGE.into()),
        }
    }
    let begin = Instant::now();
    let mut filling = Filling::open(&url, messages, clients).await?;
    let before = filling.stored();
    while filling.go_on().await? {
        let (stored, seconds) = (filling.stored(), begin.elapsed().as_secs_f64());
        eprintln!("{stored} of {messages} messages, {:.0}/s", (stored - before) as f64 / seconds);
    }
    let bytes = filling.finish().await?;
    println!("{}", json!({ "messages": messages, "clients": clients, "database_bytes": bytes }));
    Ok(())
}
