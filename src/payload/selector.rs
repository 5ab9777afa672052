//! Label selectors in the form that the API server and `kubectl -l` read.
//!
//! ```text
//! selector    = [requirement {"," requirement}]      the empty one fits everything
//! requirement = key | "!" key
//!             | key ("=" | "==" | "!=") [value]
//!             | key ("in" | "notin") "(" [value] {"," [value]} ")"
//! key         = [prefix "/"] name                    white space may stand between all of them
//! ```
//!
//! As the API server has it, `!=` and `notin` also fit what does not have the label at all, and a
//! value that is left out is the empty one.

use std::fmt;

use thiserror::Error;

use crate::directory::pod::{Labels, value_of};

/// Longer texts are refused: a URL that carried more would be, too.
pub const SELECTOR_BYTES_MAX: usize = 4096;

/// The longest name in a key, and the longest value.
const NAME_BYTES_MAX: usize = 63;
/// The longest prefix of a key.
const PREFIX_BYTES_MAX: usize = 253;

/// Requirements on labels; all of them must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: Box<str>,
    condition: LabelCondition,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LabelCondition {
    Exists,
    Absent,
    In(Vec<Box<str>>),
    NotIn(Vec<Box<str>>),
}

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectorError {
    #[error("it is longer than {SELECTOR_BYTES_MAX} bytes")]
    TooLong,
    #[error("`{0}` is no label key")]
    Key(String),
    #[error("`{0}` is no label value")]
    Value(String),
    #[error("{expected} is missing before {found}")]
    Unexpected { expected: &'static str, found: String },
}

impl Selector {
    /// # Errors
    /// Where the text is no selector.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > SELECTOR_BYTES_MAX {
            return Err(SelectorError::TooLong);
        }
        let mut tokens = SelectorTokens { left: text };
        let mut requirements = Vec::new();
        if tokens.clone().next() == SelectorToken::End {
            return Ok(Self { requirements });
        }
        loop {
            requirements.push(requirement(&mut tokens)?);
            match tokens.next() {
                SelectorToken::End => return Ok(Self { requirements }),
                SelectorToken::Comma => {}
                other => return Err(other.unexpected("`,`")),
            }
        }
    }

    /// `true` of the selector that fits everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// `true` where these labels are selected.
    #[must_use]
    pub fn fits(&self, labels: &Labels) -> bool {
        self.fits_values(|key| value_of(labels, key))
    }

    /// [`fits`](Self::fits) for labels of another representation; `value_of` looks one up.
    #[must_use]
    pub fn fits_values<'l>(&self, value_of: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = value_of(&requirement.key);
            let is_among = |values: &[Box<str>]| {
                value.is_some_and(|value| values.iter().any(|v| **v == *value))
            };
            match &requirement.condition {
                LabelCondition::Exists => value.is_some(),
                LabelCondition::Absent => value.is_none(),
                LabelCondition::In(values) => is_among(values),
                LabelCondition::NotIn(values) => !is_among(values),
            }
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Requirement { key, condition }) in self.requirements.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match condition {
                LabelCondition::Exists => f.write_str(key)?,
                LabelCondition::Absent => write!(f, "!{key}")?,
                LabelCondition::In(values) => match &values[..] {
                    [value] => write!(f, "{key}={value}")?,
                    values => write!(f, "{key} in ({})", values.join(","))?,
                },
                LabelCondition::NotIn(values) => match &values[..] {
                    [value] => write!(f, "{key}!={value}")?,
                    values => write!(f, "{key} notin ({})", values.join(","))?,
                },
            }
        }
        Ok(())
    }
}

