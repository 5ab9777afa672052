//! Settings that are one word of a few.

use super::kind::{SettingType, SettingValue};
use crate::payload::dialect::Dialect;

/// An enum whose variants each have the word that a configuration file uses.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$of_variant:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$of_variant])* $variant,)+
        }

        impl $name {
            /// Every word, in the order in which error lines list them.
            pub(super) const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word in a configuration file.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl SettingType for $name {
            fn from_value(value: SettingValue) -> Option<Self> {
                match value {
                    $(SettingValue::Word($word) => Some(Self::$variant),)+
                    _ => None,
                }
            }

            fn into_value(self) -> SettingValue {
                SettingValue::Word(self.as_str())
            }
        }
    };
}

choice! {
    /// The least severe level that is logged. The words are those of `tracing`.
    LogLevel {
        Error = "error",
        Warn = "warn",
        Info = "info",
        Debug = "debug",
        Trace = "trace",
    }
}

choice! {
    /// The format of log lines.
    LogFormat {
        /// For journald where it reads standard error, else `Text`.
        Auto = "auto",
        Text = "text",
        Json = "json",
        Logfmt = "logfmt",
    }
}

choice! {
    /// A source of the names of pods and containers.
    DirectorySource {
        Kubernetes = "kubernetes",
        Kubelet = "kubelet",
        Cri = "cri",
        File = "file",
        Docker = "docker",
        Podman = "podman",
    }
}

choice! {
    /// The meaning of disk and network counters in what is sent.
    Counters {
        /// The bytes of the interval.
        Delta = "delta",
        /// A running total.
        Cumulative = "cumulative",
    }
}

choice! {
    /// Where samples wait for an endpoint.
    Durability {
        Disk = "disk",
        Memory = "memory",
    }
}

choice! {
    /// Treatment of samples that are too old for a server that files them under its own clock.
    StalePolicy {
        /// Their deltas are added up and sent as one sample.
        Add = "add",
        /// They are dropped and counted.
        Drop = "drop",
        /// Each is sent, and filed under a wrong time.
        Send = "send",
    }
}

choice! {
    /// Treatment of a pod of which only the uid is known.
    UnknownPods {
        /// It is sent once its name is known, with everything counted until then.
        Wait = "wait",
        /// It is sent under its uid, in the namespace `unknown_namespace`.
        Uid = "uid",
        /// It is not sent.
        Skip = "skip",
    }
}

choice! {
    /// Treatment of a post that is answered with a 4xx other than 408, 425 and 429.
    ClientErrors {
        /// It is dropped and counted.
        Drop = "drop",
        /// It is retried as after a 5xx.
        Retry = "retry",
    }
}

choice! {
    /// The encoding of bodies that are sent.
    Compression {
        None = "none",
        Gzip = "gzip",
        Zstd = "zstd",
    }
}

choice! {
    /// The version of a dialect's protocol.
    Protocol {
        /// The newest one that the server knows.
        Auto = "auto",
        V1 = "1.0",
        V2 = "2.0",
    }
}

impl SettingType for Dialect {
    fn from_value(value: SettingValue) -> Option<Self> {
        let SettingValue::Word(word) = value else { return None };
        Self::from_word(word)
    }

    fn into_value(self) -> SettingValue {
        SettingValue::Word(self.as_str())
    }
}
