//! Clients: made once, changed by whoever has seen their last change, and listed.

use std::time::Duration;

use delivery::model::{Client, ClientState, Head};
use delivery::plan::Wanted;
use delivery::port::{Books, Checkpoint, ClientFilter, Created, Creation, StoreError};
use ledger::{CaptureOn, Policy, SettleUnreported};
use message::Timestamp;
use message::id::ClientId;
use message::status::OnUnknown;

use crate::bench::Bench;
use crate::given::{self, AWKWARD};
use crate::list::{Row, assert_pages};
use crate::verbs::{ALL, load};

pub async fn a_new_client_has_an_empty_log_and_no_credit(bench: Bench) {
    let client = new_client(&bench);
    let created = bench.store.create_client(&client, None, &bench.entry("create")).await.unwrap();
    assert_eq!(created, Created::New);
    let head = Head { balance: Default::default(), last_seq: 0, oldest_seq: 1 };
    assert_eq!(bench.other.client(client.id).await.unwrap(), Some((client.clone(), head)));
    let page = bench.store.events(client.id, 0, ALL).await.unwrap();
    assert_eq!((page.events.len(), page.last_seq, page.oldest_seq), (0, 0, 1));
    let books = bench.books(client.id).await;
    assert_eq!(books, Books { checkpoint: Checkpoint::default(), ..Books::default() });
    bench.assert_sound(client.id).await;
}

pub async fn a_client_is_made_once(bench: Bench) {
    let client = new_client(&bench);
    bench.store.create_client(&client, None, &bench.entry("create")).await.unwrap();
    bench.top_up(client.id, 5, "key").await;
    let again = bench.store.create_client(&client, None, &bench.entry("again")).await;
    assert!(matches!(again, Err(StoreError::Refused(_))), "{again:?}");
    assert_eq!(bench.balance(client.id).await, (5, 0));
    // Under a key too; and the key stays free.
    let creation = creation("key", "print");
    let again = bench.store.create_client(&client, Some(&creation), &bench.entry("again")).await;
    assert!(matches!(again, Err(StoreError::Refused(_))), "{again:?}");
    let other = new_client(&bench);
    let created = bench.store.create_client(&other, Some(&creation), &bench.entry("create")).await.unwrap();
    assert_eq!(created, Created::New);
    assert_eq!(bench.audit_log().await.len(), 2);
}

pub async fn a_key_makes_one_client_and_answers_it_ever_after(bench: Bench) {
    let first = new_client(&bench);
    let make = async |client: &Client, key: &str, print: &str| {
        let entry = bench.entry("create");
        bench.other.create_client(client, Some(&creation(key, print)), &entry).await.unwrap()
    };
    assert_eq!(make(&first, "key", "print").await, Created::New);
    let second = new_client(&bench);
    let before = Created::Before(Box::new(first.clone()), given::fingerprint("print"));
    assert_eq!(make(&second, "key", "print").await, before);
    assert_eq!(make(&second, "key", "another print").await, before, "the caller compares");
    bench.clock.advance(Duration::from_secs(365 * 24 * 3_600));
    bench.update_client(first.id, |client| client.name = "as it is now".into()).await;
    let (now, _) = bench.store.client(first.id).await.unwrap().unwrap();
    assert_eq!(now.name, "as it is now");
    let again = make(&second, "key", "print").await;
    assert_eq!(again, Created::Before(Box::new(now.clone()), given::fingerprint("print")));
    assert_eq!(bench.clients().await, [now]);
    assert_eq!(bench.audit_log().await.len(), 2, "the first call and the change");
    // Each key is its own, to the character.
    for key in ["KEY", "key ", "k_y", AWKWARD] {
        let client = new_client(&bench);
        assert_eq!(make(&client, key, "print").await, Created::New, "{key}");
        let before = Created::Before(Box::new(client), given::fingerprint("print"));
        assert_eq!(make(&new_client(&bench), key, "print").await, before, "{key}");
    }
    assert_eq!(bench.clients().await.len(), 5);
    bench.assert_sound(first.id).await;
}

pub async fn racing_calls_under_one_key_make_one_client(bench: Bench) {
    let callers: Vec<_> = (0..12)
        .map(|n| {
            let store = if n % 2 == 0 { bench.store.clone() } else { bench.other.clone() };
            let (client, entry) = (new_client(&bench), bench.entry("create"));
            let creation = creation("key", &format!("print-{n}"));
            tokio::spawn(async move {
                let created = store.create_client(&client, Some(&creation), &entry).await.unwrap();
                (client, creation.fingerprint, created)
            })
        })
        .collect();
    let mut answers = Vec::new();
    for caller in callers {
        answers.push(caller.await.unwrap());
    }
    let new: Vec<_> = answers.iter().filter(|(_, _, created)| *created == Created::New).collect();
    assert_eq!(new.len(), 1, "{answers:?}");
    let (client, fingerprint, _) = new[0];
    let before = Created::Before(Box::new(client.clone()), *fingerprint);
    assert!(
        answers.iter().all(|(_, _, created)| *created == Created::New || *created == before),
        "{answers:?}"
    );
    assert_eq!(bench.clients().await, std::slice::from_ref(client));
    assert_eq!(bench.audit_log().await.len(), 1);
}

