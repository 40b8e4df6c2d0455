//! What the tables of a database are like, partitions counted as one table, as PostgreSQL's statistics tell it. Prints JSON;
//! `herald bench --soak` runs it.
//!
//! Arguments: `--url URL`.

use std::error::Error;

use serde_json::{Map, Value};
use sqlx::{Connection, PgConnection};

const SQL: &str = "SELECT COALESCE(p.relname, s.relname)::text AS name, jsonb_build_object(
        'live', SUM(s.n_live_tup), 'dead', SUM(s.n_dead_tup),
        'updates', SUM(s.n_tup_upd), 'hot_updates', SUM(s.n_tup_hot_upd), 'autovacuums', SUM(s.autovacuum_count),
        'table_bytes', SUM(pg_table_size(s.relid)), 'index_bytes', SUM(pg_indexes_size(s.relid)))::text AS health
    FROM pg_stat_user_tables AS s
    LEFT JOIN pg_inherits AS i ON i.inhrelid = s.relid LEFT JOIN pg_class AS p ON p.oid = i.inhparent
    WHERE s.schemaname = current_schema()
    GROUP BY 1 ORDER BY 1";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [option, url] = args.as_slice() else { return Err("arguments: --url URL".into()) };
    if option != "--url" {
        return Err(format!("{option} is not known").into());
    }
    let mut connection = PgConnection::connect(url).await?;
    let mut tables = Map::new();
    for (name, health) in sqlx::query_as::<_, (String, String)>(SQL).fetch_all(&mut connection).await? {
        tables.insert(name, serde_json::from_str(&health)?);
    }
    println!("{}", Value::Object(tables));
    Ok(())
}
