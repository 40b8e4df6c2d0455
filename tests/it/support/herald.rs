//! A running server with its store, its operator and its clients.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use herald_sdk::{Client, Config, RetryPolicy, v1};
use tempfile::TempDir;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use super::account::{Account, NewAccount, every_message, nothing_held};
use super::database::Database;
use super::free_port;
use super::mode::{Backing, Mode};
#[cfg(feature = "faults")]
use super::process::with_planted;
use super::process::{Printed, Process, herald};
use super::wait::{PATIENCE, soon};

/// How long a server may take to end after SIGTERM.
pub(crate) const DRAIN: Duration = Duration::from_secs(15);

static MACHINE: LazyLock<Arc<RwLock<()>>> = LazyLock::new(Arc::default);

/// Waits for tests that need the machine for themselves, and keeps new ones waiting.
pub(crate) async fn share_machine() -> OwnedRwLockReadGuard<()> {
    MACHINE.clone().read_owned().await
}

/// Waits until no other story runs, and keeps new ones waiting.
pub(crate) async fn take_machine() -> OwnedRwLockWriteGuard<()> {
    MACHINE.clone().write_owned().await
}

/// How the server is set up. The default is fast: retries take milliseconds, reports tens of them.
pub(crate) struct Setup {
    /// Settings by the names of their environment variables.
    settings: Vec<(String, String)>,
}

impl Default for Setup {
    fn default() -> Self {
        let plain = Self { settings: Vec::new() };
        plain
            .set("HERALD_TIME_SCALE", 10_000)
            .set("HERALD_SIMULATOR__TIME_SCALE", 20)
            .set("HERALD_SIMULATOR__ANSWER_TIMEOUT_MS", 2_000)
            // Without a line for each call.
            .set("HERALD_LOG", "info,herald::layers::trace=warn")
            // Stories call as fast as they can; what a port allows by itself is the story of `hostile`.
            .set("HERALD_LISTENER__NEW_STREAMS_PER_SECOND", 1_000_000)
            // A machine that is busy with other tests must not lose claims.
            .set("HERALD_TIMING__LEASE_MS", 20_000)
    }
}

/// The price of a part in micros.
pub(crate) const PART_PRICE: i64 = 10_000;

impl Setup {
    pub(super) fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self
    }

    /// What is lost in a crash is noticed within seconds.
    pub(crate) fn with_short_limits(self) -> Self {
        self.set("HERALD_SIMULATOR__ANSWER_TIMEOUT_MS", 1_500)
            .set("HERALD_TIMING__LEASE_MS", 3_000)
            .set("HERALD_TIMING__UNAVAILABLE_PAUSE_MS", 500)
    }

    /// Restarts are at the same address, as they are in life.
    pub(crate) fn at_one_address(self) -> Self {
        self.set("HERALD_LISTEN", format!("127.0.0.1:{}", free_port()))
    }

    pub(crate) fn set(self, name: &str, value: impl ToString) -> Self {
        let mut this = self.without(name);
        this.settings.push((name.to_owned(), value.to_string()));
        this
    }
}

/// A server and all that belongs to it. A story ends with [`Herald::finish`].
pub(crate) struct Herald {
    /// Declared first: the process goes before what backs it and the folder that it uses.
    server: Option<Process>,
    address: SocketAddr,
    starts: u32,
    settings: Vec<(String, String)>,
    operator_key: String,
    /// Keys of the clients whose messages are looked at in the end.
    keys: Mutex<Vec<String>>,
    is_finished: bool,
    backing: Backing,
    folder: TempDir,
    /// Held as long as the story goes on.
    machine: Option<OwnedRwLockReadGuard<()>>,
}

impl Herald {
    /// A fresh server with an operator key, sharing the machine with other stories. Once a story: a second share
    /// would wait for a test that waits for the first.
    pub(crate) async fn start(mode: Mode, setup: Setup) -> Self {
        let machine = share_machine().await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut herald = Self::start_in(mode, setup, folder).await;
        herald.machine = Some(machine);
        herald
    }

    /// The same for a caller that has the machine.
    pub(crate) async fn start_in(mode: Mode, setup: Setup, folder: TempDir) -> Self {
        let backing = mode.backing(folder.path()).await;
        let mut settings = setup.settings;
        let pepper = folder.path().join("pepper");
        let own = [
            ("HERALD_PEPPER_FILE", pepper.display().to_string()),
            ("HERALD_LISTEN", "127.0.0.1:0".to_owned()),
        ];
        for (name, value) in backing.settings().chain(own) {
            if !settings.iter().any(|(known, _)| known == name) {
                settings.push((name.to_owned(), value));
            }
        }
        let mut herald = Self {
            server: None,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            starts: 0,
            settings,
            operator_key: String::new(),
            keys: Mutex::default(),
            is_finished: false,
            backing,
            folder,
            machine: None,
        };
        herald.run_to_the_end("migrate", &["migrate"]).await;
        let key_file = herald.path("operator.key");
        let price = PART_PRICE.to_string();
        let key_file_text = key_file.display().to_string();
        herald
            .run_to_the_end("init", &["init", "--key-file", &key_file_text, "--part-price-micros", &price])
            .await;
        let key = std::fs::read_to_string(&key_file).expect("`herald init` wrote the operator key");
        herald.operator_key = key.trim().to_owned();
        herald.start_server().await;
        herald
    }

    /// Runs a command of the server with its settings, which must succeed.
    pub(crate) async fn run_to_the_end(&self, name: &str, arguments: &[&str]) {
        let mut command = herald();
        command.args(arguments).envs(self.settings.iter().cloned());
        let ended = Process::start(name, self.folder.path(), command).ended().await;
        assert!(ended.status.success(), "herald {name}: {ended:?}");
    }

