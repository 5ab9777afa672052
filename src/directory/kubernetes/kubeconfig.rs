//! Kubeconfigs: the file and the files that it names, read within limits, and the credentials in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kube::config::{AuthInfo, Config, Kubeconfig, KubeconfigError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;

use super::credentials::Credentials;
use super::error::excerpt;
use super::files::WatchedFiles;
use super::{plugin, proxy};
use crate::small_file;

/// The largest kubeconfig, and the largest file that it names, in bytes.
const FILE_BYTES_MAX: usize = 4 << 20;

/// The longest URL of a server, in bytes. With the path of a request behind it, it must stay below the
/// 64 KiB that a URL may have: the client library panics beyond.
const SERVER_BYTES_MAX: usize = 2048;

/// The secrets of a user, which the client library hides.
#[derive(Deserialize, Default)]
struct UserSecrets {
    token: Option<String>,
    password: Option<String>,
}

/// The settings of a client and its credentials, from the kubeconfig at `path`. Blocks the thread
/// while files are read and a plugin runs.
///
/// # Errors
/// One line that names what is wrong, without secrets.
pub(super) fn read(
    path: &Path,
    plugin_time_max: Duration,
    files: &mut WatchedFiles,
) -> Result<(Config, Credentials), String> {
    let text = read_file(path, files)?;
    let mut kubeconfig = parse(&text)?;
    if let Some(folder) = path.parent() {
        make_absolute(&mut kubeconfig, folder);
    }
    read_authority(&mut kubeconfig, files)?;
    let mut config = config_of(kubeconfig, |name| std::env::var(name).ok())?;
    let credentials = take_credentials(&mut config, plugin_time_max, files)?;
    Ok((config, credentials))
}

fn read_file(path: &Path, files: &mut WatchedFiles) -> Result<Vec<u8>, String> {
    files.add(path);
    let read = small_file::read(path, FILE_BYTES_MAX);
    let (bytes, _) = read.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    Ok(bytes)
}

/// The kubeconfig in a file's bytes.
///
/// # Errors
/// The bytes are no kubeconfig. The text repeats nothing of them, since they may hold a key.
pub fn parse(bytes: &[u8]) -> Result<Kubeconfig, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Kubeconfig::from_yaml(text).map_err(|error| reason(&error))
}

/// The error without the text of the kubeconfig, which may hold a key.
fn reason(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        KubeconfigError::Parse(_) => "it is no YAML of a kubeconfig".to_owned(),
        other => excerpt(&other.to_string()),
    }
}

/// Paths in a kubeconfig are relative to its own folder. A plugin's command without a slash is looked
/// up in `PATH`.
fn make_absolute(kubeconfig: &mut Kubeconfig, folder: &Path) {
    let absolute = |path: &mut Option<String>| {
        let joined = path.as_ref().map(|path| folder.join(path));
        if let Some(joined) = joined.and_then(|joined| joined.into_os_string().into_string().ok()) {
            *path = Some(joined);
        }
    };
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        absolute(&mut cluster.certificate_authority);
    }
    for user in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        absolute(&mut user.client_certificate);
        absolute(&mut user.client_key);
        absolute(&mut user.token_file);
        if let Some(exec) = &mut user.exec
            && exec.command.as_ref().is_some_and(|command| command.contains('/'))
        {
            absolute(&mut exec.command);
        }
    }
}

/// Reads the CA file of the current context, as the client library would without a limit.
fn read_authority(kubeconfig: &mut Kubeconfig, files: &mut WatchedFiles) -> Result<(), String> {
    let current = kubeconfig.current_context.as_ref();
    let context = kubeconfig.contexts.iter().find(|named| Some(&named.name) == current);
    let Some(context) = context.and_then(|named| named.context.as_ref()) else { return Ok(()) };
    let name = context.cluster.clone();
    for named in kubeconfig.clusters.iter_mut().filter(|named| named.name == name) {
        let Some(cluster) = &mut named.cluster else { continue };
        if cluster.certificate_authority_data.is_none()
            && let Some(path) = cluster.certificate_authority.take()
        {
            let pem = read_file(Path::new(&path), files)?;
            cluster.certificate_authority_data = Some(BASE64_STANDARD.encode(pem));
        }
    }
    Ok(())
}

