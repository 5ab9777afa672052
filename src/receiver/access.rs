//! The tokens of a tokens file, each with its role.
//!
//! ```text
//! # name    role             SHA-256 of the token
//! worker-1  ingest:worker-1  sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b
//! agents    ingest           serviceaccount:nodetally/nodetally
//! ```
//!
//! The file has no token itself, so who reads it cannot send anything.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;
use thiserror::Error;

use crate::payload::resource_api::{NAME_CHARS_MAX, check_name};

/// The most tokens of a file: two for each of 5,000 nodes while they are rotated.
const TOKENS_MAX: usize = 10_000;

/// The SHA-256 of nothing: of a variable that was not set.
const DIGEST_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The deeds that a token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenRole {
    /// Posts of this node and its pods.
    NodeIngest(String),
    /// Posts of the node that the token's pod runs on, and its pods: of a service account.
    OwnNodeIngest,
    /// Posts of every node.
    Ingest,
    /// Reads.
    Read,
    /// All requests.
    Admin,
}

/// A token: its name in the log and in the store, its role, and how it is known.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct AccessToken {
    pub(super) name: String,
    pub(super) role: TokenRole,
    proof: TokenProof,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum TokenProof {
    Digest([u8; 32]),
    /// `NAMESPACE/NAME` of the service account whose tokens these are.
    Account(String),
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("AccessToken");
        fields.field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

impl AccessToken {
    pub(super) fn new(name: impl Into<String>, role: TokenRole, token: &[u8]) -> Self {
        Self { name: name.into(), role, proof: TokenProof::Digest(digest_of(token)) }
    }

    /// The entry of a service account for a pod on this node: posts are stored under the node's share.
    pub(super) fn of_node(&self, node: &str) -> Self {
        let role = match self.role {
            TokenRole::OwnNodeIngest => TokenRole::NodeIngest(node.to_owned()),
            ref role => role.clone(),
        };
        Self { name: format!("{}@{node}", self.name), role, proof: self.proof.clone() }
    }

    /// True if this is the token. Takes the same time wherever they differ.
    pub(super) fn is(&self, token: &[u8]) -> bool {
        self.has_digest(&digest_of(token))
    }

    fn has_digest(&self, digest: &[u8; 32]) -> bool {
        match &self.proof {
            TokenProof::Digest(own) => own.ct_eq(digest).into(),
            TokenProof::Account(_) => false,
        }
    }
}

pub(super) fn digest_of(token: &[u8]) -> [u8; 32] {
    let mut of_token = [0; 32];
    for (slot, byte) in of_token.iter_mut().zip(digest(&SHA256, token).as_ref()) {
        *slot = *byte;
    }
    of_token
}

/// The reason why a text is no list of tokens. It repeats nothing of the text, which may hold a token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenListError {
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("it has no token")]
    Empty,
    #[error("it has more than {TOKENS_MAX} tokens")]
    TooMany,
    #[error("line {line}: {fault}")]
    Line { line: usize, fault: TokenLineFault },
}

/// The fault of a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenLineFault {
    #[error(
        "not NAME ROLE sha256:HASH or NAME ROLE serviceaccount:NAMESPACE/NAME, with spaces between"
    )]
    Fields,
    #[error(
        "the name is not 1 to {NAME_CHARS_MAX} letters, digits, \".\", \"_\" and \"-\", starting with \
         a letter or digit"
    )]
    Name,
    #[error("the role is none of ingest:NODE, ingest-own-node, ingest, read and admin")]
    Role,
    #[error("the role ingest-own-node is for service accounts; allowed: ingest:NODE")]
    OwnNode,
    #[error("the node of the role is no node's name")]
    Node,
    #[error(
        "the hash is not \"sha256:\" and 64 hexadecimal digits, as `printf %s \"$TOKEN\" | sha256sum` \
         prints them"
    )]
    Hash,
    #[error("the service account is not NAMESPACE/NAME")]
    Account,
    #[error("the hash is that of an empty token")]
    EmptyToken,
    #[error("line {0} has the same name")]
    SameName(usize),
    #[error("line {0} has the same token")]
    SameToken(usize),
}

/// Tokens that are found by their hash.
pub(super) struct TokenList {
    tokens: Vec<(u64, Arc<AccessToken>)>,
    /// Those of service accounts, by `NAMESPACE/NAME`.
    accounts: HashMap<String, Arc<AccessToken>>,
    keyed: RandomState,
}

impl fmt::Debug for TokenList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tokens.iter().map(|(_, token)| token)).finish()
    }
}

