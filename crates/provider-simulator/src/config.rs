//! What a simulator can be told.

use std::path::PathBuf;
use std::time::Duration;

/// How a simulator behaves, in process or on its own.
#[derive(Clone, Debug)]
pub struct Config {
    /// The provider account's name.
    pub name: String,
    /// Equal seeds give equal delays and draws for equal messages.
    pub seed: u64,
    /// How many submissions may be in flight at once, at least 1.
    pub window: usize,
    /// The share, 0 to 1, of accepted submits whose answer is lost. Their reports come all the same, with
    /// our reference. Refusals are never lost: nothing would ever tell what became of them.
    pub loss: f64,
    pub jitter: Jitter,
    /// Divides every delay; above 0.
    pub time_scale: f64,
    /// When the in-process simulator gives up on an answer that does not come; divided by `time_scale`.
    /// A remote caller names its own with each submit.
    pub answer_timeout: Duration,
    /// Whether reports echo our reference of the attempt beside the provider's own.
    pub echo: bool,
    /// Where the report schedule is kept. `None` = in memory only.
    pub journal: Option<Journal>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "simulator".to_owned(),
            seed: 0,
            window: 1_000,
            loss: 0.0,
            jitter: Jitter::default(),
            time_scale: 1.0,
            answer_timeout: Duration::from_secs(10),
            echo: true,
            journal: None,
        }
    }
}

/// How far delays stray from those of the script. One draw per submit scales its answer and all its reports,
/// so that their order stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jitter {
    /// Delays are multiplied by an even draw from `1 - spread` to `1 + spread`; 0 to 1.
    pub spread: f64,
    /// The share of submits, 0 to 1, that are slower still.
    pub slow_share: f64,
    /// How much slower those are; at least 1.
    pub slow_factor: f64,
}

impl Default for Jitter {
    fn default() -> Self {
        Self { spread: 0.1, slow_share: 0.0, slow_factor: 1.0 }
    }
}

impl Jitter {
    /// Delays exactly as in the script.
    pub const NONE: Self = Self { spread: 0.0, slow_share: 0.0, slow_factor: 1.0 };
}

/// A file of JSON lines: each submit with the reports it will have, and each report that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    pub path: PathBuf,
    /// Each record is on the disk (fdatasync) before the answer or report it stands for leaves.
    pub synced: bool,
    pub keep: Keep,
}

/// What a start does with the lines it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Drops what is settled.
    Unsettled,
    /// Keeps every line: the file is a witness.
    Everything,
}

impl Journal {
    /// A synced journal that stays small.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), synced: true, keep: Keep::Unsettled }
    }

    /// A synced journal that forgets nothing, for [`crate::Witness`].
    pub fn witness(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), synced: true, keep: Keep::Everything }
    }
}

/// A value out of its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{field} must be {must}, is {is}")]
pub struct ConfigError {
    pub field: &'static str,
    pub must: &'static str,
    pub is: f64,
}

impl Config {
    /// Checks every range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let check = |field, is: f64, is_right: bool, must| {
            if is_right { Ok(()) } else { Err(ConfigError { field, must, is }) }
        };
        let Jitter { spread, slow_share, slow_factor } = self.jitter;
        check("window", 0.0, self.window > 0, "at least 1")?;
        check("loss", self.loss, share(self.loss), "from 0 to 1")?;
        check("jitter.spread", spread, share(spread), "from 0 to 1")?;
        check("jitter.slow_share", slow_share, share(slow_share), "from 0 to 1")?;
        check("jitter.slow_factor", slow_factor, (1.0..=1e3).contains(&slow_factor), "from 1 to 1000")?;
        check("time_scale", self.time_scale, (1e-3..=1e6).contains(&self.time_scale), "from 0.001 to 1000000")
    }

    /// A delay as this simulator spends it.
    pub(crate) fn scaled(&self, delay: Duration) -> Duration {
        delay.div_f64(self.time_scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked_and_the_default_passes() {
        assert_eq!(Config::default().validate(), Ok(()));
        for (field, config) in [
            ("window", Config { window: 0, ..Config::default() }),
            ("loss", Config { loss: 1.1, ..Config::default() }),
            ("loss", Config { loss: f64::NAN, ..Config::default() }),
            (
                "jitter.spread",
                Config { jitter: Jitter { spread: -0.1, ..Jitter::NONE }, ..Config::default() },
            ),
            ("time_scale", Config { time_scale: 0.0, ..Config::default() }),
            ("time_scale", Config { time_scale: f64::INFINITY, ..Config::default() }),
        ] {
            assert_eq!(config.validate().map_err(|error| error.field), Err(field));
        }
    }
}