/// The settings of the current context. The client library would read proxies from variables itself,
/// fail at an odd `NO_PROXY`, and repeat a proxy's password in errors.
fn config_of(
    kubeconfig: Kubeconfig,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Config, String> {
    let missing = |error: KubeconfigError| reason(&error);
    let Kubeconfig { contexts, clusters, auth_infos, current_context, .. } = kubeconfig;
    let name = current_context.ok_or_else(|| missing(KubeconfigError::CurrentContextNotSet))?;
    let context = contexts.into_iter().find(|named| named.name == name);
    let context = context.and_then(|named| named.context);
    let context = context.ok_or_else(|| missing(KubeconfigError::LoadContext(name)))?;
    let cluster = clusters.into_iter().find(|named| named.name == context.cluster);
    let cluster = cluster.and_then(|named| named.cluster);
    let cluster =
        cluster.ok_or_else(|| missing(KubeconfigError::LoadClusterOfContext(context.cluster)))?;
    // As with kubectl, a missing user has no credentials.
    let user = auth_infos.into_iter().find(|named| Some(&named.name) == context.user.as_ref());
    let mut user = user.and_then(|named| named.auth_info).unwrap_or_default();
    if let Some(exec) = user.exec.as_mut().filter(|exec| exec.provide_cluster_info) {
        exec.cluster = Some((&cluster).try_into().map_err(missing)?);
    }
    let url = cluster.server.ok_or_else(|| missing(KubeconfigError::MissingClusterUrl))?;
    let url = url.parse().map_err(|error| missing(KubeconfigError::ParseClusterUrl(error)))?;
    let mut config = Config::new(url);
    config.root_cert =
        cluster.certificate_authority_data.as_deref().map(certificates).transpose()?;
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or(false);
    config.disable_compression = cluster.disable_compression.unwrap_or(false);
    config.tls_server_name = cluster.tls_server_name;
    config.auth_info = user;
    let url = &config.cluster_url;
    let is_http = matches!(url.scheme_str(), Some("http" | "https"));
    if !is_http || url.host().is_none_or(str::is_empty) {
        return Err("its `server` is no URL like https://host:6443".to_owned());
    }
    if url.to_string().len() > SERVER_BYTES_MAX {
        return Err(format!("its `server` is longer than {SERVER_BYTES_MAX} bytes"));
    }
    config.proxy_url = match cluster.proxy_url.filter(|url| !url.is_empty()) {
        Some(url) => Some(proxy::of_cluster(&url)?),
        None => proxy::of_variables(url, variable)?,
    };
    Ok(config)
}

/// The certificates (DER) of `certificate-authority-data`.
fn certificates(data: &str) -> Result<Vec<Vec<u8>>, String> {
    let unusable = |what: &str| format!("its certificate-authority cannot be used: {what}");
    let pem = BASE64_STANDARD.decode(data).map_err(|_| unusable("it is no base64"))?;
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&pem).map(|one| one.map(|one| one.to_vec())).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(unusable("it holds no certificate (PEM)")),
    }
}

