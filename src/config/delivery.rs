//! Checks `[spool]` and what of `[[endpoint]]` says how samples wait.

use std::path::PathBuf;
use std::time::Duration;

use super::choices::{Counters, Durability, StalePolicy};
use super::error::ConfigError;
use super::keys::{self, delivery as key};
use super::layer::{Layers, Origin, Origins, refused};
use super::settings::{SpoolSettings, StateSettings, WaitingSettings};
use super::value;
use crate::payload::dialect::Dialect;
use crate::quantity::Bytes;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

/// However long the interval, nobody waits longer by default.
const SPREAD_MOST: Duration = Duration::from_secs(30);

/// What the default place of the spool hangs on.
pub(super) struct Surroundings<'a> {
    /// `$STATE_DIRECTORY`.
    pub state_directory: Option<&'a str>,
    pub is_root: bool,
    pub xdg_state_home: Option<&'a str>,
    pub home: Option<&'a str>,
}

pub(super) fn spool(
    layers: &Layers,
    origins: &mut Origins,
    state: &StateSettings,
    surroundings: &Surroundings<'_>,
) -> Result<SpoolSettings, ConfigError> {
    let default = default_dir(state, origins, surroundings);
    Ok(SpoolSettings {
        dir: layers.get_or(&key::SPOOL_DIR, origins, default, value::path_or_none)?,
    })
}

fn default_dir(
    state: &StateSettings,
    origins: &Origins,
    surroundings: &Surroundings<'_>,
) -> Option<PathBuf> {
    // A relative one counts as unset, as the variables' specifications have it.
    let absolute = |text: Option<&str>| text.map(PathBuf::from).filter(|path| path.is_absolute());
    // systemd names several with colons between.
    let given = surroundings.state_directory.and_then(|dirs| dirs.split(':').next());
    if let Some(dir) = absolute(given) {
        return Some(dir.join("spool"));
    }
    if *origins.of(&keys::STATE_DIR) != Origin::Default {
        return state.dir.as_ref().map(|dir| dir.join("spool"));
    }
    if surroundings.is_root {
        return Some(PathBuf::from("/var/lib/nodetally/spool"));
    }
    let home = || absolute(surroundings.home).map(|home| home.join(".local/state"));
    let dir = absolute(surroundings.xdg_state_home).or_else(home)?;
    Some(dir.join("nodetally/spool"))
}

/// What an endpoint's settings follow from that stands elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct WaitingDefaults {
    pub has_spool: bool,
    pub interval: Duration,
}

pub(super) fn waiting(
    layers: &Layers,
    origins: &mut Origins,
    dialect: Dialect,
    counters: Counters,
    defaults: WaitingDefaults,
) -> Result<WaitingSettings, ConfigError> {
    let durability = match defaults.has_spool {
        true => Durability::Disk,
        false => Durability::Memory,
    };
    let stale = match counters {
        Counters::Delta => StalePolicy::Add,
        Counters::Cumulative => StalePolicy::Drop,
    };
    let interval = defaults.interval;
    let waiting = WaitingSettings {
        durability: layers.get_or(
            &key::DURABILITY,
            origins,
            durability,
            |raw| match value::choice(raw, Durability::from_word)? {
                Durability::Disk if !defaults.has_spool => Err("spool.dir is \"none\"".to_owned()),
                durability => Ok(durability),
            },
        )?,
        spool_bytes: layers.get_or(
            &key::SPOOL_BYTES,
            origins,
            Bytes::from_kibibytes(256 << 10),
            |raw| {
                value::bytes(raw, Bytes::from_kibibytes(1 << 10)..=Bytes::from_kibibytes(64 << 20))
            },
        )?,
        spool_age: layers
            .get_or(&key::SPOOL_AGE, origins, DAY, |raw| value::duration(raw, MINUTE..=30 * DAY))?,
        stale_after: layers.get_or(
            &key::STALE_AFTER,
            origins,
            MINUTE.max(4 * interval),
            |raw| value::duration(raw, Duration::from_secs(1)..=30 * DAY),
        )?,
        stale: layers.get_or(&key::STALE, origins, stale, |raw| {
            match value::choice(raw, StalePolicy::from_word)? {
                StalePolicy::Add if counters == Counters::Cumulative => {
                    Err("running totals do not add up".to_owned())
                }
                stale => Ok(stale),
            }
        })?,
        tries_max: layers.get_or(&key::TRIES_MAX, origins, 3, |raw| value::count(raw, 1..=100))?,
        spread: layers.get_or(&key::SPREAD, origins, (interval / 2).min(SPREAD_MOST), |raw| {
            value::duration(raw, Duration::ZERO..=interval)
        })?,
    };
    if dialect.profile().timestamps.merge().is_none() {
        for (key, shown) in
            [(&key::STALE_AFTER, String::new()), (&key::STALE, waiting.stale.as_str().to_owned())]
        {
            let origin = origins.of(key);
            if *origin != Origin::Default {
                let shown = match shown.is_empty() {
                    true => humantime::format_duration(waiting.stale_after).to_string(),
                    false => shown,
                };
                let reason = format!("{} carries its own time", dialect.as_str());
                return Err(refused(key, &shown, origin.clone(), &reason));
            }
        }
    }
    Ok(waiting)
}
