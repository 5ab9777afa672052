//! Credential plugins: the program that a kubeconfig names under `exec`, and its answer.
//! <https://kubernetes.io/docs/reference/config-api/client-authentication.v1/>

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kube::config::{ExecAuthCluster, ExecConfig};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::clock;
use crate::quantity::WallTime;

/// The longest answer, in bytes. A token and a certificate chain have some ten kilobytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The time between two looks at a plugin that has closed its output and still runs.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Errors of a plugin. They repeat nothing of its output, which may be a token.
#[derive(Debug, thiserror::Error)]
pub(super) enum PluginError {
    #[error("names no command")]
    NoCommand,
    #[error("cannot be run: {0}")]
    NotRun(#[source] io::Error),
    #[error("failed: {0}")]
    Failed(ExitStatus),
    #[error("has not ended for {}, and was killed", humantime::format_duration(*.0))]
    TooSlow(Duration),
    #[error("writes more than {ANSWER_BYTES_MAX} bytes, and was killed")]
    TooLong,
    #[error("gave no credentials: its output is no ExecCredential with a status")]
    NoCredentials,
}

/// The credentials that a plugin gave.
#[derive(Debug, Default)]
pub(super) struct PluginCredentials {
    /// As written, so not checked.
    pub token: Option<String>,
    /// Certificate and key, both PEM.
    pub certificate: Option<(String, String)>,
    /// `None`: unknown.
    pub expires_at: Option<WallTime>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExecInfo<'a> {
    kind: &'static str,
    api_version: Option<&'a str>,
    spec: ExecSpec<'a>,
}

#[derive(Serialize)]
struct ExecSpec<'a> {
    interactive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a ExecAuthCluster>,
}

#[derive(Deserialize)]
struct ExecAnswer {
    status: Option<ExecStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecStatus {
    expiration_timestamp: Option<String>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// Runs the plugin and reads its answer. Blocks the thread for at most `time_max`. Nobody is there
/// to answer a question, so it gets no input, and what it writes to stderr is dropped.
///
/// # Errors
/// The plugin cannot be run, fails, takes too long, or writes no credentials.
pub(super) fn run(exec: &ExecConfig, time_max: Duration) -> Result<PluginCredentials, PluginError> {
    let deadline = clock::timer_now() + time_max;
    let mut child = start(exec)?;
    let answer = match child.stdout.take() {
        Some(stdout) => read_to_end(OwnedFd::from(stdout), deadline, time_max),
        None => Ok(Vec::new()),
    };
    let ended = answer.and_then(|answer| Ok((answer, wait(&mut child, deadline, time_max)?)));
    let (answer, status) = match ended {
        Ok(ended) => ended,
        Err(error) => {
            // The plugin leads a group of its own, so its children end with it.
            let group = group_of(&child);
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
            let _ = child.wait();
            return Err(error);
        }
    };
    if !status.success() {
        return Err(PluginError::Failed(status));
    }
    credentials_of(&answer)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one program that is started: the credential plugin that the kubeconfig names"
)]
fn start(exec: &ExecConfig) -> Result<Child, PluginError> {
    let command = exec.command.as_ref().ok_or(PluginError::NoCommand)?;
    let spec = ExecSpec { interactive: false, cluster: exec.cluster.as_ref() };
    let api_version = exec.api_version.as_deref();
    let info = ExecInfo { kind: "ExecCredential", api_version, spec };
    let info = serde_json::to_string(&info).map_err(|error| PluginError::NotRun(error.into()))?;
    let variables = exec.env.iter().flatten();
    let variables = variables.filter_map(|one| Some((one.get("name")?, one.get("value")?)));
    Command::new(command)
        .args(exec.args.iter().flatten())
        .envs(variables)
        .env("KUBERNETES_EXEC_INFO", info)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(PluginError::NotRun)
}

fn group_of(child: &Child) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(child.id().cast_signed())
}

/// The output up to its end, which a child of the plugin may hold open for longer.
fn read_to_end(
    stdout: OwnedFd,
    deadline: Instant,
    time_max: Duration,
) -> Result<Vec<u8>, PluginError> {
    let mut stdout = File::from(stdout);
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
    loop {
        let left = deadline.saturating_duration_since(clock::timer_now());
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(&stdout, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) => return Err(PluginError::TooSlow(time_max)),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(PluginError::NotRun(error.into())),
        }
        let read = stdout.read(&mut buffer).map_err(PluginError::NotRun)?;
        if read == 0 {
            return Ok(answer);
        }
        if answer.len() + read > ANSWER_BYTES_MAX {
            return Err(PluginError::TooLong);
        }
        answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
}