/// Takes the credentials out of the settings: the client library panics on a token that no header may
/// hold. Certificates stay in them, as data.
fn take_credentials(
    config: &mut Config,
    plugin_time_max: Duration,
    files: &mut WatchedFiles,
) -> Result<Credentials, String> {
    let user = std::mem::take(&mut config.auth_info);
    config.auth_info = AuthInfo {
        impersonate: user.impersonate.clone(),
        impersonate_uid: user.impersonate_uid.clone(),
        impersonate_groups: user.impersonate_groups.clone(),
        impersonate_user_extra: user.impersonate_user_extra.clone(),
        client_certificate_data: user.client_certificate_data.clone(),
        client_key_data: user.client_key_data.clone(),
        ..AuthInfo::default()
    };
    let pem_of = |path: &Option<String>, files: &mut WatchedFiles| {
        let pem = path.as_ref().map(|path| read_file(Path::new(path), files)).transpose()?;
        Ok::<_, String>(pem.map(|pem| BASE64_STANDARD.encode(pem)))
    };
    if user.client_certificate_data.is_none() {
        config.auth_info.client_certificate_data = pem_of(&user.client_certificate, files)?;
    }
    if user.client_key_data.is_none() {
        config.auth_info.client_key_data = pem_of(&user.client_key, files)?.map(Into::into);
    }
    let secrets = serde_json::to_value(&user).and_then(serde_json::from_value::<UserSecrets>);
    let secrets = secrets.unwrap_or_default();
    let no_token = |key: &str| {
        let key = key.to_owned();
        move |fault| format!("its `{key}` holds no token: {fault}")
    };
    if let Some(provider) = &user.auth_provider {
        let found = ["id-token", "access-token"]
            .into_iter()
            .find_map(|key| Some((key, provider.config.get(key)?)));
        let (key, token) = found.ok_or_else(|| {
            format!(
                "its auth-provider `{}` has no token; a plugin under `exec` can give one",
                excerpt(&provider.name)
            )
        })?;
        return Credentials::of_text(token).map_err(no_token(key));
    }
    if let (Some(name), Some(password)) = (&user.username, &secrets.password) {
        return Ok(Credentials::basic(name, password));
    }
    if let Some(token) = &secrets.token {
        return Credentials::of_text(token).map_err(no_token("token"));
    }
    if let Some(path) = &user.token_file {
        files.add(Path::new(path));
        return Credentials::of_file(PathBuf::from(path)).map_err(|error| error.to_string());
    }
    let Some(exec) = &user.exec else { return Ok(Credentials::default()) };
    let command = excerpt(exec.command.as_deref().unwrap_or_default());
    let of_plugin = |what: String| format!("its exec plugin `{command}` {what}");
    let given = plugin::run(exec, plugin_time_max).map_err(|error| of_plugin(error.to_string()))?;
    if let Some((certificate, key)) = &given.certificate {
        config.auth_info.client_certificate_data = Some(BASE64_STANDARD.encode(certificate));
        config.auth_info.client_key_data = Some(BASE64_STANDARD.encode(key).into());
    }
    let credentials = match &given.token {
        Some(token) => Credentials::of_text(token)
            .map_err(|fault| of_plugin(format!("gave no token: {fault}")))?,
        None => Credentials::default(),
    };
    Ok(credentials.expiring_at(given.expires_at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text_with(server: &str, user: &str) -> String {
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: {}}}}}]\n\
             users: [{{name: u, user: {user}}}]\n",
            quoted(server)
        )
    }

    fn read_text(text: &str) -> Result<(Config, Credentials), String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        std::fs::write(&path, text).unwrap();
        read(&path, Duration::from_secs(10), &mut WatchedFiles::default())
    }

    #[test]
    fn every_token_is_trimmed_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let file = |text: &str| {
            let path = dir.path().join("token");
            std::fs::write(&path, text).unwrap();
            format!("{{tokenFile: {}}}", serde_json::to_string(&path).unwrap())
        };
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        let exec = |text: &str| {
            let answer = format!("{{\"status\":{{\"token\":{}}}}}", quoted(text));
            let args = quoted(&format!("cat <<'E'\n{answer}\nE\n"));
            format!("{{exec: {{command: /bin/sh, args: [-c, {args}]}}}}")
        };
        let inline = |text: &str| format!("{{token: {}}}", quoted(text));
        let provider = |text: &str| {
            format!("{{auth-provider: {{name: oidc, config: {{id-token: {}}}}}}}", quoted(text))
        };
        type User<'u> = &'u dyn Fn(&str) -> String;
        let places: [(&str, User<'_>); 4] = [
            ("its `token` holds no token: ", &inline),
            ("token holds no token: ", &file),
            ("its exec plugin `/bin/sh` gave no token: ", &exec),
            ("its `id-token` holds no token: ", &provider),
        ];
        for (place, user) in places {
            for good in ["hunter2", "hunter2\n", "\r\n hunter2\t\r\n"] {
                let (_, mut credentials) = read_text(&text_with("https://h", &user(good))).unwrap();
                let header = credentials.header().unwrap();
                assert_eq!(header.to_str().unwrap(), "Bearer hunter2", "{place}{good:?}");
            }
            for (bad, fault) in [
                ("", "it is empty"),
                ("hunter2\nhunter2", "it has a line break inside"),
                ("hunter2\r\nX: y", "it has a line break inside"),
                ("hunter2 hunter2", "it has white space inside"),
                ("hunter2\u{1}", "it has a control character inside"),
                ("hunter2\u{20ac}", "it has a character that is not ASCII"),
            ] {
                let error = read_text(&text_with("https://h", &user(bad))).map(|_| ()).unwrap_err();
                assert!(error.ends_with(&format!("{place}{fault}")), "{bad:?}: {error}");
                assert!(!error.contains("hunter2"), "{error}");
            }
        }
    }

    #[test]
    fn a_server_without_scheme_or_host_is_refused() {
        for server in ["example.com:6443", "/path", "*", "ftp://host", "https://", "a b", ""] {
            assert!(read_text(&text_with(server, "{}")).is_err(), "{server}");
        }
        let long = format!("https://host/{}", "p".repeat(SERVER_BYTES_MAX));
        let error = read_text(&text_with(&long, "{}")).map(|_| ()).unwrap_err();
        assert_eq!(error, "its `server` is longer than 2048 bytes");
        let proxied = |url: &str| {
            let key = format!("{{proxy-url: '{url}', server:");
            read_text(&text_with("https://h", "{}").replace("{server:", &key))
        };
        let error = proxied("socks5://u:hunter2@p:1").map(|_| ()).unwrap_err();
        assert_eq!(error, "its `proxy-url` is no URL like http://proxy:3128");
        let (config, _) = proxied("http://u:hunter2@p:1").unwrap();
        assert_eq!(config.proxy_url.unwrap(), "http://u:hunter2@p:1/");
    }

    #[test]
    fn files_are_read_within_limits_and_no_fifo_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        for (user, path) in [
            ("{tokenFile: PATH}", fifo.as_path()),
            ("{tokenFile: PATH}", Path::new("/dev/zero")),
            ("{client-certificate: PATH}", fifo.as_path()),
            ("{client-key: PATH}", Path::new("/dev/zero")),
        ] {
            let user = user.replace("PATH", path.to_str().unwrap());
            let error = read_text(&text_with("https://h", &user)).map(|_| ()).unwrap_err();
            assert!(error.ends_with("not a regular file"), "{error}");
        }
        let mut files = WatchedFiles::default();
        for path in [fifo.as_path(), Path::new("/dev/zero"), dir.path()] {
            let error = read(path, Duration::ZERO, &mut files).map(|_| ()).unwrap_err();
            assert!(error.ends_with("not a regular file"), "{error}");
        }
    }

    /// Makes a client of what could be read, and sends a request to nowhere.
    fn try_client(config: Config) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let Ok(client) = kube::Client::try_from(config) else { return };
            let request = hyper::Request::get("/api/v1/pods?limit=1");
            let request = request.body(kube::client::Body::empty()).unwrap();
            let sent = client.send(request);
            let _ = tokio::time::timeout(Duration::from_millis(1), sent).await;
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn no_kubeconfig_panics_here_or_in_the_client_library(
            server in prop_oneof![
                "https?://127\\.0\\.0\\.1:1[/a-z?%*@\\[\\]:]{0,8}",
                "[a-z:/@\\[\\]*?#%. é]{0,20}",
                "\\PC{0,12}",
            ],
            key in prop_oneof![
                Just("token"), Just("as"), Just("as-uid"), Just("username"), Just("tls-server-name"),
                Just("client-certificate-data"), Just("client-key-data"), Just("tokenFile"),
            ],
            value in "[\\x00-\\x7f]{0,12}|\\PC{0,12}",
        ) {
            let value = serde_json::to_string(&value).unwrap();
            let user = format!("{{{key}: {value}, password: {value}, as-groups: [{value}]}}");
            let text = text_with(&server, &user);
            let text = text.replace("{server:", &format!("{{tls-server-name: {value}, server:"));
            if let Ok((config, mut credentials)) = read_text(&text) {
                let _ = credentials.header();
                try_client(config);
            }
        }
    }
}
