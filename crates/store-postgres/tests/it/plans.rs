//! Statements touch the partitions that their rows can be in, and no other.
//!
//! The plans are those of the statements as the store runs them: PostgreSQL's `auto_explain` tells each as a notice.
//! Which statements there are is read from the source, so none can be forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use conformance::verbs::{ALL, LEASE, accepted, learned, wanted};
use conformance::{Bench, given};
use delivery::model::{IdempotencyKey, KeyKind, MessageKey};
use delivery::plan::{Plan, Wanted};
use delivery::port::{Checkpoint, MessageFilter, PurgeLimits, TransactionFilter};
use message::report::ReportState;
use sqlx::{Connection, PgConnection};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::bench;
use crate::database::Database;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);
const TABLES: [&str; 5] = ["messages", "message_states", "credit_locks", "events", "idempotency_keys"];

/// Which spans a statement may scan when all that it is asked for is of now: from how many before now to how many after.
/// Those after are empty.
const HOT: [(&str, i64, i64); 16] = [
    ("load messages", 0, 0),
    ("load keys", -1, 1),
    ("read key", -1, 1),
    ("change states", 0, 0),
    ("claim", 0, 0),
    ("read message", 0, 0),
    ("history", 0, 2),
    ("read events", 0, 2),
    ("list transactions", 0, 2),
    ("totals", 0, 2),
    ("remove messages", 0, 0),
    ("books: events", 0, 2),
    ("books: holds without a lock", 0, 2),
    ("books: double resolutions", 0, 2),
    ("backlog", 0, 0),
    ("read dead letters", 0, 0),
];

/// These look at all of a client's rows of a kind, or go back in time until a page is full.
const COLD: [&str; 4] = ["list messages", "old messages", "list dead letters", "books: held locks"];

/// An insert goes to the partition of its row, and scans none.
const INSERTS: [&str; 3] = ["append events", "insert messages", "remember keys"];

/// A new store whose statements are explained.
async fn explained() -> (Bench, PgConnection, Notices, tracing::subscriber::DefaultGuard) {
    let database = Database::create().await;
    let admin = PgConnection::connect(&database.url).await.unwrap();
    let explain = "-c%20session_preload_libraries=auto_explain%20-c%20auto_explain.log_min_duration=0%20\
                   -c%20auto_explain.log_analyze=on%20-c%20auto_explain.log_level=notice%20\
                   -c%20parallel_setup_cost=0%20-c%20parallel_tuple_cost=0%20\
                   -c%20min_parallel_table_scan_size=0%20-c%20min_parallel_index_scan_size=0";
    let mark = if database.url.contains('?') { '&' } else { '?' };
    let url = format!("{}{mark}options={explain}", database.url);
    let notices = Notices::default();
    let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(notices.clone()));
    let bench = bench(&url, database).await;
    bench.store.migrate().await.unwrap();
    (bench, admin, notices, guard)
}

/// Plans are made while tables are young, with what little PostgreSQL knows of them then; and before autovacuum looks again, a
/// burst of messages must not find that each of a batch is compared with each of its table.
#[tokio::test]
async fn the_work_of_a_batch_grows_with_the_batch_however_young_the_tables_are() {
    let (bench, mut admin, notices, _guard) = explained().await;
    let client = bench.client().await;
    for known in [0, 3] {
        for n in 0..known {
            bench.sent(client, &format!("known {n}")).await;
        }
        if known > 0 {
            sqlx::raw_sql("ANALYZE").execute(&mut admin).await.unwrap();
        }
        let batch: Vec<_> = (0..100)
            .map(|n| {
                given::submission(given::keyed(client, &format!("{known} {n}"), "hello"), bench.entropy())
            })
            .collect();
        notices.take();
        let keys: Vec<MessageKey> =
            bench.accept(&batch).await.iter().map(|message| message.record.key).collect();
        let claimed = bench.claim(&keys).await;
        assert_eq!(claimed.len(), keys.len());
        let reference = |n: usize| format!("{known} {n}");
        let sent: Vec<_> =
            claimed.iter().enumerate().map(|(n, one)| learned(one, accepted(&reference(n)))).collect();
        bench.mover().apply(&sent).await.unwrap();
        let reports: Vec<_> =
            (0..keys.len()).map(|n| given::report(&reference(n), ReportState::Delivered)).collect();
        bench.store_reports(&reports).await;
        bench.apply_reports().await;
        for (name, text) in notices.take_texts() {
            let wasted = text.lines().filter_map(|line| line.trim().strip_prefix("Rows Removed by "));
            for line in wasted {
                let count: usize = line.rsplit_once(": ").unwrap().1.parse().unwrap();
                assert!(count <= keys.len(), "{name} compares too much: {line}\n{text}");
            }
        }
    }
}

