//! One object of the output.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// The keys of one object, in their order. A value that is not known leaves its key out.
#[derive(Default)]
pub(super) struct DumpRow(Vec<(&'static str, DumpValue)>);

#[derive(Serialize)]
#[serde(untagged)]
enum DumpValue {
    Plain(Value),
    Row(DumpRow),
    Rows(Vec<DumpRow>),
}

impl Serialize for DumpRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl DumpRow {
    /// Adds a value; `None` adds nothing.
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if !value.is_null() {
            self.0.push((key, DumpValue::Plain(value)));
        }
        self
    }

    pub fn with_row(mut self, key: &'static str, row: impl Into<Option<Self>>) -> Self {
        self.0.extend(row.into().map(|row| (key, DumpValue::Row(row))));
        self
    }

    pub fn with_rows(mut self, key: &'static str, rows: impl Iterator<Item = Self>) -> Self {
        self.0.push((key, DumpValue::Rows(rows.collect())));
        self
    }

    /// Adds `true`, or nothing.
    pub fn with_flag(self, key: &'static str, value: bool) -> Self {
        self.with(key, value.then_some(true))
    }

    /// Adds bytes that are mostly text: as text where they are UTF-8, else with U+FFFD for what is
    /// not, and the exact bytes in hexadecimal beside it.
    pub fn with_bytes(self, [key, key_of_hex]: [&'static str; 2], bytes: &[u8]) -> Self {
        let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        self.with(key, String::from_utf8_lossy(bytes))
            .with(key_of_hex, std::str::from_utf8(bytes).is_err().then(hex))
    }

    pub fn with_cgroup(self, path: &[u8]) -> Self {
        self.with_bytes(["cgroup", "cgroup_hex"], path)
    }

    /// Adds the keys of another row that it does not have yet.
    pub fn and_others(mut self, other: Self) -> Self {
        for (key, value) in other.0 {
            if !self.0.iter().any(|(own, _)| *own == key) {
                self.0.push((key, value));
            }
        }
        self
    }

    /// Adds the keys of another row.
    pub fn and(mut self, other: impl Into<Option<Self>>) -> Self {
        self.0.extend(other.into().into_iter().flat_map(|row| row.0));
        self
    }
}
