//! Reads JSON bodies field by field, and says in one line what is wrong with one.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use thiserror::Error;

use super::name::NameError;

/// Why a body is no post of its API; its text is what the answer says.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BodyError {
    #[error("the body is not valid JSON: {0}")]
    NotJson(String),
    #[error("the body must be a JSON object, not {0}")]
    NotAnObject(String),
    #[error("Missing required field: {0}")]
    Missing(String),
    #[error("{field} must be {allowed}, not {found}")]
    Wrong { field: String, allowed: String, found: String },
    #[error("{field} is {error}")]
    Name { field: String, error: NameError },
    #[error("{0} holds more than {VALUES_MAX} values")]
    TooMany(String),
}

/// The most values, lists and objects among them, of what is read as a whole: as one it takes up to 700
/// bytes of memory for each of them, even of one two bytes long. A pod with all that the API server knows of it
/// has some thousand.
const VALUES_MAX: usize = 16_384;

impl BodyError {
    fn wrong(field: String, allowed: impl Into<String>, found: &Value) -> Self {
        Self::Wrong { field, allowed: allowed.into(), found: excerpt(found) }
    }
}

/// Limits of a set of labels; labels beyond them are left out.
#[derive(Debug, Clone, Copy)]
pub struct LabelLimits {
    pub count_max: usize,
    /// The longest key and the longest value, in bytes.
    pub text_bytes_max: usize,
    /// All keys and values together.
    pub bytes_max: usize,
}

/// The body as a JSON object.
///
/// # Errors
/// It is no JSON, another value, or one of too many values.
pub fn object_of(body: &[u8]) -> Result<Map<String, Value>, BodyError> {
    match value_of(body, "the body")? {
        Value::Object(object) => Ok(object),
        other => Err(BodyError::NotAnObject(excerpt(&other))),
    }
}

/// The body, or the part of it called `name`.
///
/// # Errors
/// It is no JSON, or of too many values.
pub fn value_of(json: &[u8], name: &str) -> Result<Value, BodyError> {
    if values_at_most(json) > VALUES_MAX {
        return Err(BodyError::TooMany(name.to_owned()));
    }
    serde_json::from_slice(json).map_err(|error| BodyError::NotJson(reason(&error)))
}

/// The number of values of a JSON text, or a few less. Each value but the first follows a comma or opens
/// a list or object.
fn values_at_most(json: &[u8]) -> usize {
    let (mut count, mut in_text, mut escaped) = (1, false, false);
    for byte in json {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b',' | b'[' | b'{') => count += 1,
            _ => {}
        }
    }
    count
}

/// The message of serde_json. It quotes an unexpected text in full, so of a long message only the
/// beginning and the end are kept: they name the expectation and the place.
#[must_use]
pub fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let chars = text.chars().count();
    if chars <= 2 * REASON_CHARS_MAX {
        return text;
    }
    let begin = text.chars().take(REASON_CHARS_MAX);
    begin.chain(['…']).chain(text.chars().skip(chars - REASON_CHARS_MAX)).collect()
}

/// Of the beginning, and of the end.
const REASON_CHARS_MAX: usize = 100;

/// An object of the body with its place in it, so that an error can name the field.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    object: &'a Map<String, Value>,
    /// `resources[3].metrics.`; empty for the body itself.
    within: String,
}

impl<'a> Fields<'a> {
    #[must_use]
    pub fn of(object: &'a Map<String, Value>) -> Self {
        Self { object, within: String::new() }
    }

    /// The object that `value`, the body's part called `name`, has to be.
    ///
    /// # Errors
    /// It is no object.
    pub fn of_part(value: &'a Value, name: String) -> Result<Self, BodyError> {
        match value {
            Value::Object(object) => Ok(Self { object, within: name + "." }),
            other => Err(BodyError::wrong(name, "an object", other)),
        }
    }

