//! What of the figures one endpoint is told, and how.

use super::{ENDPOINT, Key, Secret};

/// `auth_header` in `[[endpoint]]`; its `purpose` says what for.
pub const AUTH_HEADER: Key = Key {
    section: ENDPOINT,
    name: "auth_header",
    allowed: "the name of an HTTP header that the request does not need for itself, such as \
              \"X-API-Key\"; together with bearer_token_file or bearer_token_env",
    default: "\"Authorization\"",
    environment: &["NODETALLY_ENDPOINT_AUTH_HEADER"],
    flag: None,
    secret: Secret::Place,
    purpose: "The header that carries the token: `Authorization` as `Bearer` and the token, any \
              other the token alone.",
};

/// `namespaces` in `[[endpoint]]`; its `purpose` says what for.
pub const NAMESPACES: Key = Key {
    section: ENDPOINT,
    name: "namespaces",
    allowed: "a list of up to 256 namespaces; in a variable with commas between",
    default: "[]: all",
    environment: &["NODETALLY_ENDPOINT_NAMESPACES"],
    flag: None,
    secret: Secret::No,
    purpose: "Only pods of these namespaces are sent.",
};

/// `namespaces_except` in `[[endpoint]]`; its `purpose` says what for.
pub const NAMESPACES_EXCEPT: Key = Key {
    section: ENDPOINT,
    name: "namespaces_except",
    allowed: "a list of up to 256 namespaces; in a variable with commas between",
    default: "[]: none",
    environment: &["NODETALLY_ENDPOINT_NAMESPACES_EXCEPT"],
    flag: None,
    secret: Secret::No,
    purpose: "Pods of these namespaces are not sent.",
};

/// `pod_selector` in `[[endpoint]]`; its `purpose` says what for.
pub const POD_SELECTOR: Key = Key {
    section: ENDPOINT,
    name: "pod_selector",
    allowed: "a label selector of Kubernetes, such as \"app=web,tier in (front,back),!canary\"",
    default: "\"\": all",
    environment: &["NODETALLY_ENDPOINT_POD_SELECTOR"],
    flag: None,
    secret: Secret::No,
    purpose: "Only pods whose labels it selects are sent.",
};

/// `annotations` in `[[endpoint]]`; its `purpose` says what for.
pub const ANNOTATIONS: Key = Key {
    section: ENDPOINT,
    name: "annotations",
    allowed: "a list of up to 64 annotation keys, of which the last character may be \"*\"; in a \
              variable with commas between",
    default: "[]: none",
    environment: &["NODETALLY_ENDPOINT_ANNOTATIONS"],
    flag: None,
    secret: Secret::No,
    purpose: "Which annotations the pod batch API is told.",
};

/// `extras` in `[[endpoint]]`; its `purpose` says what for.
pub const EXTRAS: Key = Key {
    section: ENDPOINT,
    name: "extras",
    allowed: "true or false",
    default: "true",
    environment: &["NODETALLY_ENDPOINT_EXTRAS"],
    flag: None,
    secret: Secret::No,
    purpose: "Whether the resource API is told more than its document asks for: uid, QoS class, \
              workload, labels, containers.",
};

/// `client_errors` in `[[endpoint]]`; its `purpose` says what for.
pub const CLIENT_ERRORS: Key = Key {
    section: ENDPOINT,
    name: "client_errors",
    allowed: "\"drop\" or \"retry\"",
    default: "\"drop\"",
    environment: &["NODETALLY_ENDPOINT_CLIENT_ERRORS"],
    flag: None,
    secret: Secret::No,
    purpose: "What becomes of what is answered with a 4xx (but 408, 425 and 429, which are always \
              tried again): it is dropped and counted, or tried again as after a 5xx.",
};
