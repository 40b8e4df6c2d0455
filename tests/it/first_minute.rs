//! The first minute of a new user: `herald dev`, a send, a look, and again after a stop or a crash.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OwnedRwLockReadGuard;

use crate::support::{DRAIN, Ended, Process, free_port, herald, share_machine, until};

/// What a new client has, and what a message costs.
const CREDIT: i64 = 100_000_000;
const PRICE: i64 = 7_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_printed_commands_work_and_everything_survives_a_stop_and_a_crash() {
    let mut dev = Dev::start().await;
    let first = dev.facts.clone();

    let sent: Value = dev.json(&["-o", "json", "send", "+12025550100", "Hello from Herald"]).await;
    let id = sent["id"].as_str().expect("an id").to_owned();
    assert_eq!((&sent["status"], &sent["credit"]), (&"STATUS_QUEUED".into(), &"CREDIT_HELD".into()));
    let watched = dev.run(&["watch", "--from-oldest", "--count", "4"]).await;
    let lines: Vec<&str> = watched.stdout.lines().collect();
    assert_eq!(lines[0], "connected, from the oldest event", "{watched:?}");
    for (line, status) in lines[1..].iter().zip(["QUEUED", "SENDING", "SENT", "DELIVERED"]) {
        assert!(line.contains(status) && line.contains(&id), "{status} is not told in {line:?}");
    }
    assert_eq!(lines.len(), 5);
    dev.check_kept(&id).await;
    let called: Value = dev.json(&["call", "BillingService/GetBalance"]).await;
    assert_eq!(called["balance"]["availableMicros"], (CREDIT - PRICE).to_string());
    let waited = dev.run(&["send", "+12025550100", "Hello again", "--wait"]).await;
    assert!(waited.stdout.contains("DELIVERED"), "{waited:?}");

    dev.interrupt().await;
    dev.start_again().await;
    assert_eq!((&dev.facts["client_id"], &dev.facts["api_key"]), (&first["client_id"], &first["api_key"]));
    dev.check_kept(&id).await;

    // Accepted, and killed at once: it is delivered after the next start.
    let last: Value = dev.json(&["-o", "json", "send", "+12025550100", "Hello for ever"]).await;
    dev.kill().await;
    dev.start_again().await;
    let last = last["id"].as_str().expect("an id").to_owned();
    until("its end after the crash", async || {
        let message: Value = dev.json(&["-o", "json", "messages", "get", &last]).await;
        (message["credit"] == "CREDIT_CAPTURED").then_some(())
    })
    .await;
    let balance: Value = dev.json(&["-o", "json", "balance"]).await;
    assert_eq!(balance["availableMicros"], (CREDIT - 3 * PRICE).to_string());
    dev.check_files();
    dev.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_command_tells_why_and_by_its_exit_code() {
    let mut dev = Dev::start().await;
    for (arguments, code, word) in [
        (&["send", "nobody", "Hello"][..], 3, "RECIPIENT_INVALID"),
        (&["send", "+12025550152", "Hello"], 3, "INSUFFICIENT_CREDIT"),
        (&["send", "+12025550111", "Hello", "--wait"], 10, "FAILED_PERM"),
        (&["messages", "get", "0198e7a2-5c1e-7b90-9a41-0c6f2d3b8e55"], 5, "RESOURCE_NOT_FOUND"),
        (&["call", "AdminService/AuditLedger"], 4, "SCOPE_MISSING"),
        (&["call", "BillingService/GetNothing"], 1, "GetBalance"),
        (&["send", "+12025550100"], 2, "TEXT"),
    ] {
        let ended = dev.command(arguments).await;
        assert_eq!(ended.status.code(), Some(code), "herald {arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(word), "herald {arguments:?} does not say {word}: {ended:?}");
    }
    dev.terminate().await;
    let ended = dev.command(&["--timeout", "1", "balance"]).await;
    assert_eq!(ended.status.code(), Some(7), "no server: {ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_banner_names_commands_that_work_as_pasted() {
    let _machine = share_machine().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let mut command = herald();
    command
        .args(["dev", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--data-dir"])
        .arg(&data);
    let mut dev = Process::start("dev", folder.path(), command);
    let printed = dev.stdout();
    printed.find("the end of the banner", |line| line.starts_with("ready in ").then_some(())).await;
    let banner = printed.so_far();
    let paste = async |word: &str| {
        let line = banner
            .iter()
            .find(|line| line.contains(word))
            .unwrap_or_else(|| panic!("no {word} in {banner:?}"));
        let mut shell = tokio::process::Command::new("sh");
        // In the shell's place, so that what is killed is the command.
        shell.arg("-c").arg(format!("exec {}", line.trim())).kill_on_drop(true);
        Process::start("pasted", folder.path(), shell)
    };
    let watch = paste(" watch ").await;
    watch.stdout().find("connected", |line| line.starts_with("connected").then_some(())).await;
    let sent = paste(" send +12025550100 ").await.ended().await;
    assert!(sent.status.success() && sent.stdout.contains("QUEUED"), "{sent:?}");
    watch.stdout().find("DELIVERED", |line| line.contains("DELIVERED").then_some(())).await;
    watch.kill().await;
    let metrics =
        banner.iter().find_map(|line| line.trim().strip_prefix("Metrics")).expect("the banner names them");
    assert!(fetch(metrics.trim()).await.contains("grpc_server_handled_total"));
    assert!(dev.terminate(DRAIN).await.success());
}

/// `herald dev` in a folder of its own.
struct Dev {
    process: Option<Process>,
    facts: Value,
    data: PathBuf,
    port: u16,
    folder: TempDir,
    _machine: OwnedRwLockReadGuard<()>,
}

impl Dev {
    async fn start() -> Self {
        let machine = share_machine().await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        let mut dev =
            Self { process: None, facts: Value::Null, data, port: free_port(), folder, _machine: machine };
        dev.start_again().await;
        dev
    }

    async fn start_again(&mut self) {
        let mut command = herald();
        command
            .args(["dev", "--json", "--listen", &format!("127.0.0.1:{}", self.port)])
            .args(["--metrics-listen", "127.0.0.1:0", "--data-dir"])
            .arg(&self.data);
        let process = Process::start("dev", self.folder.path(), command);
        self.facts = process.stdout().find("the facts", |line| serde_json::from_str(line).ok()).await;
        self.process = Some(process);
        for name in ["address", "client_id", "api_key"] {
            assert!(self.facts[name].is_string(), "{name} is not told in {}", self.facts);
        }
    }

    async fn interrupt(&mut self) {
        let status = self.process.take().expect("it runs").interrupt(DRAIN).await;
        assert!(status.success(), "Ctrl-C ended it with {status}");
    }

    async fn terminate(&mut self) {
        let status = self.process.take().expect("it runs").terminate(DRAIN).await;
        assert!(status.success(), "SIGTERM ended it with {status}");
    }

    async fn kill(&mut self) {
        self.process.take().expect("it runs").kill().await;
    }

    /// A command with the flags that the banner prints.
    async fn command(&self, arguments: &[&str]) -> Ended {
        let mut command = herald();
        let address = self.facts["address"].as_str().expect("an address");
        command
            .args(["--address", address, "--api-key-file"])
            .arg(self.data.join("client.key"))
            .args(arguments);
        Process::start("command", self.folder.path(), command).ended().await
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        let ended = self.command(arguments).await;
        assert!(ended.status.success(), "herald {arguments:?}: {ended:?}");
        ended
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.run(arguments).await;
        serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("herald {arguments:?}: {error}: {ended:?}"))
    }

    /// The first message is there, delivered and paid, with its events.
    async fn check_kept(&self, id: &str) {
        let message: Value = self.json(&["-o", "json", "messages", "get", id]).await;
        assert_eq!(
            (&message["status"], &message["credit"]),
            (&"STATUS_DELIVERED".into(), &"CREDIT_CAPTURED".into())
        );
        let listed: Value = self.json(&["-o", "json", "messages", "list"]).await;
        assert!(listed.as_array().expect("a list").iter().any(|listed| listed["id"] == id), "{listed}");
        let balance: Value = self.json(&["-o", "json", "balance"]).await;
        assert_eq!(balance["heldMicros"], "0");
        let events = self.run(&["watch", "--events", "--from-oldest", "--count", "5", "-o", "jsonl"]).await;
        let seqs: Vec<Value> = events
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"))
            .filter_map(|frame| frame.get("event").map(|event| event["seq"].clone()))
            .collect();
        assert_eq!(seqs, ["1", "2", "3", "4", "5"]);
    }

    /// Secrets are for their owner only.
    fn check_files(&self) {
        let mode = |path: &Path| std::fs::metadata(path).expect("it exists").permissions().mode() & 0o777;
        assert_eq!(mode(&self.data), 0o700);
        for entry in std::fs::read_dir(&self.data).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            assert_eq!(mode(&path) & 0o077, 0, "{} is not for its owner only", path.display());
        }
        for key in ["client.key", "admin.key", "pepper"] {
            assert_eq!(mode(&self.data.join(key)), 0o600, "{key}");
        }
    }
}

/// One GET, by hand.
async fn fetch(url: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (address, path) =
        url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("http://ADDRESS/PATH");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("the port is open");
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the request is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer is text");
    answer
}
