//! Texts, lists and maps of a bounded size, and quantities, from JSON of any size.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess};
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::bounded::LAST_APPLIED;
use super::super::node::StatedQuantity;
use super::super::pod::{CONFIG_HASH, Labels};
use super::super::resource_quantity::ResourceQuantity;

/// The longest text, in bytes; longer ones are cut. Kubernetes' names have 253 bytes at most.
const TEXT_BYTES_MAX: usize = 1024;

/// The most labels or annotations of one object. Nodes with features as labels have some hundred.
const PAIRS_MAX: usize = 256;

/// The annotation of mirror pods. No user can add it: the API server refuses it, and the kubelet deletes
/// a pod that has it and is no mirror.
const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";

/// A text, cut behind [`TEXT_BYTES_MAX`].
#[derive(Debug, Default)]
pub(super) struct BoundedText(pub Box<str>);

impl<'de> Deserialize<'de> for BoundedText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Cut;
        impl Visitor<'_> for Cut {
            type Value = BoundedText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<BoundedText, E> {
                let end = text.floor_char_boundary(TEXT_BYTES_MAX);
                Ok(BoundedText(text.get(..end).unwrap_or_default().into()))
            }
        }
        deserializer.deserialize_str(Cut)
    }
}

/// A list of at most `MAX` elements; further ones are skipped.
#[derive(Debug)]
pub(super) struct BoundedList<T, const MAX: usize>(pub Vec<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for BoundedList<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UpTo<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for UpTo<T, MAX> {
            type Value = BoundedList<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while list.len() < MAX {
                    match seq.next_element()? {
                        Some(element) => list.push(element),
                        None => return Ok(BoundedList(list)),
                    }
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(BoundedList(list))
            }
        }
        deserializer.deserialize_seq(UpTo(PhantomData))
    }
}

/// Labels or annotations; only annotations have `mirrored`.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub kept: Labels,
    /// The uid in the name of a mirror pod's cgroup.
    pub mirrored: Option<Box<str>>,
}

/// The labels or annotations in `raw`. Values above `value_bytes_max` and keys above the API's limit
/// are skipped without a copy.
pub(super) fn pairs(
    raw: Option<&RawValue>,
    value_bytes_max: usize,
) -> Result<Pairs, serde_json::Error> {
    let Some(raw) = raw else { return Ok(Pairs::default()) };
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    deserializer.deserialize_map(PairsVisitor { value_bytes_max })
}

struct PairsVisitor {
    value_bytes_max: usize,
}

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut kept = Vec::new();
        let (mut hash, mut is_mirror) = (None, false);
        while let Some(key) = map.next_key::<BoundedText>()? {
            let key = key.0;
            if *key == *LAST_APPLIED {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let max = match &*key {
                CONFIG_HASH => self.value_bytes_max.max(TEXT_BYTES_MAX),
                _ => self.value_bytes_max,
            };
            is_mirror |= *key == *CONFIG_MIRROR;
            let Some(value) = map.next_value_seed(NoLongerThan(max))? else { continue };
            if *key == *CONFIG_HASH {
                hash = Some(value.clone());
            }
            if kept.len() < PAIRS_MAX && value.len() <= self.value_bytes_max {
                kept.push((key, value));
            }
        }
        kept.shrink_to_fit();
        Ok(Pairs { kept, mirrored: hash.filter(|_| is_mirror) })
    }
}

/// A text of at most so many bytes; `None` for a longer one and for null.
struct NoLongerThan(usize);

impl<'de> DeserializeSeed<'de> for NoLongerThan {
    type Value = Option<Box<str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for NoLongerThan {
    type Value = Option<Box<str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok((text.len() <= self.0).then(|| text.into()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A quantity, as a text or a number. `None` for null and for anything else, so that one bad amount
/// does not cost the object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quantity<T>(pub Option<T>);

impl<T> Default for Quantity<T> {
    fn default() -> Self {
        Self(None)
    }
}

pub(super) trait FromQuantity: Sized {
    fn parse_quantity(text: &str) -> Option<Self>;
}

impl FromQuantity for ResourceQuantity {
    fn parse_quantity(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

impl FromQuantity for StatedQuantity {
    fn parse_quantity(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

impl<'de, T: FromQuantity> Deserialize<'de> for Quantity<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyForm<T>(PhantomData<T>);
        impl<T: FromQuantity> AnyForm<T> {
            fn parsed<E: Error>(number: impl ToString) -> Result<Quantity<T>, E> {
                Ok(Quantity(T::parse_quantity(&number.to_string())))
            }
        }
        impl<T: FromQuantity> Visitor<'_> for AnyForm<T> {
            type Value = Quantity<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Quantity<T>, E> {
                Ok(Quantity(T::parse_quantity(text)))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Quantity<T>, E> {
                Self::parsed(number)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Quantity<T>, E> {
                Self::parsed(number)
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Quantity<T>, E> {
                Self::parsed(number)
            }

            fn visit_unit<E: Error>(self) -> Result<Quantity<T>, E> {
                Ok(Quantity(None))
            }
        }
        deserializer.deserialize_any(AnyForm(PhantomData))
    }
}
