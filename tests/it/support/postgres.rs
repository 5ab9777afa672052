//! A PostgreSQL cluster of the tests: in a temporary directory, on a unix socket, gone with its last user.

#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "it starts the programs of the database, and a failure fails the test; the library's tests \
              use a part of it"
)]

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio_postgres::NoTls;

/// PostgreSQL does not run as root. This is `nobody`.
const OTHER_USER: u32 = 65_534;

/// A cluster that runs.
pub struct PostgresCluster {
    dir: tempfile::TempDir,
    port: u16,
}

/// The cluster of this process, as long as a test has it.
static SHARED: Mutex<Weak<PostgresCluster>> = Mutex::new(Weak::new());

/// The number of databases that were created.
static DATABASES: AtomicUsize = AtomicUsize::new(0);

impl PostgresCluster {
    /// The cluster of this process, which loses commits in a power cut; `None`: this machine has no
    /// PostgreSQL.
    pub fn shared() -> Option<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(cluster) = shared.upgrade() {
            return Some(cluster);
        }
        let cluster = Arc::new(Self::start("fsync = off\nfull_page_writes = off\n")?);
        *shared = Arc::downgrade(&cluster);
        Some(cluster)
    }

    /// A cluster of its own with these settings; `None`: this machine has no PostgreSQL.
    pub fn start(settings: &str) -> Option<Self> {
        if Command::new("initdb").arg("--version").output().is_err() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(OTHER_USER), Some(OTHER_USER)).unwrap();
        }
        // Of a process that just ended, so nobody else has it. Only clusters that listen need it.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cluster = Self { dir, port };
        let options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale"];
        cluster.run_program("initdb", &[&["--no-sync", "-D", "data"], &options[..]].concat());
        let settings = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nport = {port}\n\
             max_connections = 200\nshared_buffers = 64MB\n{settings}",
            cluster.dir.path().display()
        );
        cluster.configure(&settings);
        cluster.begin();
        Some(cluster)
    }

    /// The port on which it listens, where its settings have `listen_addresses`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Puts a file of the server beside its data, as its user's alone.
    pub fn put(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path().join("data").join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(OTHER_USER), Some(OTHER_USER)).unwrap();
        }
    }

    /// Adds settings, for the next start.
    pub fn configure(&self, settings: &str) {
        let path = self.path().join("data/postgresql.conf");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}\n{settings}")).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    fn run_program(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.dir.path());
        if nix::unistd::geteuid().is_root() {
            command.uid(OTHER_USER).gid(OTHER_USER);
        }
        let log = self.dir.path().join("programs.log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let (out, err) = (file.try_clone().unwrap(), file);
        let status = command.stdin(Stdio::null()).stdout(out).stderr(err).status().unwrap();
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        assert!(status.success(), "{program} {arguments:?}: {status}: {}", said());
    }

    /// Starts the server.
    pub fn begin(&self) {
        self.run_program("pg_ctl", &["start", "-w", "-t", "120", "-D", "data", "-l", "data/log"]);
    }

    /// Ends the server. `fast` ends its connections, `immediate` is a crash.
    pub fn end(&self, mode: &str) {
        self.run_program("pg_ctl", &["stop", "-w", "-t", "120", "-D", "data", "-m", mode]);
    }

    fn url_of(&self, database: &str) -> String {
        let host = self.dir.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{host}:{}/{database}", self.port)
    }

    /// The URL of a new and empty database.
    pub fn database(&self) -> String {
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        run_sql(&self.url_of("postgres"), &format!("CREATE DATABASE {name}"));
        self.url_of(&name)
    }
}

impl Drop for PostgresCluster {
    fn drop(&mut self) {
        if self.dir.path().join("data/postmaster.pid").exists() {
            self.end("immediate");
        }
    }
}

/// Runs statements, and returns the texts of the last one's rows, separated by blanks.
pub fn run_sql(url: &str, sql: &str) -> Vec<String> {
    let (url, sql) = (url.to_owned(), sql.to_owned());
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            let serving = tokio::spawn(connection);
            let messages = client.simple_query(&sql).await.unwrap_or_else(|error| {
                panic!("{sql}: {}", error.as_db_error().map_or(String::new(), ToString::to_string))
            });
            drop(client);
            serving.await.unwrap().unwrap();
            let rows = messages.into_iter().filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => {
                    let texts = (0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_owned());
                    Some(texts.collect::<Vec<_>>().join(" "))
                }
                _ => None,
            });
            rows.collect()
        })
    });
    thread.join().unwrap()
}
