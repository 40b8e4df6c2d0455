//! `herald watch`: delivery reports, or all events, live.

mod lines;
mod token;

use std::path::PathBuf;
use std::time::Duration;

use herald_sdk::v1::{subscribe_delivery_reports_response, subscribe_events_response};
use herald_sdk::{Frame, Item, Subscription, v1};

use super::choice::{self, Status};
use super::connect::{Global, Output};
use super::exit::Failed;
use super::output;
use super::serve::shutdown_signal;
use lines::event_line;
pub use lines::report_line;

/// Arguments of `herald watch`.
#[derive(clap::Args)]
pub struct Args {
    /// Show all events: status changes and credit movements.
    #[arg(long, conflicts_with_all = ["status", "only_final", "reference", "message"])]
    events: bool,
    /// With --events: only this type, such as `message.delivered` or `credit.*`; may be repeated.
    #[arg(long = "type", requires = "events", value_name = "TYPE")]
    types: Vec<String>,
    /// Start after this resume token.
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["from_oldest", "token_file"])]
    resume: Option<String>,
    /// Start at the oldest event kept.
    #[arg(long)]
    from_oldest: bool,
    /// Only this status, such as `delivered`; may be repeated.
    #[arg(long, value_enum, ignore_case = true, hide_possible_values = true)]
    status: Vec<Status>,
    /// Only final ones.
    #[arg(long = "final")]
    only_final: bool,
    /// Only messages with this reference.
    #[arg(long)]
    reference: Option<String>,
    /// Only this message; may be repeated.
    #[arg(long, value_name = "ID")]
    message: Vec<String>,
    /// Start after the token in this file, if it exists, and keep the newest token there.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Stop after this many.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// A kind of entry that can be watched.
trait Entry: Sized {
    fn line(&self) -> String;

    /// Writes the frame as the API's JSON.
    fn print_frame(mode: Output, frame: &Frame<Self>) -> Result<(), Failed>;
}

pub async fn run(global: &Global, args: Args) -> Result<(), Failed> {
    let client = global.client()?;
    let resume_token = match (&args.resume, &args.token_file) {
        (Some(token), _) => token.clone(),
        (None, Some(file)) => token::read(file)?,
        (None, None) => String::new(),
    };
    let from_oldest = args.from_oldest && resume_token.is_empty();
    let watch = Watch {
        mode: global.output,
        start: match (resume_token.is_empty(), from_oldest) {
            (false, _) => "resumed",
            (true, true) => "from the oldest event",
            (true, false) => "from now",
        },
        token_file: args.token_file,
        count: args.count.unwrap_or(u64::MAX),
        first_connect: global.patience(),
    };
    let watched = async {
        if args.events {
            let request = v1::SubscribeEventsRequest { resume_token, from_oldest, types: args.types };
            return watch.run(client.subscribe_events(request)).await;
        }
        let request = v1::SubscribeDeliveryReportsRequest {
            resume_token,
            from_oldest,
            statuses: choice::all(args.status),
            final_only: args.only_final,
            reference: args.reference.unwrap_or_default(),
            message_ids: args.message,
        };
        watch.run(client.subscribe_delivery_reports(request)).await
    };
    tokio::select! {
        watched = watched => watched,
        () = shutdown_signal() => Ok(()),
    }
}

struct Watch {
    mode: Output,
    start: &'static str,
    token_file: Option<PathBuf>,
    count: u64,
    first_connect: Duration,
}

impl Watch {
    async fn run<T: Entry>(&self, subscription: Subscription<T>) -> Result<(), Failed> {
        let mut subscription = subscription.give_up_after(Some(self.first_connect));
        let (mut seen, mut connections) = (0, 0);
        while let Some(frame) = subscription.next().await {
            let frame = frame?;
            if connections != subscription.connections() {
                self.tell_connected(connections == 0)?;
                connections = subscription.connections();
                // Once there was a server, it is waited for.
                subscription = subscription.give_up_after(None);
            }
            match &frame.item {
                _ if self.mode != Output::Table => T::print_frame(self.mode, &frame)?,
                Item::Entry(entry) => output::line(&entry.line())?,
                Item::Heartbeat(_) => {}
            }
            // After the frame was dealt with: a crash in between repeats it and loses nothing.
            if let Some(file) = &self.token_file {
                token::write(file, &frame.resume_token)?;
            }
            if matches!(frame.item, Item::Entry(_)) {
                seen += 1;
            }
            if seen == self.count {
                break;
            }
        }
        Ok(())
    }

    fn tell_connected(&self, is_first: bool) -> Result<(), Failed> {
        let text =
            if is_first { format!("connected, {}", self.start) } else { "connected again, resumed".into() };
        if self.mode == Output::Table {
            return output::line(&text);
        }
        eprintln!("{text}");
        Ok(())
    }
}

impl Entry for v1::DeliveryReport {
    fn line(&self) -> String {
        report_line(self)
    }

    fn print_frame(mode: Output, frame: &Frame<Self>) -> Result<(), Failed> {
        use subscribe_delivery_reports_response::Frame as Kind;
        let kind = match &frame.item {
            Item::Entry(report) => Kind::Report(report.clone()),
            Item::Heartbeat(heartbeat) => Kind::Heartbeat(*heartbeat),
        };
        let resume_token = frame.resume_token.clone();
        let response = v1::SubscribeDeliveryReportsResponse { resume_token, frame: Some(kind) };
        output::json(mode, "SubscribeDeliveryReportsResponse", &response)
    }
}

impl Entry for v1::Event {
    fn line(&self) -> String {
        event_line(self)
    }

    fn print_frame(mode: Output, frame: &Frame<Self>) -> Result<(), Failed> {
        use subscribe_events_response::Frame as Kind;
        let kind = match &frame.item {
            Item::Entry(event) => Kind::Event(event.clone()),
            Item::Heartbeat(heartbeat) => Kind::Heartbeat(*heartbeat),
        };
        let response =
            v1::SubscribeEventsResponse { resume_token: frame.resume_token.clone(), frame: Some(kind) };
        output::json(mode, "SubscribeEventsResponse", &response)
    }
}
