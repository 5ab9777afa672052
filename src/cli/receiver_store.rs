//! `nodetally receive info`, `backup` and `compact`.

use std::path::Path;

use super::args::{InfoFormat, StoreCommand};
use crate::config::{Settings, StoreLocation};
use crate::payload::size::size;
use crate::payload::stamp::Rfc3339Seconds;
use crate::quantity::{Bytes, WallTime};
use crate::receiver::{HistoryInfo, StoreFileInfo, backup_store, compact_store, store_info};

/// Carries out the command on the store that the settings name. Returns the lines to print.
///
/// # Errors
/// The settings name no file, or the file cannot be used.
pub(super) fn run(command: &StoreCommand, settings: &Settings) -> anyhow::Result<String> {
    let path = match &settings.receiver.store {
        Some(StoreLocation::File(path)) => path,
        Some(StoreLocation::Postgres(_)) => anyhow::bail!(
            "receiver.store is a database of PostgreSQL: use its own tools, such as pg_dump; --store \
             names the file of a store"
        ),
        None => anyhow::bail!("receiver.store is none: --store names the file of a store"),
    };
    match command {
        StoreCommand::Info { format, .. } => {
            let info = store_info(path)?;
            match format {
                InfoFormat::Text => Ok(text(path, &info)),
                InfoFormat::Json => Ok(format!("{}\n", serde_json::to_string_pretty(&info)?)),
            }
        }
        StoreCommand::Backup { to, .. } => {
            let bytes = backup_store(path, to)?;
            Ok(format!("{}: {}\n", to.display(), shown(bytes)))
        }
        StoreCommand::Compact { .. } => {
            let (before, after) = compact_store(path)?;
            Ok(format!("{}: {} before, {} now\n", path.display(), shown(before), shown(after)))
        }
    }
}

fn shown(bytes: u64) -> String {
    size(Bytes::from_bytes(bytes))
}

fn text(path: &Path, info: &StoreFileInfo) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| text.push_str(&format!("{name:<18}{value}\n"));
    line("store", path.display().to_string());
    line("size", format!("{}, {} of it free", shown(info.file_bytes), shown(info.free_bytes)));
    line("schema version", info.schema_version.to_string());
    line("senders", info.senders.to_string());
    line("nodes", info.nodes.to_string());
    line("pods", info.pods.to_string());
    line("host units", info.host_units.to_string());
    line("pod rows", info.pod_specs.to_string());
    line("documents", format!("{}, {}", info.documents, shown(info.document_bytes)));
    line("idempotency keys", info.idempotency_keys.to_string());
    for history in &info.history {
        line(history.resolution, history_text(history));
    }
    text
}

fn history_text(history: &HistoryInfo) -> String {
    let HistoryInfo { blocks, bytes, oldest_unix_millis, newest_unix_millis, .. } = history;
    let mut text = format!("{blocks} blocks, {}", shown(*bytes));
    let time = |millis: u64| Rfc3339Seconds(WallTime::from_unix_millis(millis));
    if let Some((oldest, newest)) = oldest_unix_millis.zip(*newest_unix_millis) {
        text.push_str(&format!(", ending {} to {}", time(oldest), time(newest)));
    }
    text
}
