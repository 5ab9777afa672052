//! The `NODETALLY_…` variables.

use super::error::{ConfigError, shortened};
use super::keys::{
    CONFIG_VARIABLE, CREDENTIALS_VARIABLE, ENDPOINT, KEYS, Key, NODE_NAME_VARIABLE,
    SERVICE_HOST_VARIABLE, STATE_DIRECTORY_VARIABLE, VARIABLE_PREFIX, successor_of_variable,
};
use super::layer::{Layers, Origin};
use super::nearest::nearest;
use super::value::Raw;

/// The values that the environment sets.
#[derive(Debug, Default)]
pub(super) struct EnvironmentLayers {
    pub values: Vec<(&'static Key, Raw, Origin)>,
    /// The endpoint that `NODETALLY_ENDPOINT_…` describes; empty if there is none.
    pub endpoint: Layers,
    /// `NODE_NAME`, unless it is empty.
    pub node_name: Option<String>,
    /// `CREDENTIALS_DIRECTORY`, unless it is empty.
    pub credentials: Option<String>,
    /// `STATE_DIRECTORY`, unless it is empty.
    pub state_directory: Option<String>,
    /// True if Kubernetes started the process: `KUBERNETES_SERVICE_HOST` is set.
    pub in_pod: bool,
    /// Variables that are unknown, or mean the same as another.
    pub errors: Vec<ConfigError>,
}

pub(super) fn read(variables: impl IntoIterator<Item = (String, String)>) -> EnvironmentLayers {
    let mut layers = EnvironmentLayers::default();
    // The environment has no order of its own; errors shall not depend on the one it comes in.
    let mut variables: Vec<(String, String)> = variables
        .into_iter()
        .filter(|(name, _)| {
            name.starts_with(VARIABLE_PREFIX)
                || [
                    NODE_NAME_VARIABLE,
                    CREDENTIALS_VARIABLE,
                    STATE_DIRECTORY_VARIABLE,
                    SERVICE_HOST_VARIABLE,
                ]
                .contains(&name.as_str())
        })
        .collect();
    variables.sort();

    let mut seen: Vec<(&'static Key, String)> = Vec::new();
    for (name, value) in variables {
        if name == NODE_NAME_VARIABLE {
            layers.node_name = Some(value).filter(|value| !value.is_empty());
            continue;
        }
        if name == CREDENTIALS_VARIABLE {
            layers.credentials = Some(value).filter(|value| !value.is_empty());
            continue;
        }
        if name == STATE_DIRECTORY_VARIABLE {
            layers.state_directory = Some(value).filter(|value| !value.is_empty());
            continue;
        }
        if name == SERVICE_HOST_VARIABLE {
            layers.in_pod = !value.is_empty();
            continue;
        }
        if name == CONFIG_VARIABLE {
            continue;
        }
        let key = KEYS.iter().copied().find(|key| key.environment.contains(&name.as_str()));
        let Some(key) = key else {
            if is_service_link(&name, &value) {
                continue;
            }
            layers.errors.push(unknown(&name));
            continue;
        };
        if let Some((_, other)) = seen.iter().find(|(seen, _)| *seen == key) {
            layers.errors.push(ConfigError::new(&format!(
                "environment {name}: {other} is set too and means the same; allowed: one of them"
            )));
            continue;
        }
        seen.push((key, name.clone()));
        let origin = Origin::Environment(name);
        if key.section == ENDPOINT {
            layers.endpoint.set(key, Raw::Text(value), origin);
        } else {
            layers.values.push((key, Raw::Text(value), origin));
        }
    }
    layers
}

/// True for a variable of Kubernetes: a Service in the pod's namespace whose name begins with
/// `nodetally` puts variables into every pod that look like those of this program
/// (`NODETALLY_SERVICE_HOST`, `NODETALLY_PORT_7643_TCP=tcp://…`).
fn is_service_link(name: &str, value: &str) -> bool {
    let prefix = VARIABLE_PREFIX.trim_end_matches('_');
    let rest = name.strip_prefix(prefix).unwrap_or_default();
    if rest.ends_with("_SERVICE_HOST") || rest.contains("_SERVICE_PORT") {
        return true;
    }
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let protocol = |part: &str| matches!(part, "TCP" | "UDP" | "SCTP");
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = rest.split('_').collect();
    match parts.as_slice() {
        [.., "PORT", port, kind] | [.., "PORT", port, kind, "PROTO" | "PORT" | "ADDR"]
            if number(port) && protocol(kind) =>
        {
            true
        }
        [.., "PORT"] => is_url,
        _ => false,
    }
}

fn unknown(name: &str) -> ConfigError {
    let shown = shortened(name, 64);
    if let Some(to) = successor_of_variable(name).and_then(|key| key.environment.first()) {
        return ConfigError::new(&format!("environment {shown} is now called {to}"));
    }
    // The prefix is common to all of them, and would make any two short names alike.
    let bare = |name: &'static str| name.strip_prefix(VARIABLE_PREFIX).unwrap_or(name);
    let known = KEYS.iter().flat_map(|key| key.environment.iter().copied());
    let typed = name.strip_prefix(VARIABLE_PREFIX).unwrap_or(name);
    let hint = nearest(typed, known.chain([CONFIG_VARIABLE]).map(bare))
        .map_or(String::new(), |near| format!(", did you mean {VARIABLE_PREFIX}{near}?"));
    // The value is not quoted: it may be anything, a password too.
    ConfigError::new(&format!(
        "environment {shown}: unknown variable{hint}; `nodetally config --help` lists all"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_a_kubernetes_service_are_not_ours() {
        for (name, value) in [
            ("NODETALLY_SERVICE_HOST", "10.0.0.1"),
            ("NODETALLY_SERVICE_PORT", "7643"),
            ("NODETALLY_SERVICE_PORT_HTTP", "7643"),
            ("NODETALLY_PORT", "tcp://10.0.0.1:7643"),
            ("NODETALLY_PORT_7643_TCP", "tcp://10.0.0.1:7643"),
            ("NODETALLY_PORT_7643_TCP_PROTO", "tcp"),
            ("NODETALLY_PORT_7643_TCP_PORT", "7643"),
            ("NODETALLY_RECEIVER_PORT_7643_UDP_ADDR", "10.0.0.1"),
        ] {
            assert!(is_service_link(name, value), "{name}");
        }
        for (name, value) in
            [("NODETALLY_RECEIVER_PORT", "7643"), ("NODETALLY_PORT_X_TCP", ""), ("NODETALLY_", "")]
        {
            assert!(!is_service_link(name, value), "{name}");
        }
    }

    #[test]
    fn only_a_similar_variable_is_suggested() {
        for (name, hint) in [
            ("NODETALLY_FOO", None),
            ("NODETALLY_URL", None),
            ("NODETALLY_", None),
            ("NODETALLY_DEBUG", None),
            ("NODETALLY_LOGLEVEL", Some("NODETALLY_LOG_LEVEL")),
            ("NODETALLY_CONFG", Some("NODETALLY_CONFIG")),
            ("NODETALLY_STATUS_LISTN", Some("NODETALLY_STATUS_LISTEN")),
        ] {
            let line = unknown(name).to_string();
            let shown = line.split_once("did you mean ").map(|(_, rest)| rest);
            let shown = shown.and_then(|rest| rest.split_once('?')).map(|(near, _)| near);
            assert_eq!(shown, hint, "{line}");
        }
    }

    #[test]
    fn no_variable_of_ours_looks_like_a_service_link() {
        for name in KEYS.iter().flat_map(|key| key.environment) {
            assert!(name.starts_with(VARIABLE_PREFIX));
            assert!(!is_service_link(name, "tcp://10.0.0.1:1"), "{name}");
        }
    }
}
