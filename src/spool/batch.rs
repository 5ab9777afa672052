//! A batch: the posts of one sample, and the key of each of them.

use std::fmt;

use bytes::Bytes;

use crate::clock::Moment;

/// The number of a post within its sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// Its place among the sample's posts, from 0.
    pub number: u32,
    /// 1 for the whole; a piece `n` that was too large becomes `2n` and `2n + 1`.
    pub piece: u32,
}

impl Part {
    /// The parts of its halves; `None` once it was halved too often to number them.
    #[must_use]
    pub fn halves(self) -> Option<[Self; 2]> {
        let first = self.piece.checked_mul(2)?;
        let second = first.checked_add(1)?;
        Some([first, second].map(|piece| Self { piece, ..self }))
    }

    /// The sort key of parts: halves are at the place of the whole.
    #[must_use]
    pub fn place(self) -> (u32, u32) {
        (self.number, self.piece.checked_shl(self.piece.leading_zeros()).unwrap_or(0))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.piece {
            1 => write!(f, "{}", self.number),
            piece => write!(f, "{}.{piece}", self.number),
        }
    }
}

/// One POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    pub part: Part,
    /// The path below the endpoint's base URL: it begins with `/`, is percent-encoded, and has no
    /// query. Empty: the post goes to the URL itself.
    pub path: String,
    /// May share one allocation with the other posts of its batch.
    pub body: Bytes,
}

/// The unresolved posts of one sample for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The time of the sample. `since_boot` in nanoseconds is its number within the boot: it is
    /// unique for an endpoint, also over restarts.
    pub sampled_at: Moment,
    /// The endpoint may have accepted a post of it without an answer. Merged into another batch, the post
    /// would have another key.
    pub attempted: bool,
    /// The endpoint accepted other posts of it: the rest is retried with the next batch.
    pub partial: bool,
    pub posts: Vec<Post>,
}

impl Batch {
    /// A batch of paths and bodies, in their order.
    #[must_use]
    pub fn new(sampled_at: Moment, posts: impl IntoIterator<Item = (String, Bytes)>) -> Self {
        let post = |(number, (path, body))| Post { part: Part { number, piece: 1 }, path, body };
        Self {
            sampled_at,
            attempted: false,
            partial: false,
            posts: (0..).zip(posts).map(post).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_has_a_name_of_its_own() {
        let whole = Part { number: 7, piece: 1 };
        assert_eq!(whole.to_string(), "7");
        let [first, second] = whole.halves().unwrap();
        assert_eq!((first.to_string(), second.to_string()), ("7.2".into(), "7.3".into()));
        assert_eq!(second.halves().unwrap().map(|part| part.piece), [6, 7]);
        assert_eq!(Part { number: 0, piece: 1 << 31 }.halves(), None);
        let [four, five] = first.halves().unwrap();
        let next = Part { number: 8, piece: 1 };
        assert!([four, five, second, next].map(Part::place).is_sorted());
        assert_eq!(four.place(), whole.place());
    }
}
