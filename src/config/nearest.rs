//! The word that was probably meant.

/// The candidate that is most similar to `typed`, if one is similar enough.
pub(super) fn nearest<T: AsRef<str>>(
    typed: &str,
    candidates: impl IntoIterator<Item = T>,
) -> Option<T> {
    // The distance costs the product of the lengths, and `typed` comes from outside.
    if typed.len() > 128 {
        return None;
    }
    let typed = comparable(typed);
    candidates
        .into_iter()
        .map(|candidate| {
            let other = comparable(candidate.as_ref());
            (strsim::damerau_levenshtein(&typed, &other), other.len(), candidate)
        })
        .filter(|(distance, length, _)| *distance <= length.max(&typed.len()) / 3)
        .min_by_key(|(distance, ..)| *distance)
        .map(|(.., candidate)| candidate)
}

/// A word without what people mix up.
fn comparable(word: &str) -> String {
    word.to_ascii_lowercase().replace('-', "_")
}
