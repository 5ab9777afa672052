//! The declaration of one figure.

use super::entity::EntityClass;
use super::input::{Input, Read};

/// A figure of one class of entities.
#[derive(Debug)]
pub struct Metric {
    pub class: EntityClass,
    /// The name in OpenTelemetry's form: `k8s.pod.cpu.time`.
    pub name: &'static str,
    pub instrument: Instrument,
    pub unit: Unit,
    /// Attributes that tell figures of one name apart: `disk.io.direction` = `read`.
    pub attributes: &'static [(&'static str, &'static str)],
    /// The meaning, in one sentence.
    pub help: &'static str,
    /// The kernel's file and field.
    pub source: &'static str,
    /// The key of the same figure in `dump --format json`; empty if it has none.
    pub dump_key: &'static str,
    pub(super) read: Read,
}

/// The kind of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instrument {
    /// Only grows. The amounts of all intervals are added.
    Counter,
    /// A running total that the kernel keeps for the object itself. Exported as a counter, without
    /// what was counted before the agent saw the object.
    KernelCounter,
    /// A running total that can fall: the remainder. Prometheus takes it for a gauge.
    SignedCounter,
    /// The value at the end of the interval, which adds up over entities.
    UpDownCounter,
    /// The value at the end of the interval, which does not add up.
    Gauge,
}

impl Instrument {
    /// `true` if the value never falls.
    #[must_use]
    pub const fn is_monotonic(self) -> bool {
        matches!(self, Self::Counter | Self::KernelCounter)
    }

    /// `true` if it is a running total, which an entity that ended keeps.
    #[must_use]
    pub const fn is_total(self) -> bool {
        matches!(self, Self::Counter | Self::KernelCounter | Self::SignedCounter)
    }

    /// The instrument's name in the semantic conventions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter | Self::KernelCounter => "counter",
            Self::SignedCounter | Self::UpDownCounter => "updowncounter",
            Self::Gauge => "gauge",
        }
    }
}

/// The unit of a figure, and of the integers that are kept for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// The unit in UCUM: `s`, `By`, `{packet}`.
    pub ucum: &'static str,
    /// The end of the name in Prometheus, without `_`; empty if it has none.
    pub suffix: &'static str,
    /// Kept integers of one unit.
    pub per_unit: i64,
}

impl Unit {
    pub const BYTES: Self = Self { ucum: "By", suffix: "bytes", per_unit: 1 };
    /// Seconds, kept in microseconds.
    pub const SECONDS: Self = Self { ucum: "s", suffix: "seconds", per_unit: 1_000_000 };
    /// CPUs, kept in billionths.
    pub const CPUS: Self = Self { ucum: "{cpu}", suffix: "", per_unit: 1_000_000_000 };
    /// A share of 1, kept in hundredths of a percent.
    pub const SHARE: Self = Self { ucum: "1", suffix: "ratio", per_unit: 10_000 };
    /// A number without unit, kept in hundredths.
    pub const HUNDREDTHS: Self = Self { ucum: "{task}", suffix: "", per_unit: 100 };

    /// A count of the thing that `ucum` names, such as `{packet}`.
    #[must_use]
    pub const fn count(ucum: &'static str) -> Self {
        Self { ucum, suffix: "", per_unit: 1 }
    }

    /// The value in the unit.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 the last digits do not matter")]
    pub fn scaled(self, kept: i64) -> f64 {
        kept as f64 / self.per_unit as f64
    }
}

impl Metric {
    /// The figure in `input`, as [`Read`] has it.
    pub(super) fn read(&self, input: Input<'_>) -> Option<i64> {
        match (self.read, input) {
            (Read::Node(read), Input::Node(input)) => read(input),
            (Read::Filesystem(read), Input::Filesystem(input)) => read(input),
            (Read::Owner(read), Input::Owner(input)) => read(input),
            (Read::Exited(read), Input::Exited(input)) => read(input),
            (Read::Process(read), Input::Process(input)) => read(input),
            _ => None,
        }
    }

    /// The name in Prometheus without `_total`: dots are underscores, and the unit comes last, as
    /// OpenTelemetry's rules for Prometheus have it. A gauge ends in `_number` in place of `_count`.
    #[must_use]
    pub fn prometheus_name(&self) -> String {
        let mut name = self.name.replace('.', "_");
        let suffix = self.unit.suffix;
        if !suffix.is_empty() && !name.ends_with(suffix) {
            name.push('_');
            name.push_str(suffix);
        }
        // There, a count is a part of a histogram.
        match name.strip_suffix("_count") {
            Some(stem) if !self.instrument.is_monotonic() => format!("{stem}_number"),
            _ => name,
        }
    }

    /// The label that an attribute has in Prometheus.
    #[must_use]
    pub fn prometheus_label(attribute: &str) -> String {
        let known = match attribute {
            "disk.io.direction" | "network.io.direction" => "direction",
            "cpu.mode" => "mode",
            "nodetally.part" => "part",
            "nodetally.pressure.resource" => "resource",
            "nodetally.pressure.kind" => "kind",
            "system.paging.fault.type" => "type",
            "system.memory.state" | "system.filesystem.state" => "state",
            other => return other.replace('.', "_"),
        };
        known.to_owned()
    }
}