/// A read of one row takes less time than a worker takes to start. (Here workers are made to look cheap, as they do beside
/// tables of millions of rows.)
#[tokio::test]
async fn no_statement_starts_parallel_workers() {
    let (bench, mut admin, notices, _guard) = explained().await;
    let client = bench.client().await;
    bench.sent(client, "known").await;
    sqlx::raw_sql("ANALYZE").execute(&mut admin).await.unwrap();
    let key = bench.send(client).await;
    notices.take();
    everything(&bench, key).await;
    let plans = notices.take_texts();
    assert!(plans.len() > HOT.len(), "{} plans", plans.len());
    for (name, plan) in plans {
        assert!(!plan.contains("Gather"), "{name} starts workers:\n{plan}");
    }
}

#[tokio::test]
async fn every_statement_on_a_partitioned_table_scans_the_partitions_it_must() {
    let (bench, mut admin, notices, _guard) = explained().await;
    let client = bench.client().await;
    // A week after the other, each with its rows.
    for _ in 0..5 {
        bench.sent(client, "old").await;
        bench.clock.advance(WEEK);
        housekeep(&bench).await;
    }
    let checkpoint = |head: delivery::model::Head| Checkpoint {
        seq: head.last_seq,
        available: head.balance.available(),
        held: head.balance.held(),
    };
    // The old ones are over, so that what is due is of now.
    bench.sweep().await;
    let key = bench.send(client).await;
    bench.store.write_checkpoint(client, checkpoint(bench.head(client).await)).await.unwrap();
    notices.take();
    everything(&bench, key).await;
    let scans = notices.take();

    let mut spans: BTreeMap<&str, (Vec<String>, usize)> = BTreeMap::new();
    for table in TABLES {
        let sql = "SELECT c.relname::text FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
            WHERE i.inhparent = $1::regclass ORDER BY c.relname";
        let names: Vec<String> = sqlx::query_scalar(sql).bind(table).fetch_all(&mut admin).await.unwrap();
        let now = names.len() - 3;
        spans.insert(table, (names, now));
    }
    assert!(spans["events"].1 >= 5, "there are old partitions to leave out: {spans:?}");
    for (name, first, last) in HOT {
        let scanned = scans.get(name).unwrap_or_else(|| panic!("{name} was not run"));
        assert!(!scanned.is_empty(), "{name} has scanned nothing: its plan was not understood");
        for partition in scanned {
            let table = partition.rsplit_once('_').unwrap().0;
            let (names, now) = &spans[table];
            let place = names.iter().position(|found| found == partition).unwrap();
            let offset = i64::try_from(place).unwrap() - i64::try_from(*now).unwrap();
            assert!((first..=last).contains(&offset), "{name} scans {partition}: {scanned:?}");
        }
    }
    for name in INSERTS {
        assert_eq!(scans.get(name), Some(&BTreeSet::new()), "{name}");
    }
    let known: BTreeSet<&str> = HOT.iter().map(|(name, ..)| *name).chain(COLD).chain(INSERTS).collect();
    let written = statements();
    assert_eq!(known, written.iter().map(String::as_str).collect(), "the list here, and the source");
    let run: BTreeSet<&str> = scans.keys().map(String::as_str).collect();
    assert!(run.is_superset(&known), "not run: {:?}", known.difference(&run).collect::<Vec<_>>());
}

async fn housekeep(bench: &Bench) {
    let now = bench.clock.now();
    bench.store.purge(&PurgeLimits { reports_before: now, refs_before: now }, ALL).await.unwrap();
}

