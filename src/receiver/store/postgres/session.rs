//! A connection to the database, with its prepared statements.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, RowStream, Statement};
use tokio_rustls::TlsConnector;
use tracing::debug;

use super::address::{PostgresAddress, TlsMode};
use super::error::PostgresError;
use super::schema::{self, Flavor};
use crate::small_file;

/// The time within which a connection is made, all statements of a batch run, or a read is answered.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(20);

/// The largest file of trusted certificates.
const CA_BYTES_MAX: usize = 4 << 20;

/// The certificates that the system trusts, as they were at the start. Connections are made beside
/// posts, and to load them takes a while.
static SYSTEM_ROOTS: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();

/// The most statements that are kept prepared.
const STATEMENTS_MAX: usize = 128;

/// Settings of each connection. What is answered is on disk, whatever the role's default is. A session
/// gives its locks back where it is left alone in a transaction, and where nobody takes its answer:
/// `statement_timeout` does not end a server that waits to send.
const SETTINGS: &str = "
    SET search_path = nodetally;
    SET statement_timeout = '20s';
    SET idle_in_transaction_session_timeout = '25s';
    SELECT set_config(name, wanted, false) FROM pg_settings JOIN (VALUES
        ('plan_cache_mode', 'force_custom_plan'),
        ('tcp_user_timeout', '30s'),
        ('tcp_keepalives_idle', '30s'),
        ('tcp_keepalives_interval', '10s'),
        ('tcp_keepalives_count', '3')
    ) AS setting (known, wanted) ON name = known;
    SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') = 'off';
";

/// A setting that servers from version 14 have, and refuse on some systems. They notice then that the
/// client of a running statement has gone.
const CHECK_CLIENT: &str = "SELECT set_config(name, '5s', false) \
    FROM pg_settings WHERE name = 'client_connection_check_interval'";

/// Parameters of a statement.
pub(super) type Parameters<'a> = [&'a (dyn ToSql + Sync)];

/// A connection. It ends when this is dropped.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) flavor: Flavor,
    /// That of a request to cancel a statement.
    tls: PostgresTls,
    statements: Mutex<HashMap<String, Statement>>,
    connection: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Session {
    /// Connects, and brings the tables up to this version. The connection is served by `runtime`.
    pub(super) async fn open(
        address: &PostgresAddress,
        runtime: &Handle,
    ) -> Result<Self, PostgresError> {
        let (address, own) = (address.clone(), runtime.clone());
        let opened = runtime.spawn(async move {
            tokio::time::timeout(ANSWER_TIME, Self::connect(&address, &own)).await
        });
        let timeout = || PostgresError::Timeout(ANSWER_TIME.as_secs());
        // It is cancelled where the store is closed.
        opened.await.map_err(|_| timeout())?.map_err(|_| timeout())?
    }

    async fn connect(address: &PostgresAddress, runtime: &Handle) -> Result<Self, PostgresError> {
        let config = address.config().map_err(PostgresError::Settings)?;
        let tls = PostgresTls(TlsConnector::from(Arc::new(client_config(address)?)));
        let (client, connection) = config.connect(tls.clone()).await?;
        // Errors of the connection are those of its statements.
        let connection = runtime.spawn(async move { drop(connection.await) });
        let flavor = Flavor::default();
        let mut session = Self { client, flavor, tls, statements: Mutex::default(), connection };
        session.run(SETTINGS).await?;
        match session.run(CHECK_CLIENT).await {
            // The server cannot.
            Err(error) if !session.is_closed() => debug!("receiver: {error}"),
            other => other?,
        }
        session.flavor = schema::prepare(&mut session.client, address.wants_partitions).await?;
        Ok(session)
    }

    /// Ends the session and what it runs. The server is done with it when this returns.
    pub(super) async fn end(self) {
        let ended = async {
            if !self.is_closed() {
                // Without it the end waits for the statement.
                let _ = self.client.cancel_token().cancel_query(self.tls.clone()).await;
                let _ = self.run("ROLLBACK").await;
            }
        };
        let _ = tokio::time::timeout(ANSWER_TIME, ended).await;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    async fn prepared(&self, sql: &str) -> Result<Statement, PostgresError> {
        let known = |statements: &Mutex<HashMap<String, Statement>>| {
            statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned()
        };
        if let Some(statement) = known(&self.statements) {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        if statements.len() < STATEMENTS_MAX {
            statements.insert(sql.to_owned(), statement.clone());
        }
        Ok(statement)
    }

    pub(super) async fn query(
        &self,
        sql: &str,
        parameters: &Parameters<'_>,
    ) -> Result<Vec<Row>, PostgresError> {
        let statement = self.prepared(sql).await?;
        Ok(self.client.query(&statement, parameters).await?)
    }

    /// The rows one by one, as they come.
    pub(super) async fn query_each(
        &self,
        sql: &str,
        parameters: &Parameters<'_>,
    ) -> Result<RowStream, PostgresError> {
        let statement = self.prepared(sql).await?;
        Ok(self.client.query_raw(&statement, parameters.iter().copied()).await?)
    }

    pub(super) async fn query_opt(
        &self,
        sql: &str,
        parameters: &Parameters<'_>,
    ) -> Result<Option<Row>, PostgresError> {
        Ok(self.query(sql, parameters).await?.into_iter().next())
    }

    pub(super) async fn execute(
        &self,
        sql: &str,
        parameters: &Parameters<'_>,
    ) -> Result<u64, PostgresError> {
        let statement = self.prepared(sql).await?;
        Ok(self.client.execute(&statement, parameters).await?)
    }

    /// Statements without parameters, one after the other.
    pub(super) async fn run(&self, sql: &str) -> Result<(), PostgresError> {
        Ok(self.client.batch_execute(sql).await?)
    }
}

fn client_config(address: &PostgresAddress) -> Result<ClientConfig, PostgresError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| PostgresError::Settings(error.to_string()))?;
    if address.tls != TlsMode::VerifyFull {
        let verifier = Arc::new(AnyCertificate(provider));
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    match &address.ca_file {
        None => {
            let load = || rustls_native_certs::load_native_certs().certs;
            roots.add_parsable_certificates(SYSTEM_ROOTS.get_or_init(load).iter().cloned());
        }
        Some(path) => {
            let fault = |reason: String| {
                PostgresError::Settings(format!("sslrootcert {}: {reason}", path.display()))
            };
            let (bytes, _) =
                small_file::read(path, CA_BYTES_MAX).map_err(|error| fault(error.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&bytes) {
                let certificate = certificate.map_err(|error| fault(error.to_string()))?;
                roots.add(certificate).map_err(|error| fault(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(fault("it has no certificate".to_owned()));
            }
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Accepts whoever answers, as `sslmode=require` means it. Signatures are checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// TLS of new connections.
#[derive(Clone)]
struct PostgresTls(TlsConnector);

/// TLS of one connection to a host.
struct TlsToHost(TlsConnector, ServerName<'static>);

/// A connection with TLS.
struct Encrypted<S>(Box<tokio_rustls::client::TlsStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for PostgresTls {
    type Stream = Encrypted<S>;
    type TlsConnect = TlsToHost;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<TlsToHost, Self::Error> {
        // A unix socket has no name, and no TLS.
        let host = if host.is_empty() { "localhost" } else { host };
        Ok(TlsToHost(self.0.clone(), ServerName::try_from(host.to_owned())?))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for TlsToHost {
    type Stream = Encrypted<S>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Encrypted<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move { Ok(Encrypted(Box::new(self.0.connect(self.1, stream).await?))) })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
