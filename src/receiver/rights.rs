//! The rights of a request: those of its token, or all where no tokens are asked for.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};

use super::access::{AccessToken, TokenRole};
use super::answer::Refusal;
use super::api_server;

/// The header in which clients of the pod batch API send their key.
const API_KEY: &str = "x-api-key";

const NO_TOKEN: &str =
    "no valid token: send the header \"Authorization: Bearer TOKEN\" or \"X-API-Key: TOKEN\"";

/// The list of a node's pods, which the agent of that node compares with its own.
const LIST_OF_NODE: &str = "/pod/list/";

/// The paths that an API server passes on.
const PROXIED: &str = "/apis/metrics.k8s.io/";

/// The most characters of a user's name in a message.
const USER_CHARS_MAX: usize = 200;

/// The rights of a request, in its extensions.
#[derive(Debug, Clone)]
pub(super) enum Rights {
    /// No tokens are asked for.
    Unlimited,
    Of(Arc<AccessToken>),
    /// The API server passes on the request of this user, whose rights it has checked.
    Proxied(Arc<str>),
    /// The request has no token that is known. With the message for its sender.
    None(&'static str),
}

/// A request with two credentials, of which one may be forged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TwoCredentials;

/// The token that a request carries, as `Authorization: Bearer` or `X-API-Key`. It is empty in a header
/// of another form.
pub(super) fn credential(headers: &HeaderMap) -> Result<Option<&[u8]>, TwoCredentials> {
    let bearer = headers.get_all(AUTHORIZATION).iter().map(|value| {
        let value = value.as_bytes();
        // The name of the scheme has no case (RFC 9110, 11.1).
        let (scheme, token) = value.split_at_checked(b"Bearer ".len()).unwrap_or_default();
        if scheme.eq_ignore_ascii_case(b"Bearer ") { token.trim_ascii() } else { &[] }
    });
    let key = headers.get_all(API_KEY).iter().map(|value| value.as_bytes().trim_ascii());
    let mut all = bearer.chain(key);
    match (all.next(), all.next()) {
        (first, None) => Ok(first),
        _ => Err(TwoCredentials),
    }
}

/// True if everybody may have the answer: the page with its parts, and what says which APIs there are.
pub(super) fn is_for_all(method: &Method, path: &str) -> bool {
    let is_description = path == "/openapi.json" || api_server::has(path);
    is_read(method) && (path == "/" || path.starts_with("/assets/") || is_description)
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

impl Rights {
    /// The rights of a request without a token.
    pub(super) const NONE: Self = Self::None(NO_TOKEN);

    /// The token's name; `None` where there is none.
    pub(super) fn token_name(&self) -> Option<&str> {
        if let Self::Of(token) = self { Some(&token.name) } else { None }
    }

    /// The node to which posts are limited; `None`: they are not.
    pub(super) fn own_node(&self) -> Option<&str> {
        match self {
            Self::Of(token) => match &token.role {
                TokenRole::NodeIngest(node) => Some(node),
                TokenRole::OwnNodeIngest
                | TokenRole::Ingest
                | TokenRole::Read
                | TokenRole::Admin => None,
            },
            Self::Unlimited | Self::Proxied(_) | Self::None(_) => None,
        }
    }

    /// Checks what can be known before the body is read.
    ///
    /// # Errors
    /// The role does not suffice for any request of this kind.
    pub(super) fn check_request(&self, method: &Method, path: &str) -> Result<(), Refusal> {
        let token = match self {
            Self::Unlimited => return Ok(()),
            Self::Of(token) => token,
            Self::Proxied(_) if is_read(method) && path.starts_with(PROXIED) => return Ok(()),
            Self::Proxied(user) => return Err(beyond_proxied(user)),
            Self::None(message) => return Err(Refusal::new(StatusCode::UNAUTHORIZED, message)),
        };
        // The others have no answer but that the method is wrong.
        let is_post = *method == Method::POST;
        let suffices = match token.role {
            TokenRole::Admin => true,
            TokenRole::Read => !is_post,
            // Its node is not known.
            TokenRole::OwnNodeIngest => false,
            TokenRole::Ingest | TokenRole::NodeIngest(_) => {
                !is_read(method) || path.starts_with(LIST_OF_NODE)
            }
        };
        if suffices {
            return Ok(());
        }
        let deed = if is_post { "post figures" } else { "read this" };
        Err(forbidden(token, &format!("may not {deed}")))
    }

    /// Checks that figures of this node, or its list of pods, are within the rights.
    ///
    /// # Errors
    /// The token is another node's.
    pub(super) fn check_node(&self, node: &str) -> Result<(), Refusal> {
        match self {
            Self::Of(token) if self.own_node().is_some_and(|own| own != node) => {
                Err(forbidden(token, &format!("is not for node {node:?}")))
            }
            Self::Of(_) | Self::Unlimited => Ok(()),
            Self::Proxied(user) => Err(beyond_proxied(user)),
            Self::None(message) => Err(Refusal::new(StatusCode::UNAUTHORIZED, message)),
        }
    }
}

fn beyond_proxied(user: &str) -> Refusal {
    let user: String = user.chars().take(USER_CHARS_MAX).collect();
    let message =
        format!("the user {user:?} comes through an API server, and may only read {PROXIED}");
    Refusal::new(StatusCode::FORBIDDEN, message)
}

fn forbidden(token: &AccessToken, what: &str) -> Refusal {
    let role = match &token.role {
        TokenRole::NodeIngest(node) => format!("ingest:{node}"),
        TokenRole::OwnNodeIngest => "ingest-own-node".to_owned(),
        TokenRole::Ingest => "ingest".to_owned(),
        TokenRole::Read => "read".to_owned(),
        TokenRole::Admin => "admin".to_owned(),
    };
    let message = format!("the token {} with the role {role} {what}", token.name);
    Refusal::new(StatusCode::FORBIDDEN, message)
}

impl<S: Sync> FromRequestParts<S> for Rights {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Without the check before it, a request has no rights.
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or(Self::NONE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn carried(all: &[(&'static str, &'static str)]) -> Result<Option<String>, TwoCredentials> {
        let text = |token: &[u8]| String::from_utf8(token.to_vec()).unwrap();
        credential(&headers(all)).map(|token| token.map(text))
    }

    #[test]
    fn a_request_carries_one_token_in_one_of_two_headers() {
        for value in ["Bearer t", "bearer t", "BEARER   t "] {
            assert_eq!(carried(&[("authorization", value)]), Ok(Some("t".to_owned())), "{value}");
        }
        assert_eq!(carried(&[("x-api-key", " t ")]), Ok(Some("t".to_owned())));
        for value in ["t", "Basic t", "Bearer", "Bearert", ""] {
            assert_eq!(carried(&[("authorization", value)]), Ok(Some(String::new())), "{value}");
        }
        assert_eq!(carried(&[]), Ok(None));
        for two in [
            [("authorization", "Bearer t"), ("x-api-key", "t")],
            [("authorization", "Bearer t"), ("authorization", "Bearer t")],
            [("x-api-key", "t"), ("x-api-key", "u")],
            [("authorization", "Basic t"), ("x-api-key", "t")],
        ] {
            assert_eq!(carried(&two), Err(TwoCredentials), "{two:?}");
        }
    }
}