fn requirement(tokens: &mut SelectorTokens<'_>) -> Result<Requirement, SelectorError> {
    let (negated, key) = match tokens.next() {
        SelectorToken::Not => (true, tokens.next()),
        other => (false, other),
    };
    let SelectorToken::Word(key) = key else { return Err(key.unexpected("a label key")) };
    if !is_key(key) {
        return Err(SelectorError::Key(key.to_owned()));
    }
    let key = Box::from(key);
    if negated {
        return Ok(Requirement { key, condition: LabelCondition::Absent });
    }
    let condition = match tokens.clone().next() {
        SelectorToken::End | SelectorToken::Comma => LabelCondition::Exists,
        operator => {
            tokens.next();
            match operator {
                SelectorToken::Equals => LabelCondition::In(vec![value(tokens)?]),
                SelectorToken::NotEquals => LabelCondition::NotIn(vec![value(tokens)?]),
                SelectorToken::Word("in") => LabelCondition::In(values(tokens)?),
                SelectorToken::Word("notin") => LabelCondition::NotIn(values(tokens)?),
                other => return Err(other.unexpected("`=`, `!=`, `in`, `notin` or `,`")),
            }
        }
    };
    Ok(Requirement { key, condition })
}

fn value(tokens: &mut SelectorTokens<'_>) -> Result<Box<str>, SelectorError> {
    let SelectorToken::Word(value) = tokens.clone().next() else { return Ok(Box::default()) };
    tokens.next();
    if !is_name(value) {
        return Err(SelectorError::Value(value.to_owned()));
    }
    Ok(value.into())
}

fn values(tokens: &mut SelectorTokens<'_>) -> Result<Vec<Box<str>>, SelectorError> {
    match tokens.next() {
        SelectorToken::Open => {}
        other => return Err(other.unexpected("`(`")),
    }
    let mut values = Vec::new();
    loop {
        values.push(value(tokens)?);
        match tokens.next() {
            SelectorToken::Comma => {}
            SelectorToken::Close => return Ok(values),
            other => return Err(other.unexpected("`,` or `)`")),
        }
    }
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_name(key),
        Some((prefix, name)) => {
            let is_part = |part: &str| {
                !part.is_empty()
                    && !part.starts_with('-')
                    && !part.ends_with('-')
                    && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            };
            prefix.len() <= PREFIX_BYTES_MAX && prefix.split('.').all(is_part) && is_name(name)
        }
    }
}

/// A name, or a value that is not empty.
fn is_name(name: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    name.len() <= NAME_BYTES_MAX
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SelectorToken<'a> {
    Word(&'a str),
    Not,
    Equals,
    NotEquals,
    Open,
    Close,
    Comma,
    End,
}

impl SelectorToken<'_> {
    fn unexpected(self, expected: &'static str) -> SelectorError {
        let found = match self {
            Self::Word(word) => format!("`{word}`"),
            Self::Not => "`!`".to_owned(),
            Self::Equals => "`=`".to_owned(),
            Self::NotEquals => "`!=`".to_owned(),
            Self::Open => "`(`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::Comma => "`,`".to_owned(),
            Self::End => "the end".to_owned(),
        };
        SelectorError::Unexpected { expected, found }
    }
}

#[derive(Clone)]
struct SelectorTokens<'a> {
    left: &'a str,
}

