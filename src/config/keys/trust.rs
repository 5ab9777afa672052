//! How an endpoint is known, what it is shown, and in which form bodies go there.

use super::{ENDPOINT, Key, Secret};

/// `bearer_token_env` in `[[endpoint]]`; its `purpose` says what for.
pub const BEARER_TOKEN_ENV: Key = Key {
    section: ENDPOINT,
    name: "bearer_token_env",
    allowed: "the name of an environment variable that holds the token, which begins with another \
              word than NODETALLY_; in place of bearer_token_file",
    default: "not set: nothing is sent",
    environment: &["NODETALLY_ENDPOINT_BEARER_TOKEN_ENV"],
    flag: None,
    secret: Secret::Place,
    purpose: "Where the secret that is sent in `auth_header` comes from the environment. It is read \
              at the start.",
};

/// `ca_file` in `[[endpoint]]`; its `purpose` says what for.
pub const CA_FILE: Key = Key {
    section: ENDPOINT,
    name: "ca_file",
    allowed: "the absolute path of a file of PEM certificates, or \"${CREDENTIALS_DIRECTORY}/NAME\" \
              for a credential from systemd; with an https:// URL",
    default: "not set: the CAs that the system trusts",
    environment: &["NODETALLY_ENDPOINT_CA_FILE"],
    flag: None,
    secret: Secret::No,
    purpose: "Whose signature the endpoint's certificate must have. The system's CAs are then not \
              trusted for it. It is read again when it changes.",
};

/// `client_certificate_file` in `[[endpoint]]`; its `purpose` says what for.
pub const CLIENT_CERTIFICATE_FILE: Key = Key {
    section: ENDPOINT,
    name: "client_certificate_file",
    allowed: "the absolute path of a PEM file, or \"${CREDENTIALS_DIRECTORY}/NAME\" for a \
              credential from systemd; together with client_key_file, with an https:// URL",
    default: "not set: no certificate is shown",
    environment: &["NODETALLY_ENDPOINT_CLIENT_CERTIFICATE_FILE"],
    flag: None,
    secret: Secret::No,
    purpose: "The certificate that the endpoint is shown, then those between it and its CA. It is \
              read again when it changes.",
};

/// `client_key_file` in `[[endpoint]]`; its `purpose` says what for.
pub const CLIENT_KEY_FILE: Key = Key {
    section: ENDPOINT,
    name: "client_key_file",
    allowed: "the absolute path of a PEM file without a passphrase, or \
              \"${CREDENTIALS_DIRECTORY}/NAME\" for a credential from systemd; together with \
              client_certificate_file, with an https:// URL",
    default: "not set: no certificate is shown",
    environment: &["NODETALLY_ENDPOINT_CLIENT_KEY_FILE"],
    flag: None,
    secret: Secret::Place,
    purpose: "The key of that certificate.",
};

/// `server_name` in `[[endpoint]]`; its `purpose` says what for.
pub const SERVER_NAME: Key = Key {
    section: ENDPOINT,
    name: "server_name",
    allowed: "a DNS name such as \"metrics.example.com\"; with an https:// URL",
    default: "not set: the URL's host",
    environment: &["NODETALLY_ENDPOINT_SERVER_NAME"],
    flag: None,
    secret: Secret::No,
    purpose: "The name that the endpoint is asked for (SNI and `Host`) and that its certificate \
              must be for, while the connection goes to the URL's host.",
};

/// `compression` in `[[endpoint]]`; its `purpose` says what for.
pub const COMPRESSION: Key = Key {
    section: ENDPOINT,
    name: "compression",
    allowed: "\"none\", \"gzip\" or \"zstd\"; with the dialect \"resource-api\" only \"none\"",
    default: "\"none\"",
    environment: &["NODETALLY_ENDPOINT_COMPRESSION"],
    flag: None,
    secret: Secret::No,
    purpose: "In which form bodies of 1 KiB and more are sent. No server says beforehand what it \
              can unpack.",
};
