//! Servers and installations for tests.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use async_nats::jetstream;
use async_trait::async_trait;
use delivery::model::{DeadLetter, MessageKey};
use delivery::port::{Offer, Queue, Ticket};
use message::Timestamp;
use message::id::{ClientId, Entropy, MessageId};
use queue_nats::{Connection, NatsQueue, Options, Servers};
use tempfile::TempDir;

pub(crate) const LANE: &str = "simulator.normal";
/// How long nothing is watched to happen.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

const VARIABLE: &str = "HERALD_TEST_NATS_URL";

/// The streams and subjects of one test.
pub(crate) struct Installation {
    pub(crate) urls: Vec<String>,
    pub(crate) options: Options,
    /// On a server that lives longer than the test.
    leftover: Option<Arc<Leftover>>,
}

/// One node's queue.
pub(crate) struct Node {
    /// Declared first: it ends before its streams go, which it would make again.
    queue: NatsQueue,
    _leftover: Option<Arc<Leftover>>,
}

/// The streams that an installation would leave on its server. Removed on drop.
struct Leftover {
    urls: Vec<String>,
    stream: String,
}

impl Installation {
    /// On the server that all tests share.
    pub(crate) fn on_shared_server() -> Self {
        let Ok(url) = std::env::var(VARIABLE) else {
            panic!(
                "{VARIABLE} names no server: run `make test`, or set it to the URL of a NATS with JetStream for tests"
            )
        };
        let mut installation = Self::on(&url);
        let (urls, stream) = (installation.urls.clone(), installation.options.stream.clone());
        installation.leftover = Some(Arc::new(Leftover { urls, stream }));
        installation
    }

    pub(crate) fn on(urls: &str) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let nanos =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
        let name = format!("{}_{nanos}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let options = Options {
            prefix: format!("test-{name}."),
            stream: format!("HERALD_TEST_{name}"),
            // The server sets that much aside.
            dead_letter_bytes: 1 << 20,
            ..Options::default()
        };
        Self { urls: urls.split(',').map(str::to_owned).collect(), options, leftover: None }
    }

    pub(crate) async fn connect(&self) -> Connection {
        let servers = Servers { urls: self.urls.clone(), name: "test".into(), ..Servers::default() };
        Connection::open(servers).await.unwrap()
    }

    /// The queue as one node has it, on a connection of its own.
    pub(crate) async fn node(&self) -> Node {
        let queue = NatsQueue::start(&self.connect().await, self.options.clone()).await.unwrap();
        Node { queue, _leftover: self.leftover.clone() }
    }

    /// An operator's connection.
    pub(crate) async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(self.urls.clone()).await.unwrap())
    }
}

impl Deref for Node {
    type Target = NatsQueue;

    fn deref(&self) -> &NatsQueue {
        &self.queue
    }
}

#[async_trait]
impl Queue for Node {
    async fn offer(&self, lane: &str, offers: &[Offer]) {
        self.queue.offer(lane, offers).await;
    }

    async fn take(&self, lane: &str, limit: usize) -> Vec<Box<dyn Ticket>> {
        self.queue.take(lane, limit).await
    }

    async fn waiting(&self, lane: &str) -> usize {
        self.queue.waiting(lane).await
    }

    async fn begun(&self) -> String {
        self.queue.begun().await
    }

    async fn dead(&self, letters: &[DeadLetter]) {
        self.queue.dead(letters).await;
    }
}

impl Drop for Leftover {
    /// A runtime of its own, on its own thread: the test's is on its way out.
    fn drop(&mut self) {
        let (urls, stream) = (std::mem::take(&mut self.urls), std::mem::take(&mut self.stream));
        let remover = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let Ok(client) = async_nats::connect(urls).await else { return };
                let jetstream = jetstream::new(client);
                for name in [format!("{stream}_DEAD_LETTERS"), stream] {
                    // A test may have refused to make it, or have removed it.
                    let _ = jetstream.delete_stream(name).await;
                }
            });
        });
        // The test has its verdict already.
        let _ = remover.join();
    }
}

/// A server, or a cluster, of one test's own.
pub(crate) struct Server {
    dir: TempDir,
    pub(crate) urls: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::run("start")
    }

    pub(crate) fn start_cluster() -> Self {
        Self::run("start-cluster")
    }

    fn run(how: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("herald-nats-").tempdir().unwrap();
        let urls = script(how, dir.path());
        Self { dir, urls }
    }

    /// As a crash would.
    pub(crate) fn kill(&self) {
        script("kill", self.dir.path());
    }

    pub(crate) fn restart(&self) {
        script("restart", self.dir.path());
    }

    /// Starts those of several that were killed.
    pub(crate) fn restart_those(&self, names: &[&str]) {
        for name in names {
            std::fs::remove_file(self.dir.path().join(format!("{name}.pid"))).unwrap();
        }
        self.restart();
    }

    /// Sends a signal to the server called `name`.
    pub(crate) fn signal(&self, name: &str, signal: &str) {
        let pid = std::fs::read_to_string(self.dir.path().join(format!("{name}.pid"))).unwrap();
        assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
    }

    /// Where the one server keeps its streams.
    pub(crate) fn storage(&self) -> PathBuf {
        self.dir.path().join("one")
    }

    /// Changes the settings, for the next start.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        let file = self.dir.path().join("one.conf");
        let settings = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, change(settings)).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        script("kill", self.dir.path());
    }
}

fn script(command: &str, dir: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/services/nats.sh");
    let output = Command::new(script).arg(command).arg(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) fn client(number: u8) -> ClientId {
    ClientId::new(Timestamp::from_micros(0), Entropy([number; 10]))
}

/// Messages of one client.
pub(crate) fn keys(client_number: u8, count: u32) -> Vec<MessageKey> {
    let id = |number: u32| {
        let mut bytes = [client_number; 10];
        bytes[6..].copy_from_slice(&number.to_be_bytes());
        MessageId::new(Timestamp::from_micros(0), Entropy(bytes))
    };
    (0..count).map(|number| MessageKey { client: client(client_number), id: id(number) }).collect()
}

/// Each time other offers.
pub(crate) fn offers(keys: &[MessageKey]) -> Vec<Offer> {
    static MADE: AtomicI64 = AtomicI64::new(0);
    let timer_at = Timestamp::from_micros(MADE.fetch_add(1, Ordering::Relaxed));
    keys.iter().map(|key| Offer { key: *key, fence: 0, timer_at }).collect()
}

/// Takes until `count` ids are there, each done; sorted.
pub(crate) async fn take_all(queue: &Node, count: usize) -> Vec<MessageKey> {
    let mut taken = Vec::new();
    while taken.len() < count {
        for ticket in queue.take(LANE, count - taken.len()).await {
            taken.push(ticket.key());
            Ticket::done(ticket).await;
        }
    }
    taken.sort();
    taken
}

pub(crate) async fn is_silent(queue: &Node, span: Duration) -> bool {
    tokio::time::timeout(span, queue.take(LANE, 1)).await.is_err()
}

/// Asks again until the answer is yes.
pub(crate) async fn until(ask: impl AsyncFn() -> bool) {
    while !ask().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
