//! The text of a request that got no answer.

use std::error::Error;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};

use super::answer;
use super::tls::Tls;
use crate::certificate_fault;
use crate::descriptors::{present_shortage, shortage};

/// One line on the cause, without the URL, which may hold a key.
pub(super) fn describe(error: reqwest::Error, request_timeout: Duration, tls: &Tls) -> String {
    if error.is_timeout() {
        return format!("no answer within {}", humantime::format_duration(request_timeout));
    }
    // Without a more specific cause the text is reqwest's, which would name the URL.
    let error = error.without_url();
    if let Some(shortage) = shortage(&error) {
        return shortage.to_owned();
    }
    match causes(&error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(reason)) => certificate_rejected(reason, tls),
        Some(rustls::Error::InvalidMessage(_)) => {
            "its answer is no TLS: something else is at that \
             port; the URL of plain HTTP begins with http://"
                .to_owned()
        }
        Some(rustls::Error::AlertReceived(alert)) => rejected_by_server(*alert, tls),
        Some(other) => format!("TLS: {}", answer::one_line(&other.to_string())),
        // A name that could not be looked up has lost its errno.
        None if is_not_http(&error) => {
            "its answer is no HTTP: something else is at that port, such as \
             TLS, whose URL begins with https://, or gRPC"
                .to_owned()
        }
        None if error.is_connect() => {
            present_shortage().map_or_else(|| innermost(&error), str::to_owned)
        }
        None => innermost(&error),
    }
}

/// The innermost cause, without the URL. The server may have written it, at any length: HTTP/2 has
/// a field for it.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(String::new, |cause| answer::one_line(&cause.to_string()))
}

/// True if the server closed the connection before or because of the request, without an answer.
pub(super) fn closed_without_answer(error: &reqwest::Error) -> bool {
    if error.is_timeout() || error.is_connect() {
        return false;
    }
    causes(error).any(|cause| {
        let http = cause.downcast_ref::<hyper::Error>();
        let io = cause.downcast_ref::<io::Error>();
        http.is_some_and(|error| error.is_incomplete_message() || error.is_closed())
            || io.is_some_and(|error| {
                matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset
                        | io::ErrorKind::BrokenPipe
                        | io::ErrorKind::ConnectionAborted
                )
            })
    })
}

/// The text of hyper's error where a server speaks first, for which it has no method.
const UNASKED: &str = "received unexpected message from connection";

/// True if the answer does not begin as one of HTTP does.
fn is_not_http(error: &reqwest::Error) -> bool {
    let mut found = causes(error).filter_map(|cause| cause.downcast_ref::<hyper::Error>());
    found.any(|error| {
        let is_head = error.is_parse() && !error.is_parse_too_large() && !error.is_parse_status();
        is_head || error.to_string() == UNASKED
    })
}

/// The error and its causes, outermost first.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let outermost: &(dyn Error + 'static) = error;
    std::iter::successors(Some(outermost), |&cause| {
        // An io::Error hides the error that it wraps: its source is that error's source.
        match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        }
    })
}

fn certificate_rejected(reason: &CertificateError, tls: &Tls) -> String {
    match reason {
        // The second one where another CA has the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => match &tls.ca_file {
            Some(path) => {
                format!("its certificate is not signed by a CA in {}", path.display())
            }
            None => "its certificate is not signed by a CA that this system trusts; ca_file may \
                     name the file of another"
                .to_owned(),
        },
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("its certificate expired at {}", date(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("its certificate is not valid before {}", date(*not_before))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("its certificate is for {} and not for {}", names(presented), expected.to_str())
        }
        other => {
            let words = answer::one_line(&certificate_fault::words(other));
            format!("its certificate {words}")
        }
    }
}

fn date(time: UnixTime) -> String {
    let since_1970 = Duration::from_secs(time.as_secs());
    UNIX_EPOCH.checked_add(since_1970).map_or_else(
        || "an impossible time".to_owned(),
        |time| humantime::format_rfc3339_seconds(time).to_string(),
    )
}

/// The names of a certificate, which come as `DnsName("…")` and `IpAddress(…)`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, inner)| inner);
        inner.trim_end_matches(')').trim_matches('"').to_owned()
    };
    let all: Vec<String> = presented.iter().map(bare).collect();
    if all.is_empty() {
        "no name at all".to_owned()
    } else {
        // The server wrote them.
        answer::one_line(&all.join(", "))
    }
}

fn rejected_by_server(alert: AlertDescription, tls: &Tls) -> String {
    match (alert, &tls.client_certificate) {
        (
            AlertDescription::CertificateRequired
            | AlertDescription::HandshakeFailure
            | AlertDescription::BadCertificate,
            None,
        ) => "it ended the TLS handshake, which servers do that want a client certificate; \
              client_certificate_file and client_key_file name one"
            .to_owned(),
        (
            AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError,
            Some(client),
        ) => format!(
            "it refuses the client certificate in {} ({alert:?})",
            client.certificate_file.display()
        ),
        _ => format!("it ended the TLS connection: {alert:?}"),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::ResponseBuilderExt as _;

    use super::*;

    #[test]
    fn an_error_without_a_cause_is_told_without_the_url() {
        let url = "http://host/in?key=hunter2".parse().unwrap();
        let answer = hyper::Response::builder().status(404).url(url).body("").unwrap();
        let error = reqwest::Response::from(answer).error_for_status().unwrap_err();
        assert!(error.to_string().contains("hunter2"), "{error}");
        let told = describe(error, Duration::from_secs(1), &Tls::default());
        assert_eq!(told, "HTTP status client error (404 Not Found)");
    }
}
