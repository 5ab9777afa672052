//! The inputs of the settings, as this process has them: the file, the environment, the host.

use std::io;
use std::path::{Path, PathBuf};

use super::args::{Cli, Command, ReceiveFlags};
use crate::config::{
    self, ConfigError, DEFAULT_FILE, FILE_BYTES_MAX, FileChoice, Inputs, Settings,
};
use crate::runtime::host;

/// The settings of the command.
///
/// # Errors
/// All errors of the file, the environment and the flags.
pub(super) fn settings(cli: &Cli) -> Result<Settings, ConfigError> {
    Settings::resolve(read(cli)?)
}

/// Everything that the settings are resolved from.
///
/// # Errors
/// The file cannot be read.
pub(super) fn read(cli: &Cli) -> Result<Inputs<Vec<(String, String)>>, ConfigError> {
    let environment = environment();
    let choice = config::file_choice(cli.global.config.as_deref(), &environment);
    Ok(Inputs {
        file: file_of(&choice, Path::new(DEFAULT_FILE))?,
        environment,
        flags: cli.overrides(),
        // Only servers read the credentials, as the services that have them.
        credentials_elsewhere: !matches!(
            cli.command,
            Command::Run(_) | Command::Receive(ReceiveFlags { store: None, .. })
        ),
        look_up: Some(host::addresses_of),
        host_name: host::host_name(),
        is_root: nix::unistd::geteuid().is_root(),
        xdg_runtime_dir: std::env::var("XDG_RUNTIME_DIR").ok(),
        xdg_state_home: std::env::var("XDG_STATE_HOME").ok(),
        home: std::env::var("HOME").ok(),
    })
}

fn environment() -> Vec<(String, String)> {
    // No variable of the agent is other than UTF-8.
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The configuration file in words: which one is read, or why none is.
pub(super) fn file_words(cli: &Cli) -> String {
    match config::file_choice(cli.global.config.as_deref(), &environment()) {
        FileChoice::Named(path) => format!("configuration file: {}", path.display()),
        FileChoice::None => "no configuration file, as asked for".to_owned(),
        FileChoice::Default if Path::new(DEFAULT_FILE).exists() => {
            format!("configuration file: {DEFAULT_FILE}")
        }
        FileChoice::Default => {
            format!("no configuration file: {DEFAULT_FILE} does not exist, and --config names none")
        }
    }
}

/// The path and text of the file. A file that is named has to be there, and the default one need not.
fn file_of(choice: &FileChoice, default: &Path) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let (path, is_named) = match choice {
        FileChoice::Named(path) => (path.as_path(), true),
        FileChoice::Default => (default, false),
        FileChoice::None => return Ok(None),
    };
    match read_text(path) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(error) if !is_named && error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ConfigError::unreadable_file(path, &error)),
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    use io::Read as _;
    #[expect(clippy::disallowed_methods, reason = "the configuration is no file of the kernel's")]
    let file = std::fs::File::open(path)?;
    let mut text = String::new();
    // One byte more than allowed, so that the size check fails on a larger file.
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_default_file_may_be_missing() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("config.toml");
        std::fs::write(&there, "# it").unwrap();
        let missing = dir.path().join("none.toml");
        let text = |choice: &FileChoice, default: &Path| {
            file_of(choice, default).map(|file| file.map(|(_, text)| text))
        };
        assert_eq!(text(&FileChoice::Default, &there), Ok(Some("# it".to_owned())));
        assert_eq!(text(&FileChoice::Default, &missing), Ok(None));
        assert_eq!(text(&FileChoice::None, &there), Ok(None));
        assert_eq!(text(&FileChoice::Named(there.clone()), &missing), Ok(Some("# it".to_owned())));
        let error = text(&FileChoice::Named(missing), &there).unwrap_err().to_string();
        assert!(error.contains("none.toml: cannot be read: No such file"), "{error}");
        // It is there, and is no file.
        text(&FileChoice::Default, dir.path()).unwrap_err();
    }
}
