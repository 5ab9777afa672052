//! The ways in: a service account whose token rotates, a kubeconfig with each kind of credentials.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nodetally::directory::kubernetes::{ApiAccess, KubernetesOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::directory_kubernetes::{Setup, Source, in_cluster, options};
use crate::support::api_server::{Answer, ApiServer, Route};

#[tokio::test]
async fn a_token_that_rotates_is_read_again() {
    let mut setup = Setup::new().await;
    setup.server.accept_tokens(&["the-token"]);
    let source = setup.source();
    let watch = setup.server.next_watch().await;
    source.well().await;

    setup.pki.service_account(setup.folder.path(), "the-next-token");
    setup.server.accept_tokens(&["the-next-token"]);
    drop(watch);
    setup.server.next_watch().await;
    let catalog = source.directory.catalog();
    assert!(catalog.sources[0].last_error.is_none(), "{:?}", catalog.sources);
    let refused = setup.server.log().into_iter().filter(|logged| {
        logged.path_and_query.contains("watch=true")
            && logged.authorization.as_deref() == Some("Bearer the-token")
    });
    // The first watch; the file is looked at before each request, so the next one has the new token.
    assert_eq!(refused.count(), 1);
    assert_eq!(setup.server.requests_for(Route::List).len(), 1);
}

#[tokio::test]
async fn a_401_before_the_first_list_is_not_logged_if_the_next_answer_is_good() {
    let setup = Setup::new().await;
    setup.server.script(Route::List, [Answer::recorded("401-bad-token")]);
    let source = setup.source();
    let mut changes = source.directory.changes();
    let well = changes.wait_for(|catalog| {
        assert!(catalog.sources[0].last_error.is_none(), "{:?}", catalog.sources);
        catalog.pods().len() == 8
    });
    tokio::time::timeout(crate::directory_kubernetes::PATIENCE, well).await.unwrap().unwrap();
}

/// `user` is YAML below `user:`.
pub fn kubeconfig(folder: &Path, server: &ApiServer, ca: &str, user: &str) -> PathBuf {
    let (ca_file, path) = (folder.join("cluster.pem"), folder.join("kubeconfig"));
    std::fs::write(&ca_file, ca).unwrap();
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         contexts: [{{name: here, context: {{cluster: lab, user: agent}}}}]\n\
         clusters:\n- name: lab\n  cluster: {{server: 'https://{}', certificate-authority: '{}'}}\n\
         users:\n- name: agent\n  user:\n{user}\n",
        server.address,
        ca_file.display(),
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn a_kubeconfig_with_a_client_certificate() {
    let setup = Setup::new().await;
    setup.server.accept_tokens(&[]);
    let (certificate, key) = setup.pki.certificate(&["agent"]);
    let folder = setup.folder.path();
    std::fs::write(folder.join("agent.pem"), certificate).unwrap();
    std::fs::write(folder.join("agent.key"), key).unwrap();
    let (certificate, key) = (folder.join("agent.pem"), folder.join("agent.key"));
    let user = format!(
        "    client-certificate: '{}'\n    client-key: '{}'",
        certificate.display(),
        key.display()
    );
    let path = kubeconfig(folder, &setup.server, &setup.pki.ca_pem(), &user);
    let source = Source::start(options(ApiAccess::Kubeconfig(path)));
    assert_eq!(source.well().await.pods().len(), 8);
    assert!(setup.server.log().iter().all(|logged| logged.certificate));
}

#[tokio::test]
async fn a_kubeconfig_with_a_token() {
    let setup = Setup::new().await;
    setup.server.accept_tokens(&["from-the-kubeconfig"]);
    let user = "    token: from-the-kubeconfig";
    let path = kubeconfig(setup.folder.path(), &setup.server, &setup.pki.ca_pem(), user);
    let source = Source::start(options(ApiAccess::Kubeconfig(path.clone())));
    source.well().await;
    drop(source);

    setup.server.accept_tokens(&["another"]);
    let source = Source::start(options(ApiAccess::Kubeconfig(path.clone())));
    let error = source.error("401").await;
    assert!(error.text.contains(&*path.display().to_string()), "{}", error.text);
    assert!(!error.text.contains("from-the-kubeconfig"));
}

/// A proxy that leads every tunnel to `server`. It returns the head of each request.
async fn tunnel_to(server: SocketAddr) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let heads = heads.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let _ = heads.send(String::from_utf8(head).unwrap().to_lowercase());
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let mut server = TcpStream::connect(server).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, received)
}

/// The server's name cannot be looked up, so nobody but the proxy leads there.
#[tokio::test]
async fn a_kubeconfig_with_a_proxy() {
    let setup = Setup::new().await;
    setup.server.accept_tokens(&["the-token"]);
    let (proxy, mut heads) = tunnel_to(setup.server.address).await;
    let user = "    token: the-token";
    let path = kubeconfig(setup.folder.path(), &setup.server, &setup.pki.ca_pem(), user);
    let cluster = format!(
        "{{proxy-url: 'http://agent:hunter%202@{proxy}', tls-server-name: 127.0.0.1, \
         server: 'https://api.invalid:6443', "
    );
    let text = std::fs::read_to_string(&path).unwrap();
    let direct = format!("{{server: 'https://{}', ", setup.server.address);
    std::fs::write(&path, text.replace(&direct, &cluster)).unwrap();
    let source = Source::start(options(ApiAccess::Kubeconfig(path.clone())));
    assert_eq!(source.well().await.pods().len(), 8);
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("connect api.invalid:6443 http/1.1\r\n"), "{head}");
    // base64 of `agent:hunter 2`, in lower case as the whole head.
    assert!(head.contains("proxy-authorization: basic ywdlbnq6ahvudgvyidi="), "{head}");
    assert!(!head.contains("the-token"), "the proxy sees no credentials: {head}");
    drop(source);

    let text = std::fs::read_to_string(&path).unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    std::fs::write(&path, text.replace(&proxy.to_string(), &nobody.to_string())).unwrap();
    let source = Source::start(options(ApiAccess::Kubeconfig(path)));
    let error = source.error("refuses the connection").await;
    assert!(!error.text.contains("hunter"), "{}", error.text);
}

