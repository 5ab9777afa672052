//! Man pages and completions, made from the declarations of the command line.

use anyhow::bail;
use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::args::{Cli, CompletionShell};

/// Files of the installed service, with what each is for.
const FILES: [(&str, &str); 5] = [
    ("/etc/nodetally/config.toml", "The settings of the service."),
    ("/etc/default/nodetally", "Variables of the service. They win over its settings."),
    (
        "/etc/credstore/nodetally.token",
        "The token of an endpoint, which systemd passes to the service as a credential.",
    ),
    ("/run/nodetally", "The last counters, and posts in flight, of this boot."),
    ("/var/lib/nodetally/spool", "Samples that wait for an endpoint."),
];

/// The page `nodetally(1)`, or that of one command.
///
/// # Errors
///
/// If there is no such command; the commands are named.
pub fn page(command: Option<&str>) -> anyhow::Result<Vec<u8>> {
    // Without what only this binary has: a page is the same for every build of a release.
    let mut program = Cli::command().long_version(env!("CARGO_PKG_VERSION"));
    // Passes the flags of every command down to each.
    program.build();
    let shown = match command {
        None => program,
        Some(name) => match program.find_subcommand(name) {
            // `help` has every command below it again, and those have no page.
            Some(command) => command.clone().mut_subcommands(|below| below.hide(true)),
            None => bail!("no command {name:?}; there are: {}", command_names().join(", ")),
        },
    };
    let mut page = Vec::new();
    Man::new(shown)
        .manual("nodetally")
        .source(concat!("nodetally ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)?;
    if command.is_none() {
        let mut files = Roff::new();
        files.control("SH", ["FILES"]);
        for (path, purpose) in FILES {
            files.control("TP", []);
            files.text([bold(path)]);
            files.text([roman(purpose)]);
        }
        files.to_writer(&mut page)?;
    }
    Ok(page)
}

/// Every command, in the order of `--help`.
#[must_use]
pub fn command_names() -> Vec<String> {
    Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

/// The script that completes the command line in this shell.
#[must_use]
pub fn completions(shell: CompletionShell) -> Vec<u8> {
    let shell = match shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "nodetally", &mut script);
    if shell == Shell::Fish { without_dotted_options(&script) } else { script }
}

/// The script without `path.procfs=` and the like in its list for fish's `argparse`.
///
/// That one takes no name with a dot: it fails, and then nothing is completed. What is left out is completed all
/// the same; only behind `nodetally --path.procfs /proc` fish knows no commands.
fn without_dotted_options(script: &[u8]) -> Vec<u8> {
    let mut kept = String::new();
    for line in String::from_utf8_lossy(script).lines() {
        if line.trim_start().starts_with("string join") {
            let words: Vec<&str> = line.split(' ').filter(|word| !word.contains('.')).collect();
            kept.push_str(&words.join(" "));
        } else {
            kept.push_str(line);
        }
        kept.push('\n');
    }
    kept.into_bytes()
}