    /// The key with its place, as errors name it.
    #[must_use]
    pub fn name(&self, key: &str) -> String {
        format!("{}{key}", self.within)
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key)
    }

    /// # Errors
    /// The field is absent. The other getters also fail on a value of another type; null is one.
    pub fn required(&self, key: &str) -> Result<&'a Value, BodyError> {
        self.get(key).ok_or_else(|| BodyError::Missing(self.name(key)))
    }

    /// The value of a key that may be absent or null.
    #[must_use]
    pub fn nullable(&self, key: &str) -> Option<&'a Value> {
        self.get(key).filter(|value| !value.is_null())
    }

    pub fn text(&self, key: &str, chars_max: usize) -> Result<&'a str, BodyError> {
        self.text_in(key, self.required(key)?, chars_max)
    }

    pub fn optional_text(&self, key: &str, chars_max: usize) -> Result<Option<&'a str>, BodyError> {
        self.get(key).map(|value| self.text_in(key, value, chars_max)).transpose()
    }

    pub fn nullable_text(&self, key: &str, chars_max: usize) -> Result<Option<&'a str>, BodyError> {
        self.nullable(key).map(|value| self.text_in(key, value, chars_max)).transpose()
    }

    fn text_in(&self, key: &str, value: &'a Value, chars_max: usize) -> Result<&'a str, BodyError> {
        match value {
            Value::String(text) if text.chars().count() <= chars_max => Ok(text),
            other => Err(BodyError::wrong(
                self.name(key),
                format!("a string of at most {chars_max} characters"),
                other,
            )),
        }
    }

    pub fn integer(&self, key: &str) -> Result<u64, BodyError> {
        self.integer_in(key, self.required(key)?)
    }

    pub fn optional_integer(&self, key: &str) -> Result<Option<u64>, BodyError> {
        self.get(key).map(|value| self.integer_in(key, value)).transpose()
    }

    fn integer_in(&self, key: &str, value: &Value) -> Result<u64, BodyError> {
        value.as_u64().or_else(|| whole(value.as_f64()?)).ok_or_else(|| {
            let allowed = "an integer from 0 to 18446744073709551615";
            BodyError::wrong(self.name(key), allowed, value)
        })
    }

    /// A number from 0 to `max`.
    pub fn number(&self, key: &str, max: u32) -> Result<f64, BodyError> {
        let value = self.required(key)?;
        let number = value.as_f64().filter(|number| (0.0..=f64::from(max)).contains(number));
        let wrong = || BodyError::wrong(self.name(key), format!("a number from 0 to {max}"), value);
        number.ok_or_else(wrong)
    }

    pub fn boolean(&self, key: &str) -> Result<bool, BodyError> {
        let value = self.required(key)?;
        let wrong = || BodyError::wrong(self.name(key), "true or false", value);
        value.as_bool().ok_or_else(wrong)
    }

    pub fn object(&self, key: &str) -> Result<Self, BodyError> {
        Self::of_part(self.required(key)?, self.name(key))
    }

    pub fn optional_object(&self, key: &str) -> Result<Option<Self>, BodyError> {
        self.get(key).map(|value| Self::of_part(value, self.name(key))).transpose()
    }

    /// The objects of a list.
    pub fn objects(&self, key: &str, count_max: usize) -> Result<Vec<Self>, BodyError> {
        self.objects_in(key, self.required(key)?, count_max)
    }

    /// The objects of a list that may be absent.
    pub fn optional_objects(&self, key: &str, count_max: usize) -> Result<Vec<Self>, BodyError> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(value) => self.objects_in(key, value, count_max),
        }
    }

    fn objects_in(
        &self,
        key: &str,
        value: &'a Value,
        count_max: usize,
    ) -> Result<Vec<Self>, BodyError> {
        match value {
            Value::Array(all) if all.len() <= count_max => all
                .iter()
                .enumerate()
                .map(|(at, value)| Self::of_part(value, format!("{}[{at}]", self.name(key))))
                .collect(),
            other => Err(BodyError::wrong(
                self.name(key),
                format!("a list of at most {count_max} objects"),
                other,
            )),
        }
    }

    /// An object whose values are strings, as far as the limits reach; `None` where it is absent.
    pub fn optional_labels(
        &self,
        key: &str,
        limits: LabelLimits,
    ) -> Result<Option<BTreeMap<String, String>>, BodyError> {
        let Some(object) = self.optional_object(key)? else { return Ok(None) };
        let mut labels = BTreeMap::new();
        let mut bytes = 0;
        for (label, value) in object.object {
            let Value::String(text) = value else {
                return Err(BodyError::wrong(object.name(&cut(label)), "a string", value));
            };
            let is_short = label.len().max(text.len()) <= limits.text_bytes_max;
            let all_bytes = bytes + label.len() + text.len();
            if is_short && all_bytes <= limits.bytes_max && labels.len() < limits.count_max {
                bytes = all_bytes;
                labels.insert(label.clone(), text.clone());
            }
        }
        Ok(Some(labels))
    }
}

