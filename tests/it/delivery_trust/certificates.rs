//! Who the server must be, and who the agent is to it.

use std::path::Path;
use std::time::Duration;

use nodetally::delivery::{self, ClientCertificate, DeliverySettings};
use rcgen::{KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::delivery_trust::authority::{Ca, Signed};
use crate::delivery_trust::server::{Reply, Server, Way};
use crate::delivery_trust::{
    PATIENCE, listen, offer, quick, replace, run, until, until_settled, write,
};

async fn created(way: Way) -> Server {
    Server::start(way, |_| Reply::status(201)).await
}

/// Spoken to with the roots of `ca` alone.
fn trusting(ca: &Ca, dir: &Path, url: &str) -> DeliverySettings {
    let mut settings = quick(url);
    settings.trust.tls.ca_file = Some(ca.file(dir));
    settings
}

/// Why there is no answer, in one line.
async fn refused(settings: &DeliverySettings) -> String {
    let reason =
        timeout(PATIENCE, delivery::probe(settings)).await.unwrap().unwrap_err().to_string();
    assert!(!reason.contains('\n'), "{reason}");
    reason
}

fn shown(signed: &Signed, dir: &Path) -> ClientCertificate {
    let files = ClientCertificate {
        certificate_file: dir.join("client.pem"),
        key_file: dir.join("client.key"),
    };
    write(&files.certificate_file, &signed.certificate);
    write(&files.key_file, &signed.key);
    files
}

#[tokio::test]
async fn a_private_ca_is_trusted_and_another_of_the_same_name_is_not() {
    let dir = TempDir::new().unwrap();
    let ca = Ca::called("office");
    let server = created(Way::tls(ca.serves("127.0.0.1"))).await;
    let settings = trusting(&ca, dir.path(), &server.url());
    let handle = run(settings.clone());
    offer(&handle, 1, 3, "body");
    assert_eq!(until_settled(&handle).await.accepted_posts, 3);
    assert_eq!(delivery::probe(&settings).await.unwrap(), 201);

    for name in ["office", "street"] {
        let other = Ca::called(name);
        let server = created(Way::tls(other.serves("127.0.0.1"))).await;
        let reason = refused(&trusting(&ca, dir.path(), &server.url())).await;
        let file = dir.path().join("ca.pem");
        let expected = format!("its certificate is not signed by a CA in {}", file.display());
        assert_eq!(reason, expected, "signed by {name}");
        assert!(server.seen().is_empty());
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_or_another_time_is_refused_in_words() {
    let dir = TempDir::new().unwrap();
    let ca = Ca::called("office");
    let named = ca.signs("metrics.example.com", |_| {});
    let expired = ca.signs("127.0.0.1", |params| params.not_after = date_time_ymd(2020, 2, 3));
    let early = ca.signs("127.0.0.1", |params| params.not_before = date_time_ymd(3020, 2, 3));
    for (signed, words) in [
        (named, "its certificate is for metrics.example.com and not for 127.0.0.1"),
        (expired, "its certificate expired at 2020-02-03T00:00:00Z"),
        (early, "its certificate is not valid before 3020-02-03T00:00:00Z"),
    ] {
        let server = created(Way::tls(signed.serves(None))).await;
        let mut settings = trusting(&ca, dir.path(), &server.url());
        assert_eq!(refused(&settings).await, words);
        // The worker says it as the reason, once.
        let (lines, _guard) = listen();
        settings.request_timeout = Duration::from_secs(20);
        let handle = run(settings);
        offer(&handle, 1, 1, "body");
        until(&handle, "tried twice", |figures| figures.unanswered >= 2).await;
        assert_eq!(lines.containing(words).len(), 1, "{lines:?}", lines = lines.all());
        assert!(server.seen().is_empty());
    }
}

#[tokio::test]
async fn a_certificate_that_signed_itself_is_refused_with_what_to_do_and_trusted_once_named() {
    let dir = TempDir::new().unwrap();
    for (is_ca, unnamed) in [(true, "CA:FALSE"), (false, "ca_file may name the file")] {
        let own = Signed::by_itself("127.0.0.1", is_ca);
        let server = created(Way::tls(own.serves(None))).await;
        let mut settings = quick(&server.url());
        // Without ca_file: whatever this system trusts.
        let reason = refused(&settings).await;
        assert!(!reason.contains("Other(") && !reason.contains("CaUsed"), "{reason}");
        assert!(reason.contains(unnamed) || reason.contains("ca_file"), "{reason}");
        let file = dir.path().join(format!("{is_ca}.pem"));
        write(&file, &own.certificate);
        settings.trust.tls.ca_file = Some(file);
        if is_ca {
            let reason = refused(&settings).await;
            assert!(reason.contains("is a CA's") && reason.contains("CA:FALSE"), "{reason}");
        } else {
            assert_eq!(delivery::probe(&settings).await.unwrap(), 201, "as the text says");
        }
    }
}

#[tokio::test]
async fn a_server_name_is_asked_for_and_verified_while_the_address_is_the_urls() {
    let dir = TempDir::new().unwrap();
    let ca = Ca::called("office");
    for http2 in [false, true] {
        let tls = Some(ca.serves("metrics.internal"));
        let server = created(Way { tls, http2, ..Way::default() }).await;
        for host in ["127.0.0.1", "localhost"] {
            let mut settings = trusting(&ca, dir.path(), &server.url_of(host));
            assert!(refused(&settings).await.starts_with("its certificate is for"));
            settings.trust.tls.server_name = Some("metrics.internal".to_owned());
            assert_eq!(delivery::probe(&settings).await.unwrap(), 201);
            let seen = server.seen().pop().unwrap();
            assert_eq!(seen.of.server_name.as_deref(), Some("metrics.internal"));
            settings.trust.tls.server_name = Some("else.internal".to_owned());
            let reason = refused(&settings).await;
            assert_eq!(reason, "its certificate is for metrics.internal and not for else.internal");
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_sent_and_a_missing_or_unknown_one_is_logged() {
    let dir = TempDir::new().unwrap();
    let (ca, strangers) = (Ca::called("office"), Ca::called("street"));
    let server = created(Way::tls(ca.signs("127.0.0.1", |_| {}).serves(Some(&ca)))).await;
    let mut settings = trusting(&ca, dir.path(), &server.url());
    let reason = refused(&settings).await;
    assert!(reason.contains("client_certificate_file and client_key_file"), "{reason}");

    let files = shown(&strangers.signs("agent", |_| {}), dir.path());
    settings.trust.tls.client_certificate = Some(files);
    let reason = refused(&settings).await;
    let path = dir.path().join("client.pem");
    let start = format!("it refuses the client certificate in {} (", path.display());
    assert!(reason.starts_with(&start), "{reason}");
    assert!(server.seen().is_empty());

    settings.trust.tls.client_certificate = Some(shown(&ca.signs("agent", |_| {}), dir.path()));
    let handle = run(settings);
    offer(&handle, 1, 2, "body");
    assert_eq!(until_settled(&handle).await.accepted_posts, 2);
    assert!(server.seen().iter().all(|seen| seen.of.has_certificate));
}

#[tokio::test]
async fn beside_the_key_and_the_chain_nothing_in_their_files_counts() {
    let dir = TempDir::new().unwrap();
    let ca = Ca::called("office");
    let server = created(Way::tls(ca.signs("127.0.0.1", |_| {}).serves(Some(&ca)))).await;
    let key = KeyPair::generate().unwrap();
    let expired =
        ca.signs_key(&key, "agent", |params| params.not_after = date_time_ymd(2020, 2, 3));
    let (signed, other) = (ca.signs_key(&key, "agent", |_| {}), ca.signs("other", |_| {}));
    let mut settings = trusting(&ca, dir.path(), &server.url());
    let files = shown(&signed, dir.path());
    settings.trust.tls.client_certificate = Some(files.clone());
    for (certificate_file, key_file) in [
        // As tools write them that put both into one file; only the key was renewed in its own.
        (signed.certificate.clone(), signed.key.clone() + &expired.certificate),
        (signed.certificate.clone(), expired.certificate + &signed.key),
        (signed.certificate.clone() + &other.key, signed.key.clone()),
        (other.key + &signed.certificate, signed.key.clone() + &other.certificate),
    ] {
        write(&files.certificate_file, &certificate_file);
        write(&files.key_file, &key_file);
        assert_eq!(delivery::probe(&settings).await.unwrap(), 201);
        assert!(server.seen().pop().unwrap().of.has_certificate);
    }
}

#[tokio::test]
async fn certificates_that_are_exchanged_are_used_and_half_of_a_pair_is_waited_out() {
    let dir = TempDir::new().unwrap();
    let (ca, next) = (Ca::called("office"), Ca::called("next office"));
    let server = created(Way::tls(ca.signs("127.0.0.1", |_| {}).serves(Some(&ca)))).await;
    let mut settings = trusting(&ca, dir.path(), &server.url());
    let files = shown(&ca.signs("agent", |_| {}), dir.path());
    settings.trust.tls.client_certificate = Some(files.clone());
    let (lines, _guard) = listen();
    let handle = run(settings);
    offer(&handle, 1, 1, "body");
    until_settled(&handle).await;

    // The key first: it fits no certificate, and what was there goes on.
    let signed = ca.signs("agent", |_| {});
    replace(&files.key_file, &signed.key);
    let mut number = 2;
    let mut post_until = async |part: &str| {
        let begin = std::time::Instant::now();
        while lines.containing(part).is_empty() {
            assert!(begin.elapsed() < PATIENCE, "not told: {part}: {:?}", lines.all());
            offer(&handle, number, 1, "body");
            number += 1;
            until_settled(&handle).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    post_until("the previous certificates stay in use").await;
    let told = lines.containing("stay in use");
    assert_eq!(
        told,
        [format!(
            "WARN endpoint central: the client key file {} cannot be used with the certificate in \
             {}: it is the key of another one; the previous certificates stay in use",
            files.key_file.display(),
            files.certificate_file.display()
        )]
    );
    replace(&files.certificate_file, &signed.certificate);
    post_until("its certificates were rotated, the new ones are in use").await;

    // Both ends move to another CA.
    let moved = created(Way::tls(next.serves("127.0.0.1"))).await;
    let mut elsewhere = quick(&moved.url());
    elsewhere.trust.tls.ca_file = Some(dir.path().join("ca.pem"));
    let other = run(elsewhere);
    offer(&other, 1, 1, "body");
    until(&other, "refused", |figures| figures.unanswered >= 1).await;
    replace(&dir.path().join("ca.pem"), &next.pem);
    assert_eq!(until_settled(&other).await.accepted_posts, 1);
    assert!(handle.statistics(&crate::delivery_trust::moment(0)).dropped_posts.total() == 0);
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_with_what_is_wrong() {
    let dir = TempDir::new().unwrap();
    let ca = Ca::called("office");
    let (pem, key) = (dir.path().join("client.pem"), dir.path().join("client.key"));
    let signed = ca.signs("agent", |_| {});
    let with = |change: &dyn Fn(&mut DeliverySettings)| {
        let mut settings = trusting(&ca, dir.path(), "https://metrics.example.com");
        change(&mut settings);
        settings.trust.check(&settings.url).map_err(|error| error.to_string())
    };
    assert_eq!(with(&|_| {}), Ok(()));

    let ca_file = dir.path().join("other-ca.pem");
    let with_ca = || with(&|settings| settings.trust.tls.ca_file = Some(ca_file.clone()));
    let error = with_ca().unwrap_err();
    let name = format!("the CA file {}", ca_file.display());
    assert_eq!(error, format!("{name} cannot be read: No such file or directory (os error 2)"));
    for (text, words) in [
        ("", "holds no certificate (PEM)"),
        ("hunter2", "holds no certificate (PEM)"),
        (&signed.key, "holds no certificate (PEM)"),
        ("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "is no PEM"),
        ("-----BEGIN CERTIFICATE-----\naGk=\n-----END CERTIFICATE-----\n", "certificate 1 is none"),
    ] {
        write(&ca_file, text);
        let error = with_ca().unwrap_err();
        assert!(error.starts_with(&name) && error.contains(words), "{error}");
        assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
    }

    let pair = ClientCertificate { certificate_file: pem.clone(), key_file: key.clone() };
    let with_pair = || with(&|settings| settings.trust.tls.client_certificate = Some(pair.clone()));
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\naGk=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let another = ca.signs("agent", |_| {}).key;
    for (certificate, key_text, file, words) in [
        (&*signed.certificate, "hunter2", &key, "holds no private key (PEM)"),
        (&signed.certificate, encrypted, &key, "is encrypted; allowed: a key without a passphrase"),
        (&signed.certificate, &another, &key, "it is the key of another one"),
        ("hunter2", &signed.key, &pem, "holds no certificate (PEM)"),
    ] {
        write(&pem, certificate);
        write(&key, key_text);
        let error = with_pair().unwrap_err();
        assert!(error.contains(&*file.to_string_lossy()) && error.ends_with(words), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    write(&pem, &signed.certificate);
    write(&key, &signed.key);
    assert_eq!(with_pair(), Ok(()));
}
