//! Tokens that are in no line of the tokens file, and whose service account is: the API server is asked
//! whose they are. Answers are kept for a minute.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::access::digest_of;
use crate::quantity::WallTime;

/// The user of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewedUser {
    pub name: String,
    /// The node of the pod that the token is bound to; `None`: the API server names none.
    pub node_name: Option<String>,
}

/// Asks for the user of a token; `None`: the token is not valid. The error is the reason why there is no
/// answer.
pub type AskForUser =
    Arc<dyn Fn(String) -> BoxFuture<'static, Result<Option<ReviewedUser>, String>> + Send + Sync>;

/// The service account of a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TokenAccount {
    /// `NAMESPACE/NAME`
    pub(super) account: String,
    /// The node of its pod; `None`: the API server names none.
    pub(super) node_name: Option<String>,
}

/// The audience that a token must be for, so that one for the API server itself is not sent here.
pub const AUDIENCE: &str = "nodetally";

/// The beginning of the user's name of a service account.
const ACCOUNT: &str = "system:serviceaccount:";

/// The time that an answer counts. A token that is revoked counts so long.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The most answers that are kept: two for each of 5,000 nodes.
const ANSWERS_MAX: usize = 10_000;

/// The most questions at once. Further requests wait.
const QUESTIONS_MAX: usize = 8;

/// The time that a request waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest token that is asked for, in bytes.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// The API server's answers about tokens.
pub struct TokenReviews {
    ask: AskForUser,
    answer_timeout: Duration,
    questions: Semaphore,
    known: Mutex<HashMap<[u8; 32], KnownAccount>>,
}

/// An answer.
struct KnownAccount {
    at: WallTime,
    /// `None`: the token is not valid, or of another kind of user.
    account: Option<Arc<TokenAccount>>,
}

impl KnownAccount {
    fn is_current(&self, now: WallTime) -> bool {
        // Also after the clock was set back.
        self.at <= now && self.at >= now.minus(KEPT_FOR)
    }
}

impl fmt::Debug for TokenReviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenReviews").finish_non_exhaustive()
    }
}

impl TokenReviews {
    #[must_use]
    pub fn new(ask: AskForUser) -> Self {
        let questions = Semaphore::new(QUESTIONS_MAX);
        Self { ask, answer_timeout: ANSWER_TIMEOUT, questions, known: Mutex::default() }
    }

    /// The service account of a token; `None`: it has none.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(super) async fn account(
        &self,
        token: &[u8],
        now: WallTime,
    ) -> Result<Option<Arc<TokenAccount>>, String> {
        let Some(token) = signed_token(token) else { return Ok(None) };
        let digest = digest_of(token.as_bytes());
        if let Some(known) = self.known().get(&digest).filter(|known| known.is_current(now)) {
            return Ok(known.account.clone());
        }
        let asked = async {
            // The semaphore is never closed.
            let _permit = self.questions.acquire().await;
            (self.ask)(token.to_owned()).await
        };
        let Ok(user) = tokio::time::timeout(self.answer_timeout, asked).await else {
            return Err("the API server does not answer in time".to_owned());
        };
        let account = user?.and_then(account_of).map(Arc::new);
        self.keep(digest, KnownAccount { at: now, account: account.clone() });
        Ok(account)
    }

    fn keep(&self, digest: [u8; 32], answer: KnownAccount) {
        let mut known = self.known();
        if known.len() >= ANSWERS_MAX {
            let now = answer.at;
            known.retain(|_, known| known.is_current(now));
        }
        if known.len() >= ANSWERS_MAX {
            // Tokens that nobody has do not push out those of agents.
            known.retain(|_, known| known.account.is_some());
            let oldest = known.iter().min_by_key(|(_, known)| known.at).map(|(digest, _)| *digest);
            if let Some(oldest) = oldest.filter(|_| known.len() >= ANSWERS_MAX) {
                known.remove(&oldest);
            }
        }
        known.insert(digest, answer);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 32], KnownAccount>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token if it has the form of a signed one (JWT), as tokens of service accounts have. Others are not
