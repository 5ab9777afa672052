//! What becomes of samples that an endpoint does not take at once.

use super::{ENDPOINT, Key, Secret};

/// `dir` in `[spool]`; its `purpose` says what for.
pub const SPOOL_DIR: Key = Key {
    section: "spool",
    name: "dir",
    allowed: "a directory's path, or \"none\" to keep what waits in memory alone",
    default: "\"$STATE_DIRECTORY/spool\" under systemd; \"spool\" below state.dir where that is \
              set; else \"/var/lib/nodetally/spool\" for root, and for others \
              \"$XDG_STATE_HOME/nodetally/spool\", \"~/.local/state/nodetally/spool\" or \"none\"",
    environment: &["NODETALLY_SPOOL_DIR"],
    flag: None,
    secret: Secret::No,
    purpose: "Where samples wait for endpoints that do not answer. It is to outlive a boot, so a \
              disk is the right place; nothing is written there while all endpoints are well.",
};

/// `durability` in `[[endpoint]]`; its `purpose` says what for.
pub const DURABILITY: Key = Key {
    section: ENDPOINT,
    name: "durability",
    allowed: "\"disk\" or \"memory\"",
    default: "\"disk\" where spool.dir is a directory, else \"memory\"",
    environment: &["NODETALLY_ENDPOINT_DURABILITY"],
    flag: None,
    secret: Secret::No,
    purpose: "Where samples wait while the endpoint does not take them.",
};

/// `spool_bytes` in `[[endpoint]]`; its `purpose` says what for.
pub const SPOOL_BYTES: Key = Key {
    section: ENDPOINT,
    name: "spool_bytes",
    allowed: "from 1MiB to 64GiB: an integer of bytes, or a text such as \"256MiB\" \
              (KiB, MiB or GiB)",
    default: "\"256MiB\"",
    environment: &["NODETALLY_ENDPOINT_SPOOL_BYTES"],
    flag: None,
    secret: Secret::No,
    purpose: "How much waits on disk for the endpoint. Beyond it the oldest goes, and is counted.",
};

/// `spool_age` in `[[endpoint]]`; its `purpose` says what for.
pub const SPOOL_AGE: Key = Key {
    section: ENDPOINT,
    name: "spool_age",
    allowed: "a number with a unit from 1m to 30d, such as \"24h\"",
    default: "\"24h\"",
    environment: &["NODETALLY_ENDPOINT_SPOOL_AGE"],
    flag: None,
    secret: Secret::No,
    purpose: "How long a sample waits for the endpoint, on disk or in memory. Beyond it it is \
              dropped and counted.",
};

/// `stale_after` in `[[endpoint]]`; its `purpose` says what for.
pub const STALE_AFTER: Key = Key {
    section: ENDPOINT,
    name: "stale_after",
    allowed: "a number with a unit from 1s to 30d, such as \"1m\"; of resource-api alone",
    default: "\"1m\", at least four intervals",
    environment: &["NODETALLY_ENDPOINT_STALE_AFTER"],
    flag: None,
    secret: Secret::No,
    purpose: "How old a sample may be for a server that files it under the time at which it comes, \
              as those of the resource API do. The other dialects carry their own time.",
};

/// `stale` in `[[endpoint]]`; its `purpose` says what for.
pub const STALE: Key = Key {
    section: ENDPOINT,
    name: "stale",
    allowed: "\"add\", \"drop\" or \"send\"; of resource-api alone; \"add\" only with counters = \
              \"delta\"",
    default: "\"add\", with counters = \"cumulative\" \"drop\"",
    environment: &["NODETALLY_ENDPOINT_STALE"],
    flag: None,
    secret: Secret::No,
    purpose: "What becomes of samples older than stale_after: their bytes and CPU time are added up \
              and sent as one sample; they are dropped and counted; or each is sent, and filed under \
              a wrong time.",
};

/// `tries_max` in `[[endpoint]]`; its `purpose` says what for.
pub const TRIES_MAX: Key = Key {
    section: ENDPOINT,
    name: "tries_max",
    allowed: "an integer from 1 to 100",
    default: "3",
    environment: &["NODETALLY_ENDPOINT_TRIES_MAX"],
    flag: None,
    secret: Secret::No,
    purpose: "How often a post is tried before it is given up: one that the resource API answers with \
              500, which can be for good, at once then; one that the endpoint fails on in another way \
              while it takes others, and one behind which everything has to wait, after ten minutes of \
              it at the earliest. An endpoint that takes nothing is tried for as long as samples may \
              wait.",
};

/// `spread` in `[[endpoint]]`; its `purpose` says what for.
pub const SPREAD: Key = Key {
    section: ENDPOINT,
    name: "spread",
    allowed: "a number with a unit from 0s to the interval, such as \"5s\"",
    default: "half of sampling.interval, at most \"30s\"",
    environment: &["NODETALLY_ENDPOINT_SPREAD"],
    flag: None,
    secret: Secret::No,
    purpose: "All nodes sample in the same instant; each then waits for its own part of this time, \
              which hangs on its name, before it sends. The first sample of a run is sent at once.",
};