/// Every verb that has to do with messages, events or keys, for rows of now.
async fn everything(bench: &Bench, key: MessageKey) {
    let (store, client) = (bench.store.as_ref(), key.client);
    let before = bench.head(client).await.last_seq;
    bench.accept(&[given::submission(given::keyed(client, "key", "hello"), bench.entropy())]).await;
    let sent = IdempotencyKey { client, kind: KeyKind::Send, key: "key".into() };
    assert!(store.remembered(&sent).await.unwrap().is_some());
    assert_eq!(store.backlog(None, ALL).await.unwrap().len(), 2);
    let claimed = bench.claim_one(key).await;
    bench.mover().apply(&[learned(&claimed, accepted("new"))]).await.unwrap();
    bench.store_reports(&[given::report("new", ReportState::Delivered)]).await;
    bench.apply_reports().await;
    let letter = given::dead_letter(key, bench.clock.now());
    let plan = Plan { dead_letters: vec![letter], ..Plan::default() };
    conformance::verbs::write(store, &[client], &plan).await.unwrap();
    assert_eq!(store.dead_letters_of(&[key.id]).await.unwrap().len(), 1);
    store.dead_letters(&Default::default(), None, 10, 10).await.unwrap();
    let (_tx, loaded) = conformance::verbs::load(store, &Wanted { ..wanted(&[key]) }).await;
    assert_eq!(loaded.messages.len(), 1);
    bench.message(key).await;
    store.messages(client, &MessageFilter::default(), None, 10, 10).await.unwrap();
    assert_eq!(store.history(client, key.id).await.unwrap().len(), 4);
    assert!(!store.events(client, before, 10).await.unwrap().events.is_empty());
    let filter = TransactionFilter { from_seq: before + 1, ..TransactionFilter::default() };
    assert!(!store.transactions(client, &filter, i64::MAX, 10).await.unwrap().is_empty());
    assert!(!store.totals(client, before + 1, i64::MAX).await.unwrap().is_empty());
    bench.books(client).await;
    let later = bench.clock.now() + LEASE;
    store.old_messages(client, later, None, 10).await.unwrap();
    drop(_tx);
    assert_eq!(store.remove_messages(client, &[key.id]).await.unwrap(), 1);
}

/// The names of the statements of the source that read or write a partitioned table.
fn statements() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        // Parts of statements that several share.
        let macros: Vec<&str> = text
            .split("macro_rules! ")
            .skip(1)
            .map(|definition| definition.split("\n}\n").next().unwrap())
            .filter(|definition| is_about_partitions(definition))
            .map(|definition| definition.split(' ').next().unwrap())
            .collect();
        // A statement opens with its name, as a comment, and ends before the next one.
        for statement in text.split("\"-- ").skip(1) {
            let end = statement.find(['\n', '\\']).unwrap_or(statement.len());
            let shares = |name: &&str| statement.contains(&format!("{name}!("));
            if is_about_partitions(statement) || macros.iter().any(shares) {
                found.insert(statement[..end].trim().trim_matches('"').to_owned());
            }
        }
    }
    found
}

fn is_about_partitions(sql: &str) -> bool {
    let words: Vec<&str> = sql.split_whitespace().map(|word| word.trim_matches(['"', '(', '&'])).collect();
    let is_about =
        |pair: &[&str]| ["FROM", "JOIN", "INTO", "UPDATE"].contains(&pair[0]) && TABLES.contains(&pair[1]);
    words.windows(2).any(is_about)
}

/// What the server tells of its plans: by statement, the partitions that it has scanned.
#[derive(Clone, Default)]
struct Notices(Arc<Mutex<Vec<String>>>);

impl Notices {
    /// By name.
    fn take_texts(&self) -> Vec<(String, String)> {
        let texts = std::mem::take(&mut *self.0.lock().unwrap());
        let named = texts.iter().filter_map(|notice| {
            let (_, text) = notice.split_once("Query Text: -- ")?;
            Some((text.lines().next()?.trim().to_owned(), text.to_owned()))
        });
        named.collect()
    }

    fn take(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut scans: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, text) in self.take_texts() {
            let scanned = scans.entry(name).or_default();
            let scan = |line: &&str| line.contains("Scan") && !line.contains("never executed");
            for line in text.lines().filter(scan) {
                let relation = line.split(" on ").nth(1).and_then(|rest| rest.split(' ').next());
                scanned.extend(relation.filter(|name| is_partition(name)).map(str::to_owned));
            }
        }
        scans
    }
}

fn is_partition(name: &str) -> bool {
    name.rsplit_once('_').is_some_and(|(table, start)| TABLES.contains(&table) && start.len() == 8)
}

impl<S: Subscriber> Layer<S> for Notices {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Message<'a>(&'a Notices);
        impl Visit for Message<'_> {
            fn record_str(&mut self, field: &Field, value: &str) {
                if field.name() == "message" {
                    self.0.0.lock().unwrap().push(value.to_owned());
                }
            }

            fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
        }
        event.record(&mut Message(self));
    }
}
