//! Servers that hang, go away, are no primary, or must prove who they are.

use std::sync::Arc;
use std::time::Duration;

use delivery::plan::Wanted;
use delivery::port::{AdminStore, StoreError, ViewStore, WorkStore};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store_postgres::{Clock, OpenError, PoolOptions, PostgresStore};
use tokio::time::timeout;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::database::Database;
use crate::proxy::{Proxy, Way};

const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// More than any verb may take here: a connection and one answer.
const BOUND: Duration = Duration::from_secs(8);

async fn open(url: &str, max_connections: u32) -> Result<PostgresStore, OpenError> {
    let options = PoolOptions {
        max_connections,
        min_connections: 1,
        acquire_timeout: Duration::from_secs(5),
        answer_timeout: ANSWER_TIMEOUT,
    };
    PostgresStore::connect(url, options, Clock::Database).await
}

async fn migrated() -> Database {
    let database = Database::create().await;
    let options = PoolOptions { max_connections: 1, ..PoolOptions::default() };
    let store = PostgresStore::connect(&database.url, options, Clock::Database).await.unwrap();
    store.migrate().await.unwrap();
    database
}

#[tokio::test]
async fn a_server_that_hangs_ends_every_verb_within_its_bound_and_the_pool_recovers() {
    let database = migrated().await;
    let proxy = Proxy::start(&database.url).await;
    let store = open(&proxy.url(&database.url), 2).await.unwrap();
    let mut in_load = store.begin().await.unwrap();
    let mut in_commit = store.begin().await.unwrap();
    in_commit.load(&Wanted::default()).await.unwrap();
    proxy.set(Way::Stalled);
    let late = timeout(BOUND, in_load.load(&Wanted::default())).await.expect("it ends");
    assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
    let late = timeout(BOUND, in_commit.commit()).await.expect("it ends");
    assert!(matches!(late, Err(StoreError::Uncertain(_))), "{late:?}");
    drop(in_load);
    // Every place of the pool is tried, by callers that wait and by one that leaves.
    for _ in 0..3 {
        let late = timeout(BOUND, store.ping()).await.expect("it ends");
        assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
    }
    proxy.set(Way::Open);
    for _ in 0..4 {
        timeout(BOUND, store.ping()).await.expect("it ends").expect("the pool has recovered");
    }
}

#[tokio::test]
async fn a_caller_that_leaves_takes_no_place_of_the_pool_with_it() {
    let database = migrated().await;
    let proxy = Proxy::start(&database.url).await;
    let store = open(&proxy.url(&database.url), 1).await.unwrap();
    store.ping().await.unwrap();
    proxy.strand();
    assert!(timeout(ANSWER_TIMEOUT / 5, store.ping()).await.is_err(), "it hangs");
    timeout(BOUND, store.ping()).await.expect("it ends").expect("the one place is free again");
}

#[tokio::test]
async fn callers_go_to_the_server_that_is_there() {
    let database = migrated().await;
    let (one, two) = (Proxy::start(&database.url).await, Proxy::start(&database.url).await);
    let several = format!("{},127.0.0.1:{}", one.port, two.port);
    let url = one.url(&database.url).replace(&one.port.to_string(), &several);
    let url = format!("{}?target_session_attrs=read-write", url.split('?').next().unwrap());
    one.set(Way::Shut);
    let store = open(&url, 4).await.unwrap();
    for (there, gone) in [(&one, &two), (&two, &one), (&one, &two)] {
        there.set(Way::Open);
        gone.set(Way::Shut);
        let callers = (0..8).map(|_| async {
            // What was in flight is lost with its server, once for each connection.
            for _ in 0..6 {
                if timeout(BOUND, store.ping()).await.expect("it ends").is_ok() {
                    return true;
                }
            }
            false
        });
        let found = futures_util::future::join_all(callers).await;
        assert!(found.into_iter().all(|found| found), "a caller found no server");
    }
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_not_used_until_it_does() {
    let database = migrated().await;
    let mut admin = PgConnection::connect(&database.url).await.unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&mut admin).await.unwrap();
    let store = open(&database.url, 2).await.unwrap();
    store.ping().await.unwrap();
    let set = async |admin: &mut PgConnection, is_read_only: bool| {
        let sql = format!(
            "ALTER DATABASE {name} SET default_transaction_read_only = {is_read_only};
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(admin).await.unwrap();
    };
    set(&mut admin, true).await;
    let refused = timeout(BOUND * 2, store.ping()).await.expect("it ends");
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(matches!(open(&database.url, 1).await, Err(OpenError::Connect(_))));
    let mut writer = PgConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql("SET default_transaction_read_only = off").execute(&mut writer).await.unwrap();
    set(&mut writer, false).await;
    timeout(BOUND, store.ping()).await.expect("it ends").expect("it is the primary again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_first_callers_of_a_cold_pool_are_all_served() {
    let database = migrated().await;
    let options = PoolOptions { max_connections: 16, min_connections: 0, ..PoolOptions::default() };
    let store = PostgresStore::connect(&database.url, options, Clock::Database).await.unwrap();
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.log_epoch().await })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
}

