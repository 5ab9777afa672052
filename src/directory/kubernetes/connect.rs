//! Clients of the API server, made from its credentials.

use std::time::Duration;

use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::{Client, config};
use tokio::task::JoinHandle;

use super::access::{ApiAccess, ServiceAccount};
use super::error::{ApiError, ApiErrorKind, excerpt};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The time limit of an exec plugin, which may ask a cloud.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(60);

fn in_cluster(account: &ServiceAccount) -> Result<Config, ApiError> {
    let Some(server) = account.server() else {
        return Err(ApiError::new(
            ApiErrorKind::Unreachable,
            "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: the agent runs \
             in no pod, and no kubeconfig is named",
        ));
    };
    let url = format!("https://{server}").parse().map_err(|error| {
        ApiError::new(ApiErrorKind::Unreachable, format!("{server} names no server: {error}"))
    })?;
    let mut config = Config::new(url);
    config.root_cert_file = Some(account.folder.join("ca.crt"));
    config.auth_info.token_file = Some(account.folder.join("token").display().to_string());
    Ok(config)
}

async fn config_of(access: &ApiAccess) -> Result<Config, ApiError> {
    let mut config = match access {
        ApiAccess::InCluster(account) => in_cluster(account)?,
        ApiAccess::Kubeconfig(path) => {
            let failed = |error: config::KubeconfigError| {
                let text = format!("the kubeconfig {}: {}", path.display(), reason(&error));
                ApiError::new(ApiErrorKind::Unreachable, text)
            };
            let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(failed)?
        }
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // Watches are silent for minutes, so each request has a time limit of its own.
    config.read_timeout = None;
    // The caller waits, since it knows the server's `Retry-After`.
    config.default_retry = false;
    Ok(config)
}

/// The error without the text of the kubeconfig, which may hold a key.
fn reason(error: &config::KubeconfigError) -> String {
    match error {
        config::KubeconfigError::ReadConfig(error, _) => error.to_string(),
        config::KubeconfigError::Parse(_) => "it is no YAML of a kubeconfig".to_owned(),
        other => excerpt(&other.to_string()),
    }
}

/// Makes clients, one at a time: an exec plugin that hangs holds one thread, and not one more with
/// each retry.
#[derive(Default)]
pub(super) struct Connector {
    making: Option<JoinHandle<Result<Client, kube::Error>>>,
}

impl Connector {
    /// A client with the current credentials.
    pub(super) async fn connect(&mut self, access: &ApiAccess) -> Result<Client, ApiError> {
        if self.making.is_none() {
            let config = config_of(access).await?;
            // kube blocks its thread while an exec plugin runs.
            self.making = Some(tokio::task::spawn_blocking(move || Client::try_from(config)));
        }
        let Some(making) = self.making.as_mut() else {
            return Err(ApiError::new(ApiErrorKind::Unreachable, "no client is being made"));
        };
        let Ok(made) = tokio::time::timeout(CREDENTIALS_TIMEOUT, making).await else {
            let from = access.credentials();
            let text =
                format!("the exec plugin of {from} has not ended for {CREDENTIALS_TIMEOUT:?}");
            return Err(ApiError::new(ApiErrorKind::Unreachable, text));
        };
        self.making = None;
        match made {
            Ok(made) => made.map_err(|error| setup_failure(&error, access)),
            Err(error) => {
                Err(ApiError::new(ApiErrorKind::Unreachable, excerpt(&error.to_string())))
            }
        }
    }
}

fn setup_failure(error: &kube::Error, access: &ApiAccess) -> ApiError {
    match error {
        kube::Error::RustlsTls(error) => {
            let text = format!(
                "the CA in {} cannot be used: {}",
                access.authority(),
                excerpt(&error.to_string())
            );
            ApiError::new(ApiErrorKind::Unreachable, text)
        }
        error => ApiError::of_client(error, access),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_as_in_urls() {
        let named = |host: &str, port| {
            let server = Some((host.to_owned(), port));
            let account = ServiceAccount { server, ..ServiceAccount::default() };
            let url = in_cluster(&account).unwrap().cluster_url.to_string();
            (url, ApiAccess::InCluster(account).server_name())
        };
        let expected = |url: &str, name: &str| (url.to_owned(), name.to_owned());
        assert_eq!(
            named("10.96.0.1", 443),
            expected("https://10.96.0.1:443/", " at 10.96.0.1:443")
        );
        assert_eq!(
            named("fd00::1", 6443),
            expected("https://[fd00::1]:6443/", " at [fd00::1]:6443")
        );
        let config = ServiceAccount { server: Some(("host".into(), 1)), folder: "/sa".into() };
        let config = in_cluster(&config).unwrap();
        assert_eq!(config.auth_info.token_file.as_deref(), Some("/sa/token"));
        assert_eq!(config.root_cert_file, Some("/sa/ca.crt".into()));
    }
}
