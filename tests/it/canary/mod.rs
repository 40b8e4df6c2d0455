//! Texts, whole numbers, octets, keys and secrets are put into every field of every request, good and bad, and then
//! looked for where they must not be: in logs at their most verbose, in metrics, in errors, in the audit trail, in what the
//! provider prints.

mod birds;
mod fields;

use herald_sdk::tonic::Status;
use herald_sdk::tonic::metadata::KeyAndValueRef;
use herald_sdk::v1;
use prost::bytes::Bytes;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic_types::{ErrorDetail, StatusExt};

use crate::contract::{errors_in, provider_key};
use crate::isolation::{rows as isolated, things};
use crate::support::raw::{self, Caller};
use crate::support::{
    Account, DRAIN, Herald, Mode, NewAccount, Process, Setup, free_port, herald, in_both_modes, nothing_held,
    sms,
};
use birds::{Bird, KEY, LABEL, TEXT, content, labels, number, tries};
use fields::fields;

in_both_modes! {
    what_clients_send_shows_nowhere_but_in_answers,
}

/// Everything that any library has to say.
const VERBOSE: &str = "trace,h2=trace";

/// Where the provider notes what it owes.
const WITNESS: &str = "witness.log";

async fn what_clients_send_shows_nowhere_but_in_answers(mode: Mode) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut simulator, simulator_address) = start_simulator(&folder).await;
    let metrics = free_port();
    let setup = Setup::default()
        .set("HERALD_LOG", VERBOSE)
        .set("HERALD_METRICS_LISTEN", format!("127.0.0.1:{metrics}"))
        .set("HERALD_SIMULATOR__ADDRESS", simulator_address);
    let mut herald = Herald::start(mode, setup).await;
    let account = herald.account(NewAccount::default()).await;
    let mut watch = Watch::new(&herald, &account).await;
    watch.fill_every_field(&herald, &account).await;
    watch.send_to_every_end(&account).await;
    watch.show_wrong_keys(&herald).await;
    nothing_held(&account.client).await;

    let everything = watch.everything();
    watch.look_through("the metrics", &metrics_page(metrics).await, &everything);
    let content = watch.content.clone();
    watch.look_through("the audit trail", &audit_trail(&herald).await, &content);
    let (log, out) = (herald.log(), herald.out());
    herald.finish().await;
    simulator.terminate(DRAIN).await;
    let log = log.to_the_end().await;
    assert!(log.contains("TRACE") && log.lines().count() > 1_000, "the log is not verbose");
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("a line is not JSON: {line}"));
    }
    watch.look_through("the log", &log, &everything);
    watch.look_through("the standard output", &out.to_the_end().await, &everything);
    watch.look_through("the simulator's log", &simulator.stderr().to_the_end().await, &everything);
    watch.look_through("the simulator's output", &simulator.stdout().to_the_end().await, &everything);
    let witness = std::fs::read_to_string(folder.path().join(WITNESS)).expect("it has noted much");
    // It names recipients, for its owner's eyes only; theirs come first.
    watch.look_through("the simulator's notes", &witness, &everything[1..]);
    assert!(watch.found.is_empty(), "{} of them:\n{}", watch.found.len(), watch.found.join("\n"));
}

/// What is looked for, and where it was found.
struct Watch {
    content: Vec<Bird>,
    labels: Vec<Bird>,
    provider_key: String,
    /// Calls that were answered, and calls that were refused.
    calls: (usize, usize),
    /// Answers in which content was found, where it belongs.
    told: usize,
    found: Vec<String>,
}

impl Watch {
    async fn new(herald: &Herald, account: &Account) -> Self {
        let provider_key = provider_key(herald).await;
        let secret = |key: &str| key.split('_').nth(2).expect("hk_<id>_<secret>_<checksum>").to_owned();
        let secrets = [&account.key, herald.operator_key(), &provider_key].map(secret);
        let mut content = content();
        content.extend(secrets.iter().map(|secret| Bird::new(secret)));
        Self { content, labels: labels(), provider_key, calls: (0, 0), told: 0, found: Vec::new() }
    }

    fn everything(&self) -> Vec<Bird> {
        [&self.content[..], &self.labels].concat()
    }

    fn look_through(&mut self, place: &str, printed: &str, birds: &[Bird]) {
        for bird in birds.iter().filter(|bird| bird.is_in(printed)) {
            let line = printed.lines().find(|line| bird.is_in(line)).unwrap_or_default();
            self.found.push(format!("{place}: {bird:?} in {line}"));
        }
    }

    async fn fill_every_field(&mut self, herald: &Herald, account: &Account) {
        let things = things(herald, account).await;
        for (row, method) in isolated::rows() {
            let caller = Caller::new(herald);
            let callers = if row.scope == "ADMIN" {
                vec![caller.with_key(herald.operator_key())]
            } else {
                let acting = caller.clone().with_key(herald.operator_key());
                vec![caller.with_key(&account.key), acting.with("herald-client-id", &account.id)]
            };
            self.fill_fields(&callers, &method, &(row.request)(&things)).await;
        }
        let ingest = raw::method("ReportService/IngestDeliveryReports");
        let report = json!({"provider_message_id": "r1", "status": "STATUS_FAILED_PERM"});
        let request = json!({"provider": "simulator", "reports": [report]});
        let caller = Caller::new(herald).with("x-provider-key", &self.provider_key);
        self.fill_fields(&[caller], &ingest, &request).await;
        assert!(self.calls.0 > 100 && self.calls.1 > 100, "answered and refused: {:?}", self.calls);
        assert!(self.told > 10, "the content is not even in answers, or it cannot be found");
    }

