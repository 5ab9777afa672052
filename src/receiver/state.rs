//! State that all handlers share: the store, and the clock.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::FromRef;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::ServerConfig;
use thiserror::Error;

use super::access::{AccessToken, TokenRole};
use super::answer::Refusal;
use super::bounds::ReceiverBounds;
use super::front_proxy::{ClientCertificates, FrontProxy};
use super::idempotency::REPLAYED;
use super::minute_log::MinuteLog;
use super::request::{LargeBodies, PostHead};
use super::rights::{Rights, TwoCredentials, credential};
use super::store::{
    Change, DocumentKind, EntityQuery, Store, StorePlace, StorePost, Stored, StoredOutcome,
};
use super::token_review::TokenReviews;
use super::tokens_file::TokensFile;
use crate::payload::resource_api::check_name;
use crate::quantity::WallTime;

/// The wall clock that stamps the pushes.
pub type WallClock = Arc<dyn Fn() -> WallTime + Send + Sync>;

/// Everything that was pushed. Clones share it, so that receivers on several addresses can serve it.
#[derive(Clone)]
pub struct ReceiverState(Arc<SharedState>);

struct SharedState {
    store: Store,
    is_in_memory: bool,
    large_bodies: LargeBodies,
    log: MinuteLog,
    clock: WallClock,
    /// Nothing was accepted yet, and somebody is about to push.
    awaits_first: AtomicBool,
    access: Mutex<Arc<ReceiverAccess>>,
    /// The token of this process, and its entry beside those of the tokens file.
    own_token: (String, Arc<AccessToken>),
}

/// The conditions under which a receiver answers. Without any, everybody may read and write.
#[derive(Debug, Default)]
pub struct ReceiverAccess {
    /// `None`: connections are plain.
    pub tls: Option<Arc<ServerConfig>>,
    /// `None`: no token is asked for.
    pub tokens: Option<TokensFile>,
    /// The API server that may name a request's user; `None`: none may.
    pub front_proxy: Option<FrontProxy>,
    /// The API server that is asked whose other tokens are; `None`: none is.
    pub token_reviews: Option<TokenReviews>,
}

/// The reason why the rights of a request are not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum RightsError {
    #[error("there are two tokens; send one header, Authorization or X-API-Key")]
    TwoCredentials,
    #[error("{0}")]
    NoReview(String),
}

/// The store cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct OpenError(String);

impl fmt::Debug for ReceiverState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiverState").finish_non_exhaustive()
    }
}

impl ReceiverState {
    /// The state over a store that is opened or created here.
    ///
    /// # Errors
    /// The place cannot be used, another receiver uses it, or what is there is no store of ours.
    pub fn open(
        place: &StorePlace,
        bounds: ReceiverBounds,
        clock: WallClock,
    ) -> Result<Self, OpenError> {
        let own_token = random_token()?;
        let entry = AccessToken::new(OWN_SENDER, TokenRole::Ingest, own_token.as_bytes());
        let store = Store::open(place, bounds, clock());
        Ok(Self(Arc::new(SharedState {
            store: store.map_err(|error| OpenError(error.to_string()))?,
            is_in_memory: *place == StorePlace::MEMORY,
            large_bodies: LargeBodies::default(),
            log: MinuteLog::default(),
            clock,
            awaits_first: AtomicBool::new(false),
            access: Mutex::default(),
            own_token: (own_token, Arc::new(entry)),
        })))
    }

    /// Sets the conditions under which requests and connections are accepted from here on.
    pub fn set_access(&self, access: ReceiverAccess) {
        *self.0.access.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }

    fn access(&self) -> Arc<ReceiverAccess> {
        Arc::clone(&self.0.access.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The TLS of new connections; `None`: they are plain.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.access().tls.clone()
    }

    /// The token with which this process itself may post. It is another one after each start.
    #[must_use]
    pub fn own_token(&self) -> &str {
        &self.0.own_token.0
    }

    /// The rights of a request with these headers, from a client with these certificates.
    ///
    /// A user whom an API server names counts before a token, which the API server may have passed on.
    pub(super) async fn rights_of(
        &self,
        headers: &HeaderMap,
        certificates: &ClientCertificates,
    ) -> Result<Rights, RightsError> {
        let access = self.access();
        let Some(file) = &access.tokens else { return Ok(Rights::Unlimited) };
        let proxy = access.front_proxy.as_ref();
        let user = proxy.map_or(Ok(None), |proxy| proxy.user(certificates, headers, self.now()));
        let none = match user {
            Ok(Some(user)) => return Ok(Rights::Proxied(user.into())),
            Ok(None) => Rights::NONE,
            Err(fault) => Rights::None(fault.message()),
        };
        let token = credential(headers).map_err(|TwoCredentials| RightsError::TwoCredentials)?;
        let Some(token) = token else { return Ok(none) };
        let own = &self.0.own_token.1;
        if own.is(token) {
            return Ok(Rights::Of(Arc::clone(own)));
        }
        let tokens = file.tokens();
        if let Some(found) = tokens.find(token) {
            return Ok(Rights::Of(Arc::clone(found)));
        }
        let Some(reviews) = &access.token_reviews else { return Ok(none) };
        let account = reviews.account(token, self.now()).await.map_err(RightsError::NoReview)?;
        let Some(account) = account else { return Ok(none) };
        let Some(found) = tokens.of_account(&account.account) else {
            return Ok(Rights::None(NO_LINE));
        };
        let node = account.node_name.as_deref().filter(|node| check_name(node).is_ok());
        Ok(match (node, &found.role) {
            (Some(node), _) => Rights::Of(Arc::new(found.of_node(node))),
            (None, TokenRole::OwnNodeIngest) => Rights::None(NO_NODE),
            (None, _) => Rights::Of(Arc::clone(found)),
        })
    }

    /// True if what was pushed ends with the process.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.0.is_in_memory
    }

