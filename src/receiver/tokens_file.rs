//! The file of tokens, read again when it changes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;
use tracing::{info, warn};

use super::access::{TokenList, TokenListError};
use crate::small_file::{self, Stamp};

/// The largest file. A line has some 120 bytes.
const FILE_BYTES_MAX: usize = 4 << 20;

/// A reason why a file gives no tokens. It holds nothing of its text.
#[derive(Debug, Error)]
pub enum TokensFileError {
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Wrong { path: PathBuf, source: TokenListError },
}

/// A file of tokens with those that it held last.
#[derive(Debug)]
pub struct TokensFile {
    path: PathBuf,
    known: Mutex<KnownTokens>,
}

#[derive(Debug)]
struct KnownTokens {
    tokens: Arc<TokenList>,
    /// The stamp of the file when it was read last.
    stamp: Option<Stamp>,
    /// The log has the error of the last read.
    logged: bool,
}

impl TokensFile {
    /// # Errors
    /// The file cannot be read, or a line of it is no token.
    pub fn open(path: &Path) -> Result<Self, TokensFileError> {
        // From before the read: a later change shows at the next request.
        let stamp = Stamp::read(path).ok();
        let tokens = Arc::new(read(path)?);
        let known = Mutex::new(KnownTokens { tokens, stamp, logged: false });
        Ok(Self { path: path.to_owned(), known })
    }

    /// The tokens that the file holds now. If it is not as it should be, the last ones count.
    pub(super) fn tokens(&self) -> Arc<TokenList> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::read(&self.path).ok();
        if stamp != known.stamp {
            known.stamp = stamp;
            match read(&self.path) {
                Ok(tokens) => {
                    let count = tokens.len();
                    info!("receiver: {} is read again, tokens: {count}", self.path.display());
                    (known.tokens, known.logged) = (Arc::new(tokens), false);
                }
                Err(reason) if !known.logged => {
                    known.logged = true;
                    warn!("receiver.tokens_file: {reason}; the last tokens stay in use");
                }
                Err(_) => {}
            }
        }
        Arc::clone(&known.tokens)
    }
}

fn read(path: &Path) -> Result<TokenList, TokensFileError> {
    let (text, _) = small_file::read(path, FILE_BYTES_MAX)
        .map_err(|source| TokensFileError::Unreadable { path: path.to_owned(), source })?;
    TokenList::parse(&text)
        .map_err(|source| TokensFileError::Wrong { path: path.to_owned(), source })
}