impl<'a> SelectorTokens<'a> {
    fn next(&mut self) -> SelectorToken<'a> {
        const SIGNS: [(&str, SelectorToken<'static>); 7] = [
            ("==", SelectorToken::Equals),
            ("!=", SelectorToken::NotEquals),
            ("=", SelectorToken::Equals),
            ("!", SelectorToken::Not),
            ("(", SelectorToken::Open),
            (")", SelectorToken::Close),
            (",", SelectorToken::Comma),
        ];
        self.left = self.left.trim_start();
        for (sign, token) in SIGNS {
            if let Some(left) = self.left.strip_prefix(sign) {
                self.left = left;
                return token;
            }
        }
        let is_end = |c: char| c.is_whitespace() || matches!(c, '=' | '!' | '(' | ')' | ',');
        let end = self.left.find(is_end).unwrap_or(self.left.len());
        let (word, left) = self.left.split_at_checked(end).unwrap_or((self.left, ""));
        self.left = left;
        if word.is_empty() { SelectorToken::End } else { SelectorToken::Word(word) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels: Labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Selector::parse(selector).unwrap().fits(&labels)
    }

    #[test]
    fn every_form_selects_as_the_api_server_does() {
        let web = [("app", "web"), ("tier", ""), ("example.com/team", "shop")];
        for (selector, expected) in [
            ("", true),
            (" ", true),
            ("app=web", true),
            ("app==web", true),
            ("app = web", true),
            ("app=db", false),
            ("app!=db", true),
            ("app!=web", false),
            ("absent!=x", true),
            ("absent=x", false),
            ("absent=", false),
            ("tier=", true),
            ("app=", false),
            ("app in (db,web)", true),
            ("app in ( db , web )", true),
            ("app in(db)", false),
            ("tier in (,x)", true),
            ("app notin (db)", true),
            ("app notin (db,web)", false),
            ("absent notin (x)", true),
            ("app", true),
            ("absent", false),
            ("!absent", true),
            ("!app", false),
            ("example.com/team=shop", true),
            ("app=web,tier,!absent,example.com/team in (shop)", true),
            ("app=web,absent", false),
            ("in in (in)", false),
        ] {
            assert_eq!(fits(selector, &web), expected, "{selector}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (selector, expected) in [
            (",", "a label key is missing before `,`"),
            ("a,", "a label key is missing before the end"),
            ("a=b,,c", "a label key is missing before `,`"),
            ("!", "a label key is missing before the end"),
            ("!a=b", "`,` is missing before `=`"),
            ("a b", "`=`, `!=`, `in`, `notin` or `,` is missing before `b`"),
            ("a=b c", "`,` is missing before `c`"),
            ("a in b", "`(` is missing before `b`"),
            ("a in (b", "`,` or `)` is missing before the end"),
            ("a in (b c)", "`,` or `)` is missing before `c`"),
            ("-a=b", "`-a` is no label key"),
            ("UPPER.example/a", "`UPPER.example/a` is no label key"),
            ("a/b/c", "`a/b/c` is no label key"),
            ("a=b/c", "`b/c` is no label value"),
            ("a=é", "`é` is no label value"),
            ("a>1", "`a>1` is no label key"),
        ] {
            assert_eq!(Selector::parse(selector).unwrap_err().to_string(), expected, "{selector}");
        }
        assert_eq!(Selector::parse(&"a".repeat(4097)), Err(SelectorError::TooLong));
        assert!(Selector::parse(&format!("{}=b", "a".repeat(64))).is_err());
        assert!(Selector::parse(&format!("a={}", "b".repeat(64))).is_err());
    }

    fn requirements() -> impl Strategy<Value = Vec<(usize, usize, Vec<usize>)>> {
        let one = (0..4_usize, 0..6_usize, prop::collection::vec(0..4_usize, 1..4));
        prop::collection::vec(one, 0..5)
    }

    const KEYS: [&str; 4] = ["a", "in", "x.example/b-c", "notin"];
    const VALUES: [&str; 4] = ["", "in", "v.1", "Z_9"];

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~é]{0,40}|[a-c!=(), ]{0,20}") {
            if let Ok(selector) = Selector::parse(&text) {
                prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector));
            }
        }

        /// Written out from its parts, and judged by them, without the parser's own types.
        #[test]
        fn a_selector_means_its_requirements_together(
            wanted in requirements(),
            labels in prop::collection::vec(prop::option::of(0..4_usize), 4),
        ) {
            let label = |key: usize| labels[key].map(|value| VALUES[value]);
            let mut text = Vec::new();
            let mut expected = true;
            for (key, form, values) in &wanted {
                let name = KEYS[*key];
                let names: Vec<&str> = values.iter().map(|value| VALUES[*value]).collect();
                let has = label(*key);
                let (written, holds) = match form {
                    0 => (name.to_owned(), has.is_some()),
                    1 => (format!("! {name}"), has.is_none()),
                    2 => (format!("{name}={}", names[0]), has == Some(names[0])),
                    3 => (format!("{name} != {}", names[0]), has != Some(names[0])),
                    4 => (
                        format!("{name} in ({})", names.join(", ")),
                        has.is_some_and(|has| names.contains(&has)),
                    ),
                    _ => (
                        format!("{name} notin ({})", names.join(",")),
                        !has.is_some_and(|has| names.contains(&has)),
                    ),
                };
                text.push(written);
                expected &= holds;
            }
            let selector = Selector::parse(&text.join(",")).unwrap();
            let at = |key: &str| KEYS.iter().position(|known| *known == key).and_then(label);
            prop_assert_eq!(selector.fits_values(at), expected, "{}", text.join(","));
        }
    }
}