/// The integer that a float is: to JSON, 5.0 is one. Floats beyond the integers of 64 bits are none.
fn whole(number: f64) -> Option<u64> {
    const END: f64 = 18_446_744_073_709_551_616.0;
    let is_one = (0.0..END).contains(&number) && number.fract() == 0.0;
    is_one.then_some(number as u64)
}

/// The value as JSON, cut after 40 characters: an error line is no place for a whole body.
fn excerpt(value: &Value) -> String {
    // Lists and objects are not written out to show their beginning.
    let whole = match value {
        Value::Array(all) if all.len() > 40 => return format!("a list of {}", all.len()),
        Value::Object(all) if all.len() > 40 => return format!("an object of {} keys", all.len()),
        Value::String(text) => Value::String(text.chars().take(41).collect()).to_string(),
        other => other.to_string(),
    };
    cut(&whole)
}

fn cut(whole: &str) -> String {
    let mut text: String = whole.chars().take(40).collect();
    if text.len() < whole.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::payload::pod_batch::decode_pods;
    use crate::payload::pod_lifecycle::{decode_list, decode_spec};

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<i64>().prop_map(Value::from), ".{0,9}".prop_map(Value::from)];
        leaf.prop_recursive(4, 60, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(".{0,5}", inner, 0..6)
                    .prop_map(|map| map.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    fn count(value: &Value) -> usize {
        let below: usize = match value {
            Value::Array(all) => all.iter().map(count).sum(),
            Value::Object(all) => all.values().map(count).sum(),
            _ => 0,
        };
        1 + below
    }

    proptest! {
        #[test]
        fn no_value_is_missed_when_they_are_counted(value in values()) {
            for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let (at_most, values) = (values_at_most(json.as_bytes()), count(&value));
                prop_assert!(at_most >= values, "{} of {}: {}", at_most, values, json);
                // An empty list or object is taken for one of one.
                prop_assert!(at_most <= 2 * values, "{} of {}: {}", at_most, values, json);
            }
        }
    }

    #[test]
    fn a_whole_float_is_an_integer() {
        for (text, expected) in [
            ("5", Some(5)),
            ("5.0", Some(5)),
            ("-0.0", Some(0)),
            ("1e19", Some(10_000_000_000_000_000_000)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("1e20", None),
            ("5.5", None),
            ("-1", None),
            ("-1.0", None),
            ("\"5\"", None),
        ] {
            let body = format!("{{\"figure\":{text}}}");
            let object = object_of(body.as_bytes()).unwrap();
            assert_eq!(Fields::of(&object).integer("figure").ok(), expected, "{text}");
        }
    }

    #[test]
    fn short_texts_that_would_take_much_memory_are_refused() {
        let many = format!("[{}[0]]", "[0],".repeat(20_000));
        let batch = |context: &str, resources: &str| {
            format!(
                r#"{{"cluster_id":"c","context":{context},"collected_at":"2026-01-01T00:00:00Z","resources":{resources}}}"#
            )
        };
        let error = |body: String| decode_pods(body.as_bytes()).unwrap_err().to_string();
        let held = "holds more than 16384 values";
        assert_eq!(error(batch(&many, "[]")), format!("context {held}"));
        let provider = json!({"name": "", "region": ""});
        let context = json!({
            "name": "c", "kubernetes_version": "", "provider": provider, "labels": {},
            "node_groups": []
        })
        .to_string();
        let resource = error(batch(&context, &format!("[{many}]")));
        assert_eq!(resource, format!("resources[0] {held}"));
        let spec = format!(r#"{{"pod_obj":{many}}}"#);
        let error = decode_spec(spec.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, format!("the body {held}"));
    }

    #[test]
    fn an_error_does_not_repeat_a_whole_body() {
        let long = "é".repeat(100_000);
        let error = decode_pods(format!("{{\"resources\":\"{long}\"}}").as_bytes()).unwrap_err();
        let error = error.to_string();
        assert!(error.len() < 500, "{} bytes", error.len());
        assert!(
            error.contains("invalid type: string") && error.contains("to be a list"),
            "{error}"
        );
        let error = decode_list(format!("\"{long}\"").as_bytes()).unwrap_err().to_string();
        assert!(error.len() < 500, "{} bytes", error.len());
        assert!(error.contains("expected an array of pods at line 1"), "{error}");
    }
}