/// On a machine with much to do, a new connection takes long.
#[tokio::test]
async fn nobody_waits_for_a_slow_connection_while_another_is_free() {
    let database = migrated().await;
    let proxy = Proxy::start(&database.url).await;
    let store = open(&proxy.url(&database.url), 16).await.unwrap();
    proxy.fill();
    let callers = futures_util::future::join_all((0..16).map(|_| store.ping()));
    for served in timeout(Duration::from_secs(4), callers).await.expect("they are served by turns") {
        served.unwrap();
    }
}

#[tokio::test]
async fn eight_nodes_migrate_at_once() {
    let database = Database::create().await;
    let nodes = (0..8).map(|_| {
        let url = database.url.clone();
        tokio::spawn(async move {
            let options = PoolOptions { max_connections: 2, min_connections: 1, ..PoolOptions::default() };
            let store = PostgresStore::connect(&url, options, Clock::Database).await.unwrap();
            store.migrate().await.unwrap();
            assert_eq!(store.schema().await.unwrap().missing, Vec::<String>::new());
            store.log_epoch().await.unwrap()
        })
    });
    let epochs = futures_util::future::join_all(nodes).await;
    let first = *epochs[0].as_ref().unwrap();
    assert!(epochs.into_iter().all(|epoch| epoch.unwrap() == first), "one history");
}

#[tokio::test]
async fn a_server_must_prove_its_name_if_the_url_says_so() {
    let database = migrated().await;
    let folder = tempfile::tempdir().unwrap();
    let (issuer, stranger) = (issuer(), issuer());
    let file = |name: &str, issuer: &CertifiedIssuer<'_, KeyPair>| {
        let path = folder.path().join(name);
        std::fs::write(&path, issuer.pem()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ours, theirs) = (file("ours.pem", &issuer), file("theirs.pem", &stranger));
    let proxy = Proxy::start_with(&database.url, Some(certified(&issuer))).await;
    let plain = proxy.url(&database.url);
    let plain = plain.split('?').next().unwrap();
    let by_name = plain.replace("127.0.0.1", "localhost");
    for (url, is_served) in [
        (format!("{by_name}?sslmode=verify-full&sslrootcert={ours}"), true),
        (format!("{by_name}?sslmode=verify-full&sslrootcert={theirs}"), false),
        (format!("{by_name}?sslmode=verify-full"), false),
        (format!("{plain}?sslmode=verify-full&sslrootcert={ours}"), false),
        (format!("{plain}?sslmode=verify-ca&sslrootcert={ours}"), true),
        (format!("{plain}?sslmode=require"), true),
    ] {
        let shown = url.rsplit_once('?').unwrap().1.to_owned();
        let opened = timeout(BOUND, open(&url, 1)).await.expect("it ends");
        assert_eq!(opened.is_ok(), is_served, "{shown}: {:?}", opened.err());
        if let Ok(store) = opened {
            store.ping().await.unwrap();
        }
    }
}

fn issuer() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// For `localhost` alone.
fn certified(issuer: &CertifiedIssuer<'_, KeyPair>) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder().with_no_client_auth();
    Arc::new(config.with_single_cert(vec![certificate.der().clone()], key.into()).unwrap())
}
