//! Properties of the configuration that hold for any text.

use nodetally::config::{ConfigError, Destination, KEYS, Settings, keys};
use proptest::prelude::*;

use crate::config::shown::shown;
use crate::config::{bare, from_file, inputs};
use crate::support::rounds::cases;

fn assert_one_line(result: Result<Settings, ConfigError>) {
    if let Err(error) = result {
        // One line for each error.
        let text = error.to_string();
        assert!((1..=KEYS.len()).contains(&text.lines().count()), "{text:?}");
        for line in text.lines() {
            assert!(!line.is_empty(), "{text:?}");
            assert!(!line.chars().any(char::is_control), "{line:?}");
            assert!(line.chars().count() < 4096, "{line:?}");
        }
    }
}

/// A TOML string that stands for any text.
fn literal(text: &str) -> String {
    let escaped: String = text.chars().map(|c| format!("\\U{:08X}", u32::from(c))).collect();
    format!("\"{escaped}\"")
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn any_text_as_a_file_gives_settings_or_one_line(text in any::<String>()) {
        assert_one_line(Settings::resolve(inputs(Some(&text), &[])));
    }

    #[test]
    fn any_toml_tokens_give_settings_or_one_line(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "[", "]", "[[", "]]", "{", "}", "=", ".", ",", "\n", "\"", "'''", "#", "\\", "é",
                "sampling", "interval", "endpoint", "name", "url", "\"15s\"", "7", "1e9", "true",
                "1979-05-27", "\u{2028}",
            ]),
            0..40,
        ),
    ) {
        assert_one_line(Settings::resolve(inputs(Some(&tokens.concat()), &[])));
    }

    #[test]
    fn any_value_of_any_key_gives_settings_or_one_line(at in 0..KEYS.len(), value in any::<String>()) {
        let key = KEYS[at];
        let value = literal(&value);
        let file = match (key.section, key.name) {
            ("endpoint", "url") => format!("[[endpoint]]\nname = \"a\"\nurl = {value}"),
            ("endpoint", "name") => format!("[[endpoint]]\nurl = \"http://a\"\nname = {value}"),
            ("endpoint", name) => {
                format!("[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\n{name} = {value}")
            }
            _ => format!("{} = {value}", key.path()),
        };
        assert_one_line(Settings::resolve(inputs(Some(&file), &[])));
    }

    #[test]
    fn any_key_variable_and_flag_give_settings_or_one_line(
        name in any::<String>(), value in any::<String>(), at in 0..KEYS.len(),
    ) {
        let file = format!("{} = 1\n", literal(&name));
        assert_one_line(Settings::resolve(inputs(Some(&file), &[])));
        assert_one_line(Settings::resolve(inputs(Some(&format!("[log]\n{file}")), &[])));
        let unknown = format!("NODETALLY_{name}");
        assert_one_line(Settings::resolve(inputs(None, &[(&unknown, &value)])));
        if let Some(known) = KEYS[at].environment.first() {
            assert_one_line(Settings::resolve(inputs(None, &[(known, &value)])));
        }
        let mut inputs = inputs(None, &[("NODE_NAME", &value)]);
        inputs.flags.set(&keys::RECEIVER_LISTEN, &value);
        inputs.flags.set(&keys::SAMPLING_INTERVAL, &name);
        inputs.host_name = value;
        assert_one_line(Settings::resolve(inputs));
    }

    #[test]
    fn no_error_quotes_text_before_an_at_sign(
        before in "[a-z:/?#%]{0,8}", after in "[a-z:/?#%@]{0,8}", host in "[a-z0-9.:/?#]{0,12}",
        scheme in prop::sample::select(vec!["http://", "https://", "ftp://", ""]),
    ) {
        let url = format!("{scheme}{before}S3CRET{after}@{host}");
        let file = format!("[[endpoint]]\nname = \"a\"\nurl = {url:?}\n");
        match Settings::resolve(inputs(Some(&file), &[])) {
            Err(error) => prop_assert!(!error.to_string().contains("S3CRET"), "{error}"),
            // An @ in a path or query is no user's.
            Ok(settings) => {
                let Destination::Http(url) = &settings.endpoints[0].url else { unreachable!() };
                prop_assert!(url.as_url().username().is_empty());
            }
        }
    }

    #[test]
    fn whatever_resolves_is_shown_as_what_it_is(
        path in "\\PC{1,12}|[\\x01-\\x7f\u{85}\u{2028}]{1,12}",
        interval_ms in 1_000_u64..3_600_000, timeout_ms in 100_u64..300_000,
        queue in 65_536_u64..1_073_741_824, concurrency in 1_usize..=64,
        port in any::<u16>(), flag in any::<bool>(), name in "[a-z0-9][A-Za-z0-9_.-]{0,20}",
    ) {
        let path = literal(&path);
        let file = format!(
            "[node]\nname = {name:?}\n[sampling]\ninterval = \"{interval_ms}ms\"\n\
             cmdline = {flag}\nprocess_io = {flag}\ntcp_sockets = {flag}\n[paths]\nprocfs = {path}\nsysfs = {path}\n\
             cgroupfs = {path}\nrootfs = {path}\n[state]\ndir = {path}\n\
             [[endpoint]]\nname = {name:?}\nurl = \"http://host:{port}/{name}\"\n\
             timeout = \"{timeout_ms}ms\"\nqueue_bytes = {queue}\nconcurrency = {concurrency}\n\
             [receiver]\nlisten = \"0.0.0.0:{port}\"\n"
        );
        let settings = from_file(&file);
        let text = shown(&settings);
        prop_assert_eq!(bare(&from_file(&text)), bare(&settings), "{}", text);
    }
}
