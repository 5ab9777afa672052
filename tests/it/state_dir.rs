//! The real binary on a state directory with foreign things in it, and two agents on one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::agent::{Agent, Host, any_port};

struct Place {
    host: Host,
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place =
            Self { host: Host::copy("6.12-podman-bare"), dir: tempfile::tempdir().unwrap() };
        let text = format!(
            "[node]\nname = \"n1\"\n[sampling]\ninterval = \"1s\"\n[receiver]\nlisten = \"{}\"\n",
            any_port()
        );
        fs::write(place.path("c.toml"), text).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.host.agent(arguments);
        command.arg("--config").arg(self.path("c.toml"));
        command.arg("--state-dir").arg(self.path("state"));
        command
    }

    fn start(&self) -> Agent {
        let mut command = self.command(&["run"]);
        command.arg("--listen").arg("127.0.0.1:0");
        let mut agent = Agent::start(command);
        agent.wait_for_output("samples n1");
        agent
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_second_agent_on_a_directory_names_the_first_and_does_not_start() {
    let place = Place::new();
    let first = place.start();
    let second = place.output(&["run"]);
    let said = text(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "the first may end: {said}");
    let named = format!("another agent (pid {}) uses the state directory", first.0.id());
    assert!(said.contains(&named), "{said}");
    // Those who only look need no lock.
    let mut dump = place.host.agent(&["dump"]);
    let dump = dump.arg("--config").arg(place.path("c.toml")).output().unwrap();
    assert!(dump.status.success(), "{}", text(&dump.stderr));
    let check = place.output(&["check"]);
    assert!(text(&check.stdout).contains("state directory"), "{}", text(&check.stdout));
    first.signal(Signal::SIGKILL);
    let _ = first.end();
    // Its file is still there, and its lock is not.
    assert!(place.path("state/lock").exists());
    let next = place.start();
    next.signal(Signal::SIGTERM);
    let (status, said) = next.end();
    assert!(status.success(), "{said}");
}

#[test]
fn what_is_planted_in_the_state_directory_is_neither_followed_nor_waited_for() {
    type Plant = fn(&Path, &Path);
    let plants: [(&str, Plant); 4] = [
        ("counters.json", |at, _| mkfifo(at, Mode::S_IRUSR | Mode::S_IWUSR).unwrap()),
        ("counters.json", |at, _| symlink("/dev/zero", at).unwrap()),
        ("counters.json.new", |at, foreign| symlink(foreign, at).unwrap()),
        ("counters.probe", |at, foreign| symlink(foreign, at).unwrap()),
    ];
    for (name, plant) in plants {
        let place = Place::new();
        let foreign = place.path("foreign");
        fs::write(&foreign, "foreign").unwrap();
        fs::create_dir(place.path("state")).unwrap();
        plant(&place.path("state").join(name), &foreign);
        let _ = place.output(&["check"]);
        let agent = place.start();
        agent.signal(Signal::SIGTERM);
        let (status, said) = agent.end();
        assert!(status.success(), "{name}: {said}");
        assert_eq!(fs::read_to_string(&foreign).unwrap(), "foreign", "{name}");
    }
}

#[test]
fn a_linked_journal_is_not_emptied() {
    let place = Place::new();
    let foreign = place.path("foreign/receiver");
    fs::create_dir_all(&foreign).unwrap();
    fs::write(foreign.join("1"), "foreign").unwrap();
    fs::create_dir(place.path("state")).unwrap();
    symlink(place.path("foreign"), place.path("state/handover")).unwrap();
    let config = fs::read_to_string(place.path("c.toml")).unwrap();
    let endpoint = "[[endpoint]]\nname = \"receiver\"\nurl = \"http://127.0.0.1:9/\"\n";
    fs::write(place.path("c.toml"), format!("{config}{endpoint}")).unwrap();
    let agent = place.start();
    agent.signal(Signal::SIGTERM);
    let (_, said) = agent.end();
    assert_eq!(fs::read_to_string(foreign.join("1")).unwrap(), "foreign", "{said}");
    assert!(said.contains("it is a link"), "{said}");
}