    /// The request as it is, then with each of its fields filled with each value.
    async fn fill_fields(&mut self, callers: &[Caller], method: &MethodDescriptor, request: &Value) {
        let name = raw::short_name(method);
        self.call(&callers[0], method, request).await;
        for field in fields(&method.input()) {
            for (number, value) in tries(&field, &name).iter().enumerate() {
                // Whoever calls, a bad value is refused in the same place.
                let callers = if number == 0 { callers } else { &callers[..1] };
                for caller in callers {
                    self.call(caller, method, &field.fill(request, value)).await;
                }
            }
        }
    }

    async fn call(&mut self, caller: &Caller, method: &MethodDescriptor, request: &Value) {
        let most = if method.is_client_streaming() || !method.is_server_streaming() { usize::MAX } else { 1 };
        let (answers, ended) =
            caller.answers(&raw::path(method), raw::request(method, request.clone()), most).await;
        let decode = |answer| DynamicMessage::decode(method.output(), answer).expect("the answer decodes");
        let answers: Vec<DynamicMessage> = answers.into_iter().map(decode).collect();
        let shown = json!(answers).to_string();
        self.told += usize::from(self.content.iter().any(|bird| bird.is_in(&shown)));
        let items = answers.iter().flat_map(errors_in);
        match &ended {
            Ok(()) => self.calls.0 += 1,
            Err(_) => self.calls.1 += 1,
        }
        for error in ended.err().into_iter().chain(items) {
            self.look_at(&raw::short_name(method), &error);
        }
    }

    /// No error says what it was told. What was not found is named by its name, which is an id.
    fn look_at(&mut self, what: &str, error: &Status) {
        let mut details = error.get_error_details_vec();
        details.retain(|detail| !matches!(detail, ErrorDetail::ResourceInfo(_)));
        let mut said = format!("{} {details:?}", error.message()).into_bytes();
        for pair in error.metadata().iter() {
            match pair {
                KeyAndValueRef::Ascii(name, value) => {
                    said.extend(name.as_str().bytes());
                    said.extend(value.as_bytes());
                }
                KeyAndValueRef::Binary(name, value) => {
                    said.extend(name.as_str().bytes());
                    said.extend(value.to_bytes().unwrap_or_default());
                }
            }
        }
        let said = String::from_utf8_lossy(&said);
        if let Some(bird) = self.everything().iter().find(|bird| bird.is_in(&said)) {
            self.found.push(format!("an error of {what}: {bird:?} in {error:?}"));
        }
    }

    /// Delivered, refused, failed for now, failed for good, unknown, and refused as a call.
    async fn send_to_every_end(&mut self, account: &Account) {
        for nn in [0, 10, 11, 20, 21, 30, 41, 42, 50, 51, 52, 53, 54, 55] {
            let send = v1::SendMessageRequest {
                metadata: [("name".to_owned(), LABEL.to_owned())].into(),
                reference: LABEL.into(),
                ..sms(&number(nn), TEXT)
            };
            if let Err(error) = account.client.raw().messaging().send_message(send).await {
                self.look_at("SendMessage", &error);
            }
        }
    }

    /// Keys that are none, and names where there are none.
    async fn show_wrong_keys(&mut self, herald: &Herald) {
        let account = raw::path(&raw::method("AccountService/GetAccount"));
        let caller = Caller::new(herald);
        let operator = caller.clone().with_key(herald.operator_key());
        for (path, caller) in [
            (account.as_str(), caller.clone().with_key(KEY)),
            (&account, caller.clone().with("authorization", &format!("Bearer {KEY}"))),
            (&account, caller.clone().with("authorization", KEY)),
            (&account, operator.clone().with("herald-client-id", LABEL)),
            (&account, operator.clone().with("x-note", LABEL).with("grpc-timeout", LABEL)),
            ("/herald.v1.ReportService/IngestDeliveryReports", caller.with("x-provider-key", KEY)),
            (&format!("/herald.v1.AccountService/{LABEL}"), operator.clone()),
            (&format!("/{LABEL}"), operator),
        ] {
            if let Err(error) = caller.call(path, Bytes::new()).await {
                self.look_at(path, &error);
            }
        }
    }
}

/// The provider as a process, which says all that it can.
async fn start_simulator(folder: &tempfile::TempDir) -> (Process, String) {
    let mut command = herald();
    command.args(["simulator", "--listen", "127.0.0.1:0", "--time-scale", "20", "--log"]);
    command.arg(folder.path().join(WITNESS)).env("HERALD_LOG", VERBOSE);
    let process = Process::start("simulator", folder.path(), command);
    let address = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        line["address"].as_str().map(str::to_owned)
    };
    let address = process.stdout().find("the simulator's address", address).await;
    (process, address)
}

async fn metrics_page(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the port is open");
    let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("it is read");
    let mut page = String::new();
    stream.read_to_string(&mut page).await.expect("it is answered");
    assert!(page.contains("grpc_server_handled_total"), "{page}");
    page
}

/// Every entry, one a line.
async fn audit_trail(herald: &Herald) -> String {
    let mut admin = herald.operator().raw().admin();
    let mut request = v1::ListAuditEntriesRequest::default();
    let mut lines = Vec::new();
    loop {
        let page = admin.list_audit_entries(request.clone()).await.expect("a page").into_inner();
        lines.extend(page.audit_entries.iter().map(|entry| format!("{entry:?}").replace('\n', " ")));
        if page.next_page_token.is_empty() {
            assert!(lines.len() > 10, "the trail was looked at");
            return lines.join("\n");
        }
        request.page_token = page.next_page_token;
    }
}
