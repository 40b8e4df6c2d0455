//! The worker: sends messages, takes provider reports, and keeps the books.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use delivery::dispatch::Dispatcher;
use delivery::retention::{self, Archive};
use delivery::writer::Writer;
use delivery::{inbox, reconcile, sweep};
use provider::Provider;
use provider_simulator::{Journal, RemoteSimulator, Simulator};

use super::{PROVIDER, Tasks};
use crate::app::Shared;
use crate::archive::FileArchive;
use crate::config::Config;

/// Starts its parts; they end with the token of `work`.
pub(super) async fn start(
    work: &mut Tasks,
    config: &Config,
    shared: &Shared,
    writer: Writer,
) -> anyhow::Result<()> {
    let provider = open_provider(config).await?;
    let (mover, arrived, stop) = (&shared.mover, &shared.reports_arrived, work.stop.clone());
    let (store, timing) = (mover.store.clone(), mover.timing.clone());
    let archive = config.archive_dir.as_deref().map(|folder| FileArchive::open(folder, store.clone()));
    let archive = archive.transpose()?.map(|archive| Arc::new(archive) as Arc<dyn Archive>);

    let health = shared.provider.health.clone();
    let dispatcher = Dispatcher::new(mover.clone(), writer, provider.clone(), health, arrived.clone());
    work.spawn("dispatcher", dispatcher.run(stop.clone()));
    work.spawn("inbox", inbox::receive(mover.clone(), provider, arrived.clone(), stop.clone()));
    work.spawn("sweeper", sweep::run(mover.clone(), arrived.clone(), stop.clone()));
    work.spawn("reconciler", reconcile::run(store.clone(), timing.clone(), stop.clone()));
    work.spawn("retention", retention::run(store, archive, timing, stop.clone()));
    work.spawn("backlog", sweep::restock(mover.clone(), stop));
    Ok(())
}

async fn open_provider(config: &Config) -> anyhow::Result<Arc<dyn Provider>> {
    let simulator = &config.simulator;
    Ok(match simulator.address {
        Some(address) => Arc::new(RemoteSimulator::new(provider_simulator::RemoteConfig {
            window: simulator.window,
            answer_timeout: Duration::from_millis(simulator.answer_timeout_ms),
            ..provider_simulator::RemoteConfig::new(PROVIDER, address.to_string())
        })),
        None => Arc::new(
            Simulator::open(provider_simulator::Config {
                name: PROVIDER.to_owned(),
                seed: simulator.seed,
                time_scale: simulator.time_scale,
                journal: simulator.journal.clone().map(unsynced),
                window: simulator.window,
                answer_timeout: Duration::from_millis(simulator.answer_timeout_ms),
                ..provider_simulator::Config::default()
            })
            .await
            .context("cannot open the simulator's journal")?,
        ),
    })
}

/// What a simulator in this process owes need not survive the loss of power, and its fsyncs would be the store's.
fn unsynced(path: PathBuf) -> Journal {
    Journal { synced: false, ..Journal::new(path) }
}