#[tokio::test]
async fn a_kubeconfig_with_an_exec_plugin() {
    let setup = Setup::new().await;
    setup.server.accept_tokens(&["from-the-plugin"]);
    let folder = setup.folder.path();
    let plugin = folder.join("credentials");
    // Moved into place whole: what is open for writing cannot be run.
    let write = |script: &str| {
        let new = folder.join("credentials.new");
        std::fs::write(&new, script).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&new, &plugin).unwrap();
    };
    write(
        "#!/bin/sh\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\
         \"kind\":\"ExecCredential\",\"status\":{\"token\":\"from-the-plugin\"}}'\n",
    );
    let user = format!(
        "    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: '{}'\n      \
         interactiveMode: Never",
        plugin.display()
    );
    let path = kubeconfig(folder, &setup.server, &setup.pki.ca_pem(), &user);
    let source = Source::start(options(ApiAccess::Kubeconfig(path.clone())));
    assert_eq!(source.well().await.pods().len(), 8);
    drop(source);

    write("#!/bin/sh\necho a-secret\nexit 3\n");
    let source = Source::start(options(ApiAccess::Kubeconfig(path)));
    let error = source.error("exec plugin").await;
    assert!(error.text.ends_with("failed: exit status: 3"), "{}", error.text);
    assert!(!error.text.contains("a-secret"));
}

#[tokio::test]
async fn a_token_that_no_header_may_hold_is_an_error_and_a_mended_one_is_used() {
    let mut setup = Setup::new().await;
    setup.server.accept_tokens(&["the-token"]);
    // The last wait is long, so that only a look at the file can end it.
    let patient = |access| KubernetesOptions {
        backoff_min: Duration::from_secs(600),
        backoff_max: Duration::from_secs(600),
        ..options(access)
    };
    let folder = setup.folder.path().to_owned();
    setup.pki.service_account(&folder, "the-\ntoken");
    let source = Source::start(patient(in_cluster(&folder, &setup.server)));
    let error = source.error("holds no token").await;
    assert!(error.text.ends_with("it has a line break inside"), "{}", error.text);
    setup.pki.service_account(&folder, "the-token\n");
    source.well().await;
    drop((source, setup.server.next_watch().await));

    for (user, mended) in [
        ("    token: \"the-\\ntoken\"", "    token: \"the-token\\n\""),
        ("    tokenFile: bad", "    tokenFile: token"),
    ] {
        std::fs::write(folder.join("bad"), "the- token").unwrap();
        let path = kubeconfig(&folder, &setup.server, &setup.pki.ca_pem(), user);
        let source = Source::start(patient(ApiAccess::Kubeconfig(path.clone())));
        let error = source.error("holds no token").await;
        assert!(error.text.contains(&*path.display().to_string()), "{}", error.text);
        assert!(!error.text.contains("the-"), "{}", error.text);
        kubeconfig(&folder, &setup.server, &setup.pki.ca_pem(), mended);
        source.well().await;
    }
}

#[tokio::test]
async fn a_rotated_token_is_noticed_while_the_source_waits() {
    let setup = Setup::new().await;
    setup.server.accept_tokens(&["the-next-token"]);
    let access = in_cluster(setup.folder.path(), &setup.server);
    let source = Source::start(KubernetesOptions {
        backoff_min: Duration::from_secs(600),
        backoff_max: Duration::from_secs(600),
        ..options(access)
    });
    source.error("401").await;
    setup.pki.service_account(setup.folder.path(), "the-next-token");
    source.well().await;
}

#[tokio::test]
async fn a_token_that_the_server_repeats_is_shown_nowhere() {
    let setup = Setup::new().await;
    let token = "eyJhbGciOi.hunter2-hunter2.c2ln";
    setup.pki.service_account(setup.folder.path(), token);
    let long = format!("{}Bearer {token}", "x".repeat(140));
    for (status, said) in [
        (500, format!("{{\"kind\":\"Status\",\"code\":500,\"message\":\"bad {token}\"}}")),
        (
            403,
            format!(
                "{{\"kind\":\"Status\",\"code\":403,\"message\":\"User \\\"{token}\\\" cannot\"}}"
            ),
        ),
        (502, format!("<html>authorization: bearer {}", token.to_uppercase())),
        // Cut within the token.
        (503, long),
    ] {
        setup.server.script(Route::List, [Answer::json(said).status(status)]);
        let source = setup.source();
        let shown = source.until("an error", |catalog| catalog.sources[0].last_error.is_some());
        let error = shown.await.sources[0].last_error.clone().unwrap();
        let text = error.text.to_lowercase();
        assert!(text.contains("(hidden)"), "{status}: {text}");
        assert!(!text.contains("hunter2") && !text.contains("eyjh"), "{status}: {text}");
    }
}

#[tokio::test]
async fn a_kubeconfig_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    let source = Source::start(options(ApiAccess::Kubeconfig(path.clone())));
    let error = source.error("kubeconfig").await;
    assert!(error.text.contains("No such file"), "{}", error.text);
    drop(source);
    std::fs::write(&path, "users: [{token: hunter2").unwrap();
    let source = Source::start(options(ApiAccess::Kubeconfig(path)));
    let error = source.error("no YAML of a kubeconfig").await;
    assert!(!error.text.contains("hunter2"));
}
