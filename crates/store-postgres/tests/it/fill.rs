//! What `fill_postgres` leaves is what Herald would have left.

use delivery::port::{AdminStore, ClientFilter, MessageFilter, ViewStore};
use delivery::reconcile;
use delivery::timing::Timing;
use message::status::Status;
use sqlx::{Connection, PgConnection};
use store_postgres::{Clock, PoolOptions, PostgresStore};

use crate::database::Database;

#[path = "../../examples/fill_postgres/fill.rs"]
mod filling;

use filling::{Filling, GROUP};

const MESSAGES: i64 = 3_000;
const CLIENTS: i64 = 4;

#[tokio::test]
async fn the_books_of_a_filled_database_are_clean_and_its_messages_can_be_read() {
    let database = Database::create().await;
    let store = PostgresStore::connect(&database.url, PoolOptions::default(), Clock::Database).await.unwrap();
    store.migrate().await.unwrap();
    drop(Filling::open(&database.url, MESSAGES, CLIENTS).await.unwrap());
    let mut filling = Filling::open(&database.url, MESSAGES, CLIENTS).await.unwrap();
    while filling.go_on().await.unwrap() {}
    assert_eq!(filling.stored(), MESSAGES);
    assert!(filling.finish().await.unwrap() > 0);

    // From the first event on, not from where it has looked already.
    let mut admin = PgConnection::connect(&database.url).await.unwrap();
    let sql = "UPDATE checkpoints SET seq = 0, available = 0, held = 0";
    sqlx::raw_sql(sql).execute(&mut admin).await.unwrap();
    let clients = store.clients(&ClientFilter::default(), None, CLIENTS, CLIENTS).await.unwrap().items;
    let mut stored = 0;
    for client in clients {
        let books = reconcile::audit(&store, &Timing::default(), client.id).await.unwrap();
        let (audit, _) = books.unwrap();
        assert_eq!(audit.violations, Vec::<String>::new());
        let messages = store.messages(client.id, &MessageFilter::default(), None, MESSAGES, MESSAGES).await;
        let messages = messages.unwrap().items;
        assert!(messages.iter().all(|message| message.state.status == Status::Delivered));
        assert_eq!(audit.last_seq, 1 + 4 * i64::try_from(messages.len()).unwrap());
        for message in messages.iter().step_by(37) {
            let id = message.record.key.id;
            assert_eq!(store.message(client.id, id).await.unwrap().as_ref(), Some(message));
            let history = store.history(client.id, id).await.unwrap();
            let statuses: Vec<_> = history
                .iter()
                .filter_map(|event| event.report.as_ref())
                .map(|report| report.status)
                .collect();
            assert_eq!(statuses, [Status::Queued, Status::Sending, Status::Sent, Status::Delivered]);
        }
        // The log is whole wherever a reader begins.
        for after in (0..audit.last_seq).step_by(usize::try_from(GROUP).unwrap() - 1) {
            let page = store.events(client.id, after, 2).await.unwrap();
            assert_eq!(page.events.first().map(|event| event.seq), Some(after + 1));
        }
        stored += messages.len();
    }
    assert_eq!(i64::try_from(stored).unwrap(), MESSAGES);
}
