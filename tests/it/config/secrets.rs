//! Secrets, and files of secrets, in the wrong key or form.

use nodetally::config::keys::{ENDPOINT, Secrecy};
use nodetally::config::{KEYS, Key, Kind, Settings};

use crate::config::inputs;

/// Values of every kind that TOML has, with `hunter2` or 48151623 in them.
const OF_ANY_KIND: [&str; 9] = [
    "\"hunter2\"",
    "'http://me:hunter2@host'",
    "\"me:hunter2@host\"",
    "\"ftp://host/?key=hunter2\"",
    "[\"hunter2://x?hunter2\"]",
    "[\"http://me:hunter2@host\", \"http://host?hunter2\"]",
    "[[\"hunter2\"]]",
    "{ hunter2 = \"hunter2\" }",
    "48151623",
];

/// Of a URL user, password and query are secret; the rest says what is wrong with it.
fn holds_secret(key: &Key, line: &str) -> bool {
    let shown = match key.secrecy {
        Secrecy::Url => line.replace("hunter2://", "").replace("\"hunter2\"", ""),
        _ => line.replace("48151623", "hunter2"),
    };
    shown.contains("hunter2")
}

fn error_of_file(key: &Key, value: &str) -> Option<String> {
    let text = match key.section {
        ENDPOINT if key.name == "url" => {
            format!("[[endpoint]]\nname = \"a\"\nurl = {value}\n")
        }
        ENDPOINT => {
            format!("[[endpoint]]\nname = \"a\"\nurl = \"https://a\"\n{} = {value}\n", key.name)
        }
        section => format!("[{section}]\n{} = {value}\n", key.name),
    };
    Settings::resolve(inputs(Some(&text), &[])).err().map(|error| error.to_string())
}

fn error_of_variable(key: &Key, value: &str) -> Option<String> {
    let name = *key.environment.first()?;
    let variables = [("NODETALLY_ENDPOINT_URL", "https://a"), (name, value)];
    let from = usize::from(key.section != ENDPOINT || key.name == "url");
    Settings::resolve(inputs(None, &variables[from..])).err().map(|error| error.to_string())
}

#[test]
fn no_error_of_a_key_that_may_hold_a_secret_repeats_it() {
    let secret: Vec<&&Key> = KEYS.iter().filter(|key| key.secrecy != Secrecy::None).collect();
    assert!(secret.len() >= 8, "{secret:?}");
    for key in secret {
        let of_files: Vec<String> =
            OF_ANY_KIND.iter().filter_map(|value| error_of_file(key, value)).collect();
        let texts = OF_ANY_KIND[..4].iter().map(|value| value.trim_matches(['"', '\'']));
        let of_variables: Vec<String> =
            texts.filter_map(|value| error_of_variable(key, value)).collect();
        // All that is no text is wrong for each of them.
        assert!(of_files.len() >= 5, "{}: {of_files:?}", key.path());
        for line in of_files.iter().chain(&of_variables) {
            assert!(line.contains(key.name) || line.contains("environment"), "{line}");
            assert!(!holds_secret(key, line), "{line}");
        }
    }
}

/// Who adds a key thinks of it.
#[test]
fn keys_of_urls_tokens_and_private_keys_are_marked() {
    let is_marked = |key: &Key, part: &str| match part {
        "url" => key.secrecy == Secrecy::Url,
        _ => key.secrecy == Secrecy::Place,
    };
    for key in KEYS.iter().filter(|key| key.kind != Kind::Bool) {
        for part in ["url", "token", "key_file", "auth", "kubeconfig", "password", "secret"] {
            if key.name.contains(part) {
                assert!(is_marked(key, part), "{}", key.path());
            }
        }
    }
}
