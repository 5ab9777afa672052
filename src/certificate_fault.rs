//! The reason why a server's certificate is refused, in words, with what to do.

use rustls::{CertificateError, OtherError};

/// The rest of a sentence that begins with "its certificate". A certificate of another CA, of another
/// name or of another time has words of its own where it is known who was asked.
pub(crate) fn words(reason: &CertificateError) -> String {
    let words = match reason {
        CertificateError::BadEncoding => "is damaged, or none of X.509 version 3: issue it anew",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired, or this host's clock is wrong"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet, or this host's clock is wrong"
        }
        CertificateError::Revoked => "is revoked: the server needs another one",
        CertificateError::UnhandledCriticalExtension => {
            "has a critical extension that is not known here: issue it without that"
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is not signed by a CA that is trusted here: name the file of its CA"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for other names than the one that was asked: issue it with that name in \
             subjectAltName, or ask by one of its names"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for servers: issue it with serverAuth in extendedKeyUsage"
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            OLD_SIGNATURE
        }
        CertificateError::Other(OtherError(cause)) => match cause.to_string().as_str() {
            "CaUsedAsEndEntity" => {
                "is a CA's, as `openssl req -x509` makes it, and no CA may be a server: make it with \
                 `-addext basicConstraints=critical,CA:FALSE` and name it as the CA file, or sign one \
                 for the server with it"
            }
            "EndEntityUsedAsCa" => {
                "is signed by one that is no CA's: sign it with a certificate that has CA:TRUE"
            }
            "UnsupportedCertVersion" => {
                "is of X.509 version 1: issue it as version 3, with subjectAltName"
            }
            "NameConstraintViolation" => {
                "has a name that its CA may not sign (nameConstraints): issue it by another CA"
            }
            "PathLenConstraintViolated" => {
                "has more CAs above it than they allow (pathlen): issue it by a higher CA"
            }
            "SignatureAlgorithmMismatch" => "says two algorithms for one signature: issue it anew",
            other => return format!("is refused: {other}"),
        },
        // Former forms of the two above have no words of their own for what they mean.
        other if format!("{other:?}").starts_with("UnsupportedSignatureAlgorithm") => OLD_SIGNATURE,
        other => return format!("is refused: {other}"),
    };
    words.to_owned()
}

const OLD_SIGNATURE: &str =
    "is signed in a way that is too old or not known here, such as SHA-1: issue it with SHA-256";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// An error of the verifier, whose text is its name.
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Named(&'static str);

    #[test]
    fn every_kind_is_in_words_that_say_what_to_do() {
        let other = |name| CertificateError::Other(OtherError(Arc::new(Named(name))));
        for (reason, expected) in [
            (CertificateError::BadEncoding, "issue it anew"),
            (CertificateError::Expired, "clock"),
            (CertificateError::NotValidYet, "clock"),
            (CertificateError::Revoked, "another one"),
            (CertificateError::UnknownIssuer, "name the file of its CA"),
            (CertificateError::NotValidForName, "subjectAltName"),
            (CertificateError::InvalidPurpose, "serverAuth"),
            (CertificateError::UnhandledCriticalExtension, "without that"),
            (other("CaUsedAsEndEntity"), "CA:FALSE"),
            (other("EndEntityUsedAsCa"), "CA:TRUE"),
            (other("UnsupportedCertVersion"), "version 3"),
            (other("NameConstraintViolation"), "nameConstraints"),
            (other("PathLenConstraintViolated"), "pathlen"),
            (other("SomethingNew"), "is refused: SomethingNew"),
        ] {
            let words = words(&reason);
            assert!(words.contains(expected), "{words}");
            assert!(!words.contains("Other("), "{words}");
        }
    }
}