pub async fn a_changed_client_reads_back_with_its_next_revision(bench: Bench) {
    let id = bench.client().await;
    let (first, head) = bench.store.client(id).await.unwrap().unwrap();
    let changed = Client {
        name: AWKWARD.into(),
        state: ClientState::Suspended,
        suspend_reason: AWKWARD.into(),
        policy: Policy { capture_on: CaptureOn::Sent, settle_unreported: SettleUnreported::Release },
        report_timeout: Duration::from_micros(1),
        on_unknown: OnUnknown::Resend,
        resend_after: Duration::from_secs(7),
        parts_per_second: i32::MAX,
        burst_parts: 8,
        default_sender: AWKWARD.into(),
        max_parts: 255,
        low_balance_micros: i64::MAX,
        ..first.clone()
    };
    // These three stay, whatever a caller says.
    let given = Client {
        currency: "EUR".into(),
        is_sandbox: !first.is_sandbox,
        created_at: Timestamp::from_micros(1),
        ..changed.clone()
    };
    let entry = bench.entry("update");
    assert!(bench.store.update_client(&given, &entry).await.unwrap());
    let expected = Client { revision: first.revision + 1, ..changed };
    assert_eq!(bench.other.client(id).await.unwrap(), Some((expected.clone(), head)));
    assert_eq!(bench.audit_log().await[0], entry);
    let (_tx, loaded) =
        load(bench.other.as_ref(), &Wanted { clients: [id].into(), ..Wanted::default() }).await;
    assert_eq!(loaded.clients[&id], (expected.clone(), head));
    drop(_tx);
    let back = Client { revision: expected.revision, ..first.clone() };
    assert!(bench.store.update_client(&back, &bench.entry("update")).await.unwrap());
    let (read, _) = bench.store.client(id).await.unwrap().unwrap();
    assert_eq!(read, Client { revision: first.revision + 2, ..first });
    bench.assert_sound(id).await;
}

pub async fn a_change_is_a_conflict_unless_it_knows_the_last_one(bench: Bench) {
    let id = bench.client().await;
    let neighbour = bench.client().await;
    bench.update_client(id, |client| client.name = "second".into()).await;
    let before = bench.clients().await;
    let entries = bench.audit_log().await;
    let (client, _) = bench.store.client(id).await.unwrap().unwrap();
    for revision in [client.revision - 1, client.revision + 1, 0, i64::MAX] {
        let stale = Client { revision, name: "lost".into(), ..client.clone() };
        let lost = bench.store.update_client(&stale, &bench.entry("lost")).await;
        assert!(matches!(lost, Err(StoreError::Conflict)), "{lost:?}");
    }
    let nobody = Client { id: new_client(&bench).id, ..client.clone() };
    assert!(!bench.store.update_client(&nobody, &bench.entry("nobody")).await.unwrap());
    for wrong in [
        Client { report_timeout: Duration::ZERO, ..client.clone() },
        Client { max_parts: 0, ..client.clone() },
        Client { low_balance_micros: -1, ..client.clone() },
    ] {
        let refused = bench.store.update_client(&wrong, &bench.entry("wrong")).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    }
    assert_eq!(bench.clients().await, before);
    assert_eq!(bench.audit_log().await, entries);
    bench.update_client(neighbour, |client| client.name = "neighbour".into()).await;
}

pub async fn racing_changes_are_made_one_after_the_other(bench: Bench) {
    let id = bench.client().await;
    let (client, _) = bench.store.client(id).await.unwrap().unwrap();
    let callers: Vec<_> = (0..12)
        .map(|n| {
            let store = if n % 2 == 0 { bench.store.clone() } else { bench.other.clone() };
            let (changed, entry) = (Client { name: format!("{n}"), ..client.clone() }, bench.entry("update"));
            tokio::spawn(async move {
                match store.update_client(&changed, &entry).await {
                    Ok(true) => Some(changed.name),
                    Err(StoreError::Conflict) => None,
                    other => panic!("{other:?}"),
                }
            })
        })
        .collect();
    let mut winners = Vec::new();
    for caller in callers {
        winners.extend(caller.await.unwrap());
    }
    let (read, _) = bench.store.client(id).await.unwrap().unwrap();
    assert_eq!(winners, [read.name]);
    assert_eq!(read.revision, client.revision + 1);
    assert_eq!(bench.audit_log().await.iter().filter(|entry| entry.action == "update").count(), 1);
}

pub async fn clients_are_listed_ascending_and_filtered(bench: Bench) {
    let names = [
        "a_b",
        "aXb",
        "A_b",
        "a%",
        "a_",
        "",
        "\u{e4}_b",
        "a_b c",
        AWKWARD,
        "a\u{10ffff}z",
        "a",
        "a\\b",
        "zz",
        "a_b",
    ];
    let mut clients = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let change = |client: &mut Client| {
            client.name = (*name).into();
            client.state = if n % 3 == 0 { ClientState::Suspended } else { ClientState::Active };
        };
        let id = bench.client_with(0, change).await;
        clients.push(bench.store.client(id).await.unwrap().unwrap().0);
    }
    clients.sort_by_key(|client| client.id);
    let prefixes = ["", "a", "a_", "a%", "%", "A", "\u{e4}", " '", "a\u{10ffff}", "a\\", "nobody", "a_b c d"];
    for state in [None, Some(ClientState::Active), Some(ClientState::Suspended)] {
        for prefix in prefixes {
            let filter = ClientFilter { state, name_prefix: prefix.into() };
            let is_shown = |client: &&Client| {
                client.name.starts_with(prefix) && state.is_none_or(|state| client.state == state)
            };
            let rows: Vec<Row<Client, ClientId>> = clients
                .iter()
                .map(|client| Row {
                    place: client.id,
                    shown: Some(client).filter(is_shown).cloned(),
                    is_in_range: true,
                })
                .collect();
            assert_pages(&rows, async |after, limit, scan| {
                bench.other.clients(&filter, after, limit, scan).await.unwrap()
            })
            .await;
        }
    }
}

fn new_client(bench: &Bench) -> Client {
    given::client(ClientId::new(bench.clock.now(), bench.entropy()), bench.clock.now())
}

fn creation(key: &str, print: &str) -> Creation {
    Creation { key: key.into(), fingerprint: given::fingerprint(print) }
}
