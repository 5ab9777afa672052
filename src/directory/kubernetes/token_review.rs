//! Asks the API server whose a token is: a TokenReview of `authentication.k8s.io/v1`. It is created and
//! answered in one request, and kept nowhere.

use std::time::Duration;

use serde_json::json;
use tokio::sync::Mutex;

use super::access::ApiAccess;
use super::api::ApiClient;
use super::connect::Connector;
use super::error::{ApiError, ApiErrorKind, ApiRequest};
use super::options::KubernetesOptions;
use crate::directory::objects::{self, TokenUser};
use crate::quantity::{BootTime, WallTime};

const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// The longest silence of the API server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks for users of tokens over one connection.
pub struct TokenReviewer {
    options: KubernetesOptions,
    connection: Mutex<ReviewConnection>,
}

#[derive(Default)]
struct ReviewConnection {
    connector: Connector,
    api: Option<ApiClient>,
}

impl TokenReviewer {
    #[must_use]
    pub fn new(
        access: ApiAccess,
        clock: fn() -> BootTime,
        wall_clock: fn() -> WallTime,
        seed: u64,
    ) -> Self {
        let mut options = KubernetesOptions::new("", access, clock, wall_clock, seed);
        options.answer_timeout = ANSWER_TIMEOUT;
        Self { options, connection: Mutex::default() }
    }

    /// The user of a token that is valid for this audience; `None`: it is not valid.
    ///
    /// # Errors
    /// The API server cannot be asked, or its answer cannot be read. The error has nothing of the token.
    pub async fn review(&self, token: &str, audience: &str) -> Result<Option<TokenUser>, ApiError> {
        let api = self.api().await?;
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]}
        });
        let answer = api.post(ApiRequest::TokenReview, PATH, review.to_string()).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                if failure.kind == ApiErrorKind::Unauthorized {
                    self.connection.lock().await.api = None;
                }
                let text = failure.text.replace(token, "(hidden)");
                return Err(ApiError { text, ..failure });
            }
        };
        let unreadable = |error| ApiError::unreadable(ApiRequest::TokenReview, error);
        objects::token_review(&answer, audience).map_err(unreadable)
    }

    async fn api(&self) -> Result<ApiClient, ApiError> {
        let mut connection = self.connection.lock().await;
        let ReviewConnection { connector, api } = &mut *connection;
        if let Some(api) = api.as_ref().filter(|api| !api.is_expired())
            && !connector.credentials_have_changed()
        {
            return Ok(api.clone());
        }
        *api = None;
        let made = connector.connect(&self.options.access).await?;
        Ok(api.insert(ApiClient::new(made, &self.options)).clone())
    }
}