    /// Starts the server and waits until it says that it serves.
    pub(crate) async fn start_server(&mut self) {
        assert!(self.server.is_none(), "the server runs already");
        self.starts += 1;
        let mut command = herald();
        command.arg("serve").envs(self.settings.iter().cloned());
        let process = Process::start(&format!("server-{}", self.starts), self.folder.path(), command);
        self.address = process.stderr().find("the server's address", served_address).await;
        self.server = Some(process);
    }

    /// Starts the server at its fixed address with faults, as `FAULTS` takes them. It may die before it serves.
    #[cfg(feature = "faults")]
    pub(crate) fn start_faulty(&mut self, faults: &str) {
        assert!(self.server.is_none(), "the server runs already");
        self.starts += 1;
        let mut command = herald();
        command.arg("serve").envs(self.settings.iter().cloned()).env("FAULTS", with_planted(faults));
        self.server = Some(Process::start(&format!("server-{}", self.starts), self.folder.path(), command));
    }

    /// Waits until the server has ended by itself: it must have crashed at this point.
    #[cfg(feature = "faults")]
    pub(crate) async fn crashed_at(&mut self, point: &str) {
        let ended = self.server.take().expect("the server runs").ended().await;
        assert!(ended.stderr.contains(&format!("crashed at {point}")), "{point}: {}", ended.stderr);
    }

    /// What waits in NATS is gone.
    #[cfg(feature = "faults")]
    pub(crate) async fn lose_streams(&self) {
        self.backing.lose_streams().await;
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) {
        self.server.take().expect("the server runs").kill().await;
    }

    /// SIGTERM: it must drain and end well, in time.
    pub(crate) async fn stop(&mut self) {
        let mut server = self.server.take().expect("the server runs");
        let status = server.terminate(DRAIN).await;
        assert!(status.success(), "the server ended with {status}");
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.server.as_ref().expect("the server runs").pid()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn operator_key(&self) -> &str {
        &self.operator_key
    }

    /// A file in this test's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn database(&self) -> &Database {
        &self.backing.database
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> Printed {
        self.server.as_ref().expect("the server runs").stderr()
    }

    /// What the server has printed besides.
    pub(crate) fn out(&self) -> Printed {
        self.server.as_ref().expect("the server runs").stdout()
    }

    /// The settings of a client of the SDK for this server.
    pub(crate) fn config(&self, key: &str) -> Config {
        let mut config = Config::new(self.url(), key);
        config.timeout = PATIENCE;
        config
    }

    /// A client of the SDK with this key.
    pub(crate) fn client(&self, key: &str) -> Client {
        Client::connect_lazy(self.config(key)).expect("address and key are well formed")
    }

    /// One that gives every error at once.
    pub(crate) fn impatient_client(&self, key: &str) -> Client {
        let config = Config { retry: RetryPolicy::none(), ..self.config(key) };
        Client::connect_lazy(config).expect("address and key are well formed")
    }

    pub(crate) fn operator(&self) -> Client {
        self.client(&self.operator_key)
    }

    /// A sandbox client with credit and a key for everything, unless `new` says otherwise.
    pub(crate) async fn account(&self, new: NewAccount) -> Account {
        let account = self.unsettled_account(new).await;
        self.keys.lock().expect("no panic holds it").push(account.key.clone());
        account
    }

    /// One whose messages may stay open when the story ends.
    pub(crate) async fn unsettled_account(&self, new: NewAccount) -> Account {
        new.create(&self.operator(), |key| self.client(key)).await
    }

    /// Every set of books must be clean.
    pub(crate) async fn audit(&self) {
        let audits = soon("the audit", self.operator().audit_ledger(v1::AuditLedgerRequest::default())).await;
        let mut audits = audits.expect("an operator may audit");
        while let Some(audit) = soon("the audit", audits.next()).await {
            let audit = audit.expect("the audit goes on");
            assert_eq!(
                (audit.balance_drift_micros, audit.held_drift_micros, &audit.violations),
                (0, 0, &Vec::new()),
                "the books of {}",
                audit.client_id
            );
        }
    }

    /// Ends the story: no message is stuck, no credit is held, the books are clean, and the server drains in time.
    pub(crate) async fn finish(&mut self) {
        self.is_finished = true;
        let keys = std::mem::take(&mut *self.keys.lock().expect("no panic holds it"));
        for key in keys {
            check_settled(&self.client(&key)).await;
        }
        self.audit().await;
        self.stop().await;
    }
}

/// Waits until nothing is held, and looks at each message.
async fn check_settled(client: &Client) {
    nothing_held(client).await;
    for message in every_message(client).await {
        let is_final = message.status >= v1::message::Status::Delivered as i32;
        let is_settled = message.credit() != v1::message::Credit::Held;
        let may_stay = matches!(message.status(), v1::message::Status::Sent | v1::message::Status::Unknown);
        assert!(is_settled && (is_final || may_stay), "a message is stuck: {message:?}");
    }
}

impl Drop for Herald {
    fn drop(&mut self) {
        assert!(self.is_finished || std::thread::panicking(), "the story did not end with finish()");
    }
}

/// A client of its own connection that tries again through every outage.
pub(crate) fn tireless(config: Config) -> Client {
    let retry = RetryPolicy {
        max_attempts: u32::MAX,
        base_pause: Duration::from_millis(20),
        max_pause: Duration::from_millis(200),
    };
    let config = Config { retry, timeout: Duration::from_secs(10), ..config };
    Client::connect_lazy(config).expect("address and key are well formed")
}

/// The address in the log line with which the server says that it is ready.
pub(crate) fn served_address(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    line["message"].as_str().filter(|message| message.contains(" serves on "))?;
    line["address"].as_str()?.parse().ok()
}