    /// The same, of a receiver whose own agent is about to push. Until it does, reads are answered
    /// 503: an empty answer, or 404, would be untrue.
    #[must_use]
    pub fn awaiting_first_push(self) -> Self {
        self.0.awaits_first.store(true, Ordering::Relaxed);
        self
    }

    pub(super) fn awaits_first_push(&self) -> bool {
        self.0.awaits_first.load(Ordering::Relaxed)
    }

    /// Notes that a push was accepted.
    pub(super) fn has_push(&self) {
        self.0.awaits_first.store(false, Ordering::Relaxed);
    }

    /// Replaces the bounds. What lies beyond the new ones is removed with later pushes.
    pub fn set_bounds(&self, bounds: ReceiverBounds) {
        self.0.store.set_bounds(bounds);
    }

    pub(super) fn bounds(&self) -> ReceiverBounds {
        self.0.store.bounds()
    }

    pub(super) fn now(&self) -> WallTime {
        (self.0.clock)()
    }

    /// Logs an event that a sender caused, once a minute and kind.
    pub(super) fn log(&self, kind: &'static str, details: impl FnOnce() -> String) {
        self.0.log.say(self.now(), kind, details);
    }

    pub(super) fn store(&self) -> &Store {
        &self.0.store
    }

    /// Selects what is live: it was pushed within `stale_after`.
    pub(super) fn live(&self) -> EntityQuery {
        EntityQuery { since: self.now().minus(self.bounds().stale_after), ..EntityQuery::default() }
    }

    /// Selects the nodes that are listed: a silent one is for an hour.
    pub(super) fn listed_nodes(&self) -> EntityQuery {
        let listed_for = self.bounds().retention.min(Duration::from_secs(3600));
        EntityQuery { since: self.now().minus(listed_for), ..EntityQuery::default() }
    }

    /// Selects what has a past that can still be read.
    pub(super) fn kept(&self) -> EntityQuery {
        EntityQuery { since: self.now().minus(self.bounds().retention), ..EntityQuery::default() }
    }

    /// Stores a post that is within the rights of its sender. `answer` makes the answer; that to a replay says so in a header.
    pub(super) async fn store_post(
        &self,
        head: PostHead,
        change: Change,
        answer: impl FnOnce(StoredOutcome) -> Response,
    ) -> Result<Response, Refusal> {
        check_change(&head.rights, &change)?;
        let PostHead { sender, id, .. } = head;
        let post = StorePost { at: self.now(), sender, id, change };
        let Stored { is_replay, outcome } = self.0.store.post(post).await?;
        let mut response = answer(outcome);
        if is_replay {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        Ok(response)
    }
}

/// Checks every name of a node in a post. Documents of pods have none: their handler checks them.
fn check_change(rights: &Rights, change: &Change) -> Result<(), Refusal> {
    let pushes = match change {
        Change::Usage(pushes) => pushes,
        Change::Spec { post, .. } => return rights.check_node(&post.row.node_name),
        // It names none, and the store has the condition.
        Change::MarkDead { .. } => return Ok(()),
    };
    let nodes = pushes.nodes.iter().map(|node| &node.name);
    let of_pods = pushes.pods.iter().map(|pod| &pod.post.node_name);
    let of_units = pushes.units.iter().map(|unit| &unit.node);
    let documents = pushes.documents.iter();
    let of_documents = documents.filter(|document| document.kind != DocumentKind::Pod);
    let mut names =
        nodes.chain(of_pods).chain(of_units).chain(of_documents.map(|document| &document.name));
    names.try_for_each(|node| rights.check_node(node))
}

const NO_LINE: &str =
    "the token is valid, but its service account is in no line of receiver.tokens_file";

const NO_NODE: &str = "the token is valid, but the API server does not name its node, which the role \
    ingest-own-node needs: Kubernetes does from 1.30 on, for tokens of pods";

/// The sender of posts of this process. No name in a tokens file has a space.
const OWN_SENDER: &str = "this agent";

/// A token that nobody can guess.
fn random_token() -> Result<String, OpenError> {
    let mut bytes = [0; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| OpenError("the system has no random numbers".to_owned()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl FromRef<ReceiverState> for LargeBodies {
    fn from_ref(state: &ReceiverState) -> Self {
        state.0.large_bodies.clone()
    }
}
