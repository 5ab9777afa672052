//! The token with which a client asks for the rest of a list (`metadata.continue`): base64 of a JSON
//! array.
//!
//! ```text
//! ["/apis/metrics.k8s.io/v1beta1/pods", "default", "web-1"]
//! ```

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use thiserror::Error;

/// The longest token. The longest that is made has two names, and once more the namespace in the path.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// The place in a list behind which its rest begins: the last item that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPosition {
    /// Empty of a node.
    pub namespace: String,
    pub name: String,
}

/// The reason why a text is no token of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ListPositionError {
    #[error("it is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    #[error("it is not a token of this server")]
    Malformed,
    #[error("it is the token of another list")]
    OtherList,
}

impl ListPosition {
    /// The token for the list at `path`.
    #[must_use]
    pub fn token(&self, path: &str) -> String {
        let text = serde_json::json!([path, self.namespace, self.name]).to_string();
        BASE64_URL_SAFE_NO_PAD.encode(text)
    }

    /// Reads a token of the list at `path`. The client may have made it, and it gives no right: it is a
    /// place in the order of the list, whether or not something has this name.
    ///
    /// # Errors
    /// It is damaged, too long, or the token of another list.
    pub fn parse(token: &str, path: &str) -> Result<Self, ListPositionError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(ListPositionError::TooLong);
        }
        let json = BASE64_URL_SAFE_NO_PAD.decode(token);
        let json = json.map_err(|_| ListPositionError::Malformed)?;
        let (of, namespace, name) = serde_json::from_slice::<(String, String, String)>(&json)
            .map_err(|_| ListPositionError::Malformed)?;
        if of == path { Ok(Self { namespace, name }) } else { Err(ListPositionError::OtherList) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PODS: &str = "/apis/metrics.k8s.io/v1beta1/pods";

    #[test]
    fn a_token_is_of_one_list() {
        let position = ListPosition { namespace: "a".to_owned(), name: "b".to_owned() };
        let token = position.token(PODS);
        assert_eq!(ListPosition::parse(&token, PODS), Ok(position));
        let of_core = ListPosition::parse(&token, "/api/v1/pods");
        assert_eq!(of_core, Err(ListPositionError::OtherList));
        let mut cut = token;
        cut.truncate(cut.len() - 2);
        assert_eq!(ListPosition::parse(&cut, PODS), Err(ListPositionError::Malformed));
        let long = "A".repeat(TOKEN_BYTES_MAX + 1);
        assert_eq!(ListPosition::parse(&long, PODS), Err(ListPositionError::TooLong));
    }

    proptest! {
        #[test]
        fn each_name_has_a_token_that_can_be_read(
            namespace in "\\PC{0,63}",
            name in any::<String>(),
            other in any::<String>(),
        ) {
            prop_assume!(name.len() <= 253);
            let position = ListPosition { namespace, name };
            let token = position.token(PODS);
            prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
            prop_assert_eq!(ListPosition::parse(&token, PODS), Ok(position));
            prop_assert!(ListPosition::parse(&other, PODS).is_err());
        }
    }
}