impl TokenList {
    /// Reads the text of a tokens file: a token a line, `#` before comments.
    ///
    /// # Errors
    /// A line is no token, two have the same name or token, or there are none or too many.
    pub(super) fn parse(text: &[u8]) -> Result<Self, TokenListError> {
        let text = std::str::from_utf8(text).map_err(|_| TokenListError::NotUtf8)?;
        let keyed = RandomState::new();
        let mut names = HashMap::new();
        let mut proofs = HashMap::new();
        let (mut tokens, mut accounts) = (Vec::new(), HashMap::new());
        for (at, text) in text.lines().enumerate() {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if tokens.len() + accounts.len() == TOKENS_MAX {
                return Err(TokenListError::TooMany);
            }
            let line = at + 1;
            let failed = |fault| TokenListError::Line { line, fault };
            let token = parse_line(text).map_err(failed)?;
            match names.entry(token.name.clone()) {
                Entry::Occupied(first) => {
                    return Err(failed(TokenLineFault::SameName(*first.get())));
                }
                Entry::Vacant(free) => free.insert(line),
            };
            match proofs.entry(token.proof.clone()) {
                Entry::Occupied(first) => {
                    return Err(failed(TokenLineFault::SameToken(*first.get())));
                }
                Entry::Vacant(free) => free.insert(line),
            };
            match token.proof.clone() {
                TokenProof::Digest(digest) => {
                    tokens.push((keyed.hash_one(digest), Arc::new(token)));
                }
                TokenProof::Account(account) => {
                    accounts.insert(account, Arc::new(token));
                }
            }
        }
        if tokens.is_empty() && accounts.is_empty() {
            return Err(TokenListError::Empty);
        }
        tokens.sort_by_key(|(key, _)| *key);
        Ok(Self { tokens, accounts, keyed })
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len() + self.accounts.len()
    }

    /// The entry of this service account, `NAMESPACE/NAME`.
    pub(super) fn of_account(&self, account: &str) -> Option<&Arc<AccessToken>> {
        self.accounts.get(account)
    }

    /// The entry of this token.
    ///
    /// The time says nothing of the hashes in the list: the search goes by a number that depends on a
    /// secret of this process, and then all 32 bytes are compared.
    pub(super) fn find(&self, token: &[u8]) -> Option<&Arc<AccessToken>> {
        let digest = digest_of(token);
        let key = self.keyed.hash_one(digest);
        let first = self.tokens.partition_point(|(other, _)| *other < key);
        let same = self.tokens.iter().skip(first).take_while(|(other, _)| *other == key);
        same.map(|(_, token)| token).find(|token| token.has_digest(&digest))
    }
}

/// The begin of the last field of a service account's line.
const ACCOUNT: &str = "serviceaccount:";

fn parse_line(line: &str) -> Result<AccessToken, TokenLineFault> {
    let mut fields = line.split_whitespace();
    let (Some(name), Some(role), Some(hash), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(TokenLineFault::Fields);
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_name = name.len() <= NAME_CHARS_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_plain);
    if !is_name {
        return Err(TokenLineFault::Name);
    }
    let role = match (role, role.strip_prefix("ingest:")) {
        ("ingest", _) => TokenRole::Ingest,
        ("ingest-own-node", _) if hash.starts_with(ACCOUNT) => TokenRole::OwnNodeIngest,
        ("ingest-own-node", _) => return Err(TokenLineFault::OwnNode),
        ("read", _) => TokenRole::Read,
        ("admin", _) => TokenRole::Admin,
        (_, Some(node)) if check_name(node).is_ok() => TokenRole::NodeIngest(node.to_owned()),
        (_, Some(_)) => return Err(TokenLineFault::Node),
        _ => return Err(TokenLineFault::Role),
    };
    if let Some(account) = hash.strip_prefix(ACCOUNT) {
        let proof = TokenProof::Account(checked_account(account)?.to_owned());
        return Ok(AccessToken { name: name.to_owned(), role, proof });
    }
    let hash = hash.strip_prefix("sha256:").ok_or(TokenLineFault::Hash)?;
    let digest = from_hex(hash).ok_or(TokenLineFault::Hash)?;
    if hash.eq_ignore_ascii_case(DIGEST_OF_NOTHING) {
        return Err(TokenLineFault::EmptyToken);
    }
    Ok(AccessToken { name: name.to_owned(), role, proof: TokenProof::Digest(digest) })
}

