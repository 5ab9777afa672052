//! The table of a request's texts.

use std::collections::HashMap;

use super::messages::SymbolSeries;

/// Texts, each once, in the order in which they came.
#[derive(Debug)]
pub(super) struct Symbols {
    places: HashMap<Box<str>, u32>,
    texts: Vec<String>,
}

impl Symbols {
    /// The table with the empty text, which comes first.
    pub(super) fn new() -> Self {
        let mut symbols = Self { places: HashMap::new(), texts: Vec::new() };
        symbols.place("");
        symbols
    }

    /// The place of a text, which is added where it is new.
    pub(super) fn place(&mut self, text: &str) -> u32 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        // A request has some thousand texts.
        let place = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.to_owned());
        self.places.insert(text.into(), place);
        place
    }

    /// The places of labels, names and values in turn, in the order of the names.
    pub(super) fn in_order(&self, labels: &mut [(u32, u32)]) -> Vec<u32> {
        labels.sort_unstable_by(|a, b| self.text(a.0).cmp(self.text(b.0)));
        labels.iter().flat_map(|(name, value)| [*name, *value]).collect()
    }

    fn text(&self, place: u32) -> &str {
        text_at(&self.texts, place)
    }

    pub(super) fn into_texts(self) -> Vec<String> {
        self.texts
    }
}

/// The text at a place; empty where there is none.
pub(super) fn text_at(texts: &[String], place: u32) -> &str {
    let at = usize::try_from(place).unwrap_or(usize::MAX);
    texts.get(at).map_or("", String::as_str)
}

/// The labels of a series as names and values.
pub(super) fn labels_of<'t>(
    series: &'t SymbolSeries,
    texts: &'t [String],
) -> impl Iterator<Item = (&'t str, &'t str)> {
    series.labels_refs.chunks_exact(2).filter_map(move |pair| match pair {
        [name, value] => Some((text_at(texts, *name), text_at(texts, *value))),
        _ => None,
    })
}