fn wait(
    child: &mut Child,
    deadline: Instant,
    time_max: Duration,
) -> Result<ExitStatus, PluginError> {
    loop {
        if let Some(status) = child.try_wait().map_err(PluginError::NotRun)? {
            return Ok(status);
        }
        if clock::timer_now() >= deadline {
            return Err(PluginError::TooSlow(time_max));
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// The credentials in a plugin's output, JSON or YAML.
///
/// # Errors
/// The output has no `status`.
pub(super) fn credentials_of(output: &[u8]) -> Result<PluginCredentials, PluginError> {
    let answer: ExecAnswer = serde_json::from_slice(output)
        .ok()
        .or_else(|| serde_saphyr::from_slice(output).ok())
        .ok_or(PluginError::NoCredentials)?;
    let status = answer.status.ok_or(PluginError::NoCredentials)?;
    let certificate = status.client_certificate_data.zip(status.client_key_data);
    if status.token.is_none() && certificate.is_none() {
        return Err(PluginError::NoCredentials);
    }
    // An unreadable time counts as unknown: the server's 401 then asks for new credentials.
    let expires_at = status.expiration_timestamp.and_then(|at| wall_time(at.trim()));
    Ok(PluginCredentials { token: status.token, certificate, expires_at })
}

fn wall_time(text: &str) -> Option<WallTime> {
    let at: SystemTime = humantime::parse_rfc3339(text).ok()?;
    let since = at.duration_since(UNIX_EPOCH).ok()?;
    Some(WallTime::from_unix_millis(u64::try_from(since.as_millis()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> ExecConfig {
        ExecConfig {
            command: Some("/bin/sh".to_owned()),
            args: Some(vec!["-c".to_owned(), script.to_owned()]),
            ..ExecConfig::default()
        }
    }

    #[test]
    fn a_plugins_answer_is_json_or_yaml() {
        let json = r#"{"kind":"ExecCredential","status":{"token":"t\n","expirationTimestamp":"2026-11-29T20:00:00Z"}}"#;
        let found = run(&shell(&format!("cat <<'E'\n{json}\nE\n")), LONG).unwrap();
        assert_eq!(found.token.as_deref(), Some("t\n"));
        // 2026-11-29T20:00:00Z: 20,786 days and 20 hours.
        let at = WallTime::from_unix_millis((20_786 * 86_400 + 20 * 3600) * 1000);
        assert_eq!(found.expires_at, Some(at));
        let yaml = "status:\n  clientCertificateData: c\n  clientKeyData: k\n";
        let found = credentials_of(yaml.as_bytes()).unwrap();
        assert_eq!(found.certificate, Some(("c".to_owned(), "k".to_owned())));
        for none in ["", "{}", "{\"status\":{}}", "{\"status\":{\"clientKeyData\":\"k\"}}", "\0"] {
            assert!(credentials_of(none.as_bytes()).is_err(), "{none:?}");
        }
    }

    #[test]
    fn a_plugin_gets_the_cluster_and_its_variables() {
        let mut exec = shell(
            r#"printf '{"status":{"token":"%s %s"}}' "$ONE" "$(echo "$KUBERNETES_EXEC_INFO" | tr '"' "'")""#,
        );
        exec.api_version = Some("client.authentication.k8s.io/v1".to_owned());
        let variable = [("name", "ONE"), ("value", "1")];
        let variable = variable.map(|(key, value)| (key.to_owned(), value.to_owned()));
        exec.env = Some(vec![variable.into_iter().collect()]);
        let server = Some("https://api".to_owned());
        exec.cluster = Some(ExecAuthCluster { server, ..ExecAuthCluster::default() });
        let token = run(&exec, LONG).unwrap().token.unwrap();
        assert!(token.starts_with("1 {'kind':'ExecCredential',"), "{token}");
        assert!(token.contains("'interactive':false"), "{token}");
        assert!(token.contains("'server':'https://api'"), "{token}");
    }

    #[test]
    fn a_plugin_is_bounded_in_time_and_output_and_takes_its_children_along() {
        let began = clock::timer_now();
        let short = Duration::from_millis(300);
        // A child that keeps the output open, one that closes it, and one that runs on.
        for script in ["sleep 60 & exit 0", "exec >&-; sleep 60", "sleep 60"] {
            let slow = run(&shell(script), short);
            assert!(matches!(slow, Err(PluginError::TooSlow(_))), "{script}: {slow:?}");
        }
        assert!(matches!(run(&shell("cat /dev/zero"), LONG), Err(PluginError::TooLong)));
        assert!(clock::timer_now().duration_since(began) < Duration::from_secs(15));
        let failed = run(&shell("echo hunter2; exit 3"), LONG).unwrap_err().to_string();
        assert_eq!(failed, "failed: exit status: 3");
        let absent = ExecConfig { command: Some("/no/such".to_owned()), ..ExecConfig::default() };
        assert!(matches!(run(&absent, LONG), Err(PluginError::NotRun(_))));
        let nul = ExecConfig { command: Some("a\0b".to_owned()), ..ExecConfig::default() };
        assert!(matches!(run(&nul, LONG), Err(PluginError::NotRun(_))));
        assert!(matches!(run(&ExecConfig::default(), LONG), Err(PluginError::NoCommand)));
    }
}
