//! Clients of the API server, made from its credentials.

use std::path::Path;
use std::time::Duration;

use kube::Client;
use kube::client::RustlsTlsError;
use kube::config::Config;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::task::JoinHandle;

use super::access::{ApiAccess, ServiceAccount};
use super::credentials::Credentials;
use super::error::{ApiError, ApiErrorKind, excerpt};
use super::files::WatchedFiles;
use super::kubeconfig;
use crate::small_file;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The time limit of an exec plugin, which may ask a cloud.
const PLUGIN_TIME_MAX: Duration = Duration::from_secs(60);

/// The time limit of all that a client needs. Beyond the plugin there are only files.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(70);

/// The largest file with the cluster's CA, in bytes.
const CA_BYTES_MAX: usize = 1 << 20;

/// A client without credentials, and the credentials for its requests.
pub(super) struct NewClient {
    pub client: Client,
    pub credentials: Credentials,
}

/// Makes clients, one at a time: a plugin that hangs holds one thread, and not one more with each
/// retry.
#[derive(Default)]
pub(super) struct Connector {
    making: Option<JoinHandle<(WatchedFiles, Result<NewClient, ApiError>)>>,
    /// The files of the last client, or of the last try to make one.
    files: WatchedFiles,
}

impl Connector {
    /// A client with the current credentials.
    pub(super) async fn connect(&mut self, access: &ApiAccess) -> Result<NewClient, ApiError> {
        let making = self.making.get_or_insert_with(|| {
            let access = access.clone();
            // Files and plugins block the thread.
            tokio::task::spawn_blocking(move || {
                let mut files = WatchedFiles::default();
                let made = make(&access, &mut files);
                (files, made)
            })
        });
        let Ok(made) = tokio::time::timeout(CREDENTIALS_TIMEOUT, making).await else {
            let from = access.credentials();
            let text = format!("the files of {from} cannot be read: the disk does not answer");
            return Err(ApiError::new(ApiErrorKind::Unreachable, text));
        };
        self.making = None;
        let (files, made) = made.map_err(|error| {
            let text = format!("no client can be made: {}", excerpt(&error.to_string()));
            ApiError::new(ApiErrorKind::Unreachable, text)
        })?;
        self.files = files;
        made
    }

    /// True if a file with the credentials has changed since the last client was made, so that
    /// another try may succeed.
    pub(super) fn credentials_have_changed(&self) -> bool {
        self.files.have_changed()
    }
}

fn unusable(text: impl Into<String>) -> ApiError {
    ApiError::new(ApiErrorKind::Unreachable, text)
}

fn make(access: &ApiAccess, files: &mut WatchedFiles) -> Result<NewClient, ApiError> {
    let (mut config, credentials) = match access {
        ApiAccess::InCluster(account) => in_cluster(account, files)?,
        ApiAccess::Kubeconfig(path) => kubeconfig::read(path, PLUGIN_TIME_MAX, files)
            .map_err(|what| unusable(format!("the kubeconfig {}: {what}", path.display())))?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // Watches are silent for minutes, so each request has a time limit of its own.
    config.read_timeout = None;
    // The caller waits, since it knows the server's `Retry-After`.
    config.default_retry = false;
    let client = Client::try_from(config).map_err(|error| setup_failure(&error, access))?;
    Ok(NewClient { client, credentials })
}

fn in_cluster(
    account: &ServiceAccount,
    files: &mut WatchedFiles,
) -> Result<(Config, Credentials), ApiError> {
    let Some(server) = account.server() else {
        return Err(unusable(
            "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: the agent runs \
             in no pod, and no kubeconfig is named",
        ));
    };
    let mut config = in_cluster_config(&server)?;
    let authority = account.folder.join("ca.crt");
    files.add(&authority);
    config.root_cert = Some(certificates(&authority)?);
    // Read again by the client when it is rotated.
    config.root_cert_file = Some(authority);
    let token = account.folder.join("token");
    files.add(&token);
    let credentials = Credentials::of_file(token).map_err(|error| unusable(error.to_string()))?;
    Ok((config, credentials))
}

fn in_cluster_config(server: &str) -> Result<Config, ApiError> {
    let url = format!("https://{server}").parse();
    let url = url.map_err(|error| unusable(format!("{server} names no server: {error}")))?;
    Ok(Config::new(url))
}

/// The certificates (DER) in the CA file at `path`.
fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, ApiError> {
    let unusable = |what: String| unusable(format!("the CA in {} {what}", path.display()));
    let (pem, _) = small_file::read(path, CA_BYTES_MAX)
        .map_err(|error| unusable(format!("cannot be read: {error}")))?;
    let found = CertificateDer::pem_slice_iter(&pem)
        .map(|one| one.map(|one| one.to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(format!("cannot be used: {error}")))?;
    if found.is_empty() {
        return Err(unusable("cannot be used: it holds no certificate (PEM)".to_owned()));
    }
    Ok(found)
}

fn setup_failure(error: &kube::Error, access: &ApiAccess) -> ApiError {
    let kube::Error::RustlsTls(error) = error else {
        return ApiError::of_client(error, access);
    };
    let (what, file) = match error {
        RustlsTlsError::AddRootCertificate(_) | RustlsTlsError::NoValidNativeRootCA(_) => {
            ("CA in", access.authority())
        }
        RustlsTlsError::InvalidServerName(_) => ("tls-server-name of", access.credentials()),
        _ => ("client certificate or key of", access.credentials()),
    };
    unusable(format!("the {what} {file} cannot be used: {}", excerpt(&error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_as_in_urls() {
        let named = |host: &str, port| {
            let server = Some((host.to_owned(), port));
            let account = ServiceAccount { server, ..ServiceAccount::default() };
            let url = in_cluster_config(&account.server().unwrap()).unwrap().cluster_url;
            (url.to_string(), ApiAccess::InCluster(account).server_name())
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
    }

    #[test]
    fn a_service_account_is_read_within_limits_and_its_faults_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let server = Some(("10.96.0.1".to_owned(), 443));
        let account = ServiceAccount { server, folder: dir.path().to_owned() };
        let fault = || {
            let made = in_cluster(&account, &mut WatchedFiles::default());
            made.map(|_| ()).unwrap_err().text.replace(&dir.path().display().to_string(), "")
        };
        assert!(fault().starts_with("the CA in /ca.crt cannot be read: No such file"));
        std::fs::write(dir.path().join("ca.crt"), "text").unwrap();
        assert_eq!(fault(), "the CA in /ca.crt cannot be used: it holds no certificate (PEM)");
        let key = rcgen::KeyPair::generate().unwrap();
        let ca = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        std::fs::write(dir.path().join("ca.crt"), ca.pem()).unwrap();
        assert!(fault().starts_with("the token file /token cannot be read: No such file"));
        std::fs::write(dir.path().join("token"), "hunter2\nhunter2\n").unwrap();
        assert_eq!(fault(), "the token file /token holds no token: it has a line break inside");
        std::fs::write(dir.path().join("token"), "hunter2\n").unwrap();
        let (config, _) = in_cluster(&account, &mut WatchedFiles::default()).unwrap();
        // With the file's path alone the client asks for the system's certificates first, and an image may have
        // none.
        assert_eq!(config.root_cert, Some(vec![ca.der().to_vec()]));
    }
}
