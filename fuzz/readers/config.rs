//! Text of users: the configuration file, variables, flags, and the file of names. Accepted settings
//! can be shown and read again unchanged; an error is one line.
//!
//! ```text
//! the file
//! %%, the variables, one a line
//! %%, the flags: interval, state dir, node name, listen, log level, one a line
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use nodetally::cli::show_config::{TokenState, render};
use nodetally::config::{
    ConfigError, Destination, EndpointUrl, Flags, Inputs, Settings, format_bytes, keys, one_line,
    parse_duration,
};
use nodetally::delivery::BaseUrl;
use nodetally::directory::kubernetes::kubeconfig;
use nodetally::directory::static_file;
use nodetally::payload::selector::Selector;

const LINE_BYTES_MAX: usize = 4096;

/// Reads one input.
pub fn run(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let mut parts = input.splitn(3, "\n%%\n");
    let (file, variables) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let flags = parts.next().unwrap_or_default();
    values(input);
    if let Err(error) = kubeconfig::parse(input.as_bytes()) {
        is_a_line(&error);
    }
    match static_file::parse(file) {
        Ok(names) => {
            assert!(names.len() <= static_file::ENTRIES_MAX);
            for rule in names {
                assert!(!rule.entity.name.is_empty() && rule.entity.labels.len() <= 64);
            }
        }
        Err(error) => {
            assert!(error.line <= 1 + file.matches('\n').count());
            is_a_line(&error.problem);
        }
    }
    match resolve(file, variables, flags) {
        Ok(settings) => accepted(settings),
        Err(error) => is_a_line(&error.to_string()),
    }
}

fn resolve(file: &str, variables: &str, flags: &str) -> Result<Settings, ConfigError> {
    let environment: Vec<(String, String)> = variables
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let of_flags = [
        &keys::SAMPLING_INTERVAL,
        &keys::STATE_DIR,
        &keys::NODE_NAME,
        &keys::RECEIVER_LISTEN,
        &keys::LOG_LEVEL,
    ];
    let mut set = Flags::default();
    for (key, value) in of_flags.into_iter().zip(flags.lines()) {
        if !value.is_empty() {
            set.set(key, value);
        }
    }
    Settings::resolve(Inputs {
        file: Some((PathBuf::from("nodetally.toml"), file.to_owned())),
        environment,
        flags: set,
        host_name: "box".to_owned(),
        is_root: true,
        ..Inputs::default()
    })
}

fn is_a_line(text: &str) {
    assert_eq!(one_line(text), text);
    assert!(text.len() <= LINE_BYTES_MAX, "{} bytes: {text}", text.len());
}

/// Checks that shown settings are read again as the same, but for where they come from and for the query
/// of a URL.
fn accepted(settings: Settings) {
    for endpoint in &settings.endpoints {
        let Destination::Http(url) = &endpoint.url else { continue };
        let url = url.as_url().as_str();
        assert!(BaseUrl::parse(url).is_ok(), "{url} is accepted and cannot be sent to");
    }
    let shown = render(&settings, |_: &Path| TokenState::Set);
    let again = match resolve(&shown, "", "") {
        Ok(again) => again,
        Err(error) => panic!("{error}\n{shown}"),
    };
    let bare = |settings: &Settings| {
        let mut settings = settings.clone();
        settings.origins = Default::default();
        for endpoint in &mut settings.endpoints {
            endpoint.origins = Default::default();
            if let Destination::Http(url) = &endpoint.url
                && url.as_url().query().is_some()
            {
                endpoint.url = Destination::parse("http://hidden").expect("a URL");
            }
        }
        settings
    };
    assert_eq!(bare(&again), bare(&settings), "{shown}");
}

fn values(text: &str) {
    let day = Duration::from_secs(24 * 60 * 60);
    match parse_duration(text, Duration::ZERO..=day) {
        Ok(duration) => assert!(duration <= day),
        Err(reason) => assert!(reason.to_string().len() < 200),
    }
    if let Ok(url) = EndpointUrl::parse(text) {
        assert!(BaseUrl::parse(url.as_url().as_str()).is_ok());
        assert_eq!(EndpointUrl::parse(url.as_url().as_str()), Ok(url));
    }
    if let Ok(destination) = Destination::parse(text)
        && !matches!(destination, Destination::Http(_))
    {
        assert_eq!(Destination::parse(&destination.to_string()), Ok(destination));
    }
    if let Ok(url) = BaseUrl::parse(text) {
        let shown = url.to_string();
        assert!(!shown.contains('#') && BaseUrl::parse(&shown).is_ok());
    }
    let _ = Selector::parse(text);
    let count = text.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(257) + u64::from(byte));
    let written = format_bytes(nodetally::quantity::Bytes::from_bytes(count));
    assert!(written.len() <= 20);
}