/// worth a question.
fn signed_token(token: &[u8]) -> Option<&str> {
    let token = std::str::from_utf8(token).ok().filter(|token| token.len() <= TOKEN_BYTES_MAX)?;
    let is_encoded = |part: &str| {
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !part.is_empty() && part.bytes().all(is_digit)
    };
    let mut parts = token.split('.');
    let has_three = (0..3).all(|_| parts.next().is_some_and(is_encoded)) && parts.next().is_none();
    has_three.then_some(token)
}

/// The account of the user `system:serviceaccount:NAMESPACE:NAME`.
fn account_of(user: ReviewedUser) -> Option<TokenAccount> {
    let (namespace, name) = user.name.strip_prefix(ACCOUNT)?.split_once(':')?;
    Some(TokenAccount { account: format!("{namespace}/{name}"), node_name: user.node_name })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn at(seconds: u64) -> WallTime {
        WallTime::from_unix_millis(seconds * 1000)
    }

    fn user(name: &str) -> ReviewedUser {
        ReviewedUser { name: name.to_owned(), node_name: None }
    }

    #[test]
    fn only_signed_tokens_are_asked_for() {
        let long = format!("a.{}.c", "b".repeat(TOKEN_BYTES_MAX));
        for (token, is_asked) in [
            ("eyJh.eyJp.c2ln", true),
            ("e-_9.a.b", true),
            ("a.b", false),
            ("a.b.c.d", false),
            ("a..c", false),
            ("a.b.c\n", false),
            ("a.b.c=", false),
            ("", false),
            (&*long, false),
        ] {
            assert_eq!(signed_token(token.as_bytes()).is_some(), is_asked, "{token:?}");
        }
        assert!(signed_token(b"a.\xff.c").is_none());
        let account = |name: &str| Some(account_of(user(name))?.account);
        assert_eq!(account("system:serviceaccount:ns:name").as_deref(), Some("ns/name"));
        assert_eq!(account("system:node:worker-1"), None);
        assert_eq!(account("system:serviceaccount:ns"), None);
    }

    #[test]
    fn answers_are_kept_for_a_minute_and_in_a_bounded_number() {
        let questions = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&questions);
        let reviews = TokenReviews::new(Arc::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Ok(Some(user("system:serviceaccount:ns:name"))) })
        }));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let ask = |token: &str, seconds| {
            let answer = runtime.block_on(reviews.account(token.as_bytes(), at(seconds)));
            assert_eq!(answer.unwrap().unwrap().account, "ns/name");
            questions.load(Ordering::Relaxed)
        };
        assert_eq!(ask("a.b.c", 1000), 1);
        assert_eq!(ask("a.b.c", 1060), 1);
        assert_eq!(ask("a.b.d", 1060), 2, "another token");
        assert_eq!(ask("a.b.c", 1061), 3, "a minute later");
        assert_eq!(ask("a.b.c", 900), 4, "the clock was set back");
        for at in 0..ANSWERS_MAX {
            ask(&format!("a.b.x{at}"), 2000);
        }
        assert_eq!(reviews.known().len(), ANSWERS_MAX);
    }

    #[test]
    fn an_error_is_not_kept_and_a_question_ends() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let failing = TokenReviews::new(Arc::new(|_| Box::pin(async { Err("away".to_owned()) })));
        assert_eq!(runtime.block_on(failing.account(b"a.b.c", at(1))), Err("away".to_owned()));
        assert!(failing.known().is_empty());
        let silent = TokenReviews::new(Arc::new(|_| Box::pin(std::future::pending())));
        let silent = TokenReviews { answer_timeout: Duration::from_millis(1), ..silent };
        let answer = runtime.block_on(silent.account(b"a.b.c", at(1)));
        assert_eq!(answer, Err("the API server does not answer in time".to_owned()));
    }
}
