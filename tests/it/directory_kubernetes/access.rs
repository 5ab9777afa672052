//! The ways in: a service account whose token rotates, a kubeconfig with each kind of credentials.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nodetally::directory::kubernetes::ApiAccess;

use crate::directory_kubernetes::{Setup, Source, options};
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
    // The first watch, and the one that was answered with 401.
    assert_eq!(refused.count(), 2);
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
