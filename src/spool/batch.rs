//! What is to be sent: the posts of one sample, and what makes each of them recognisable.

use std::fmt;

use bytes::Bytes;

use crate::clock::Moment;

/// Which post of its sample one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// Its place among the sample's posts, from 0 on.
    pub number: u32,
    /// 1 for the whole; a piece `n` that was too large goes on as `2n` and `2n + 1`.
    pub piece: u32,
}

impl Part {
    /// The parts of its halves; `None` once it has been halved too often to be told apart.
    #[must_use]
    pub fn halves(self) -> Option<[Self; 2]> {
        let first = self.piece.checked_mul(2)?;
        let second = first.checked_add(1)?;
        Some([first, second].map(|piece| Self { piece, ..self }))
    }

    /// What the parts of a sample are in order by: halves stand where the whole stood.
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

/// One POST of a JSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    pub part: Part,
    /// The path below the endpoint's base URL: begins with `/`, already percent-encoded, no query.
    pub path: String,
    /// May share one allocation with the other posts of its batch.
    pub body: Bytes,
}

/// All posts of one sample for one endpoint, or what is left of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// When the sample was taken. `since_boot` in nanoseconds is its number within the boot: no two
    /// batches of one endpoint have the same, whatever restarts between them.
    pub sampled_at: Moment,
    /// The endpoint may have taken a post of it though nobody knows: added to another batch, it would
    /// be recognised by no key.
    pub attempted: bool,
    /// The endpoint took others of its posts and not these: they go along with other samples.
    pub partial: bool,
    pub posts: Vec<Post>,
}

impl Batch {
    /// A sample's posts, paths and bodies, in their order.
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