fn checked_account(account: &str) -> Result<&str, TokenLineFault> {
    let is_name = |name: &str, bytes_max| {
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        (1..=bytes_max).contains(&name.len()) && name.chars().all(is_allowed)
    };
    let parts = account.split_once('/');
    let is_account = parts.is_some_and(|(ns, name)| is_name(ns, 63) && is_name(name, 253));
    if is_account { Ok(account) } else { Err(TokenLineFault::Account) }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    let mut digits = text.chars().map(|c| c.to_digit(16));
    for byte in &mut bytes {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `printf %s hunter2 | sha256sum`
    const HUNTER2: &str = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";

    fn fault(text: &str) -> String {
        TokenList::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_token_is_found_by_itself_alone() {
        let text = format!(
            "# who   role\n\nworker-1\tingest:worker-1  sha256:{HUNTER2}\r\n  all ingest sha256:{}\n\
             eyes read sha256:{}\nroot admin sha256:{}\n",
            "1".repeat(64),
            "A".repeat(64),
            "b".repeat(64)
        );
        let tokens = TokenList::parse(text.as_bytes()).unwrap();
        assert_eq!(tokens.len(), 4);
        let token = tokens.find(b"hunter2").unwrap();
        assert_eq!(token.name, "worker-1");
        assert_eq!(token.role, TokenRole::NodeIngest("worker-1".to_owned()));
        assert!(token.is(b"hunter2") && !token.is(b"hunter3"));
        for other in [&b"hunter3"[..], b"hunter2\n", b"", HUNTER2.as_bytes()] {
            assert!(tokens.find(other).is_none(), "{other:?}");
        }
        let shown = format!("{tokens:?}");
        assert!(
            shown.contains("worker-1") && !shown.contains("245"),
            "no bytes of a hash: {shown}"
        );
    }

    #[test]
    fn a_service_account_is_found_by_its_name_and_not_as_a_token() {
        let text = format!("a read sha256:{HUNTER2}\nagents ingest serviceaccount:ns-1/agent.x\n");
        let tokens = TokenList::parse(text.as_bytes()).unwrap();
        assert_eq!(tokens.len(), 2);
        let agents = tokens.of_account("ns-1/agent.x").unwrap();
        assert_eq!((&*agents.name, &agents.role), ("agents", &TokenRole::Ingest));
        assert!(!agents.is(b"ns-1/agent.x") && tokens.find(b"ns-1/agent.x").is_none());
        assert!(tokens.of_account("ns-1/agent").is_none());
        let twice = format!("{text}b read serviceaccount:ns-1/agent.x\n");
        assert_eq!(fault(&twice), "line 3: line 2 has the same token");
        assert!(TokenList::parse(b"b read serviceaccount:ns/b").is_ok());
    }

    #[test]
    fn each_of_many_tokens_is_found() {
        let line = |at: usize| {
            let hex: String =
                digest_of(format!("t{at}").as_bytes()).map(|b| format!("{b:02x}")).concat();
            format!("n{at} ingest:n{at} sha256:{hex}\n")
        };
        let text: String = (0..TOKENS_MAX).map(line).collect();
        let tokens = TokenList::parse(text.as_bytes()).unwrap();
        for at in 0..TOKENS_MAX {
            assert_eq!(tokens.find(format!("t{at}").as_bytes()).unwrap().name, format!("n{at}"));
        }
        let text = text + &line(TOKENS_MAX);
        assert_eq!(fault(&text), "it has more than 10000 tokens");
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number_and_not_repeated() {
        let good = format!("a read sha256:{HUNTER2}");
        for (line, expected) in [
            ("b read serviceaccount:nodetally", "the service account is not NAMESPACE/NAME"),
            ("b read serviceaccount:Node/tally", "the service account is not NAMESPACE/NAME"),
            ("b read serviceaccount:/a", "the service account is not NAMESPACE/NAME"),
            ("b read serviceaccount:a/b/c", "the service account is not NAMESPACE/NAME"),
            ("hunter2", "not NAME ROLE"),
            (&*format!("b read sha256:{HUNTER2} -"), "not NAME ROLE"),
            (&*format!("-b read sha256:{HUNTER2}"), "the name is not"),
            (&*format!("{} read sha256:{HUNTER2}", "b".repeat(254)), "the name is not"),
            (&*format!("b write sha256:{HUNTER2}"), "the role is none of"),
            (&*format!("b read:x sha256:{HUNTER2}"), "the role is none of"),
            (&*format!("b ingest: sha256:{HUNTER2}"), "no node's name"),
            ("b read hunter2", "the hash is not"),
            ("b read sha256:hunter2", "the hash is not"),
            (&*format!("b read sha256:{}", "é".repeat(32)), "the hash is not"),
            (&*format!("b read sha256:+{}", "1".repeat(63)), "the hash is not"),
            (&*format!("b read sha256:{DIGEST_OF_NOTHING}"), "that of an empty token"),
            (&*format!("a admin sha256:{}", "1".repeat(64)), "line 2 has the same name"),
            (&*format!("b admin sha256:{}", HUNTER2.to_uppercase()), "line 2 has the same token"),
        ] {
            let fault = fault(&format!("# tokens\n{good}\n{line}\n"));
            assert!(fault.starts_with("line 3: ") && fault.contains(expected), "{line}: {fault}");
            assert!(!fault.contains("hunter2") && !fault.contains(HUNTER2), "{fault}");
        }
        assert_eq!(fault("# nothing\n"), "it has no token");
        assert_eq!(TokenList::parse(b"\xff").unwrap_err(), TokenListError::NotUtf8);
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic_and_no_error_repeats_it(
            bytes in any::<Vec<u8>>(),
            word in "S3CRET[ -~]{0,80}",
            role in prop::sample::select(vec!["read", "ingest:", "ingest:n", "x"]),
            hash in "(sha256:)?[0-9a-fé]{0,70}",
        ) {
            let _ = TokenList::parse(&bytes);
            for text in [format!("{word} {role} {hash}"), format!("a {role} {word}"), word] {
                if let Err(error) = TokenList::parse(text.as_bytes()) {
                    prop_assert!(!error.to_string().contains("S3CRET"), "{error}");
                }
            }
        }
    }
}
