//! The pictures of the documents: the screen that the real binary draws on a pseudo-terminal, as SVG.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use vt100::{Cell, Color, Screen};

use crate::support::scratch::copy_tree;
use crate::support::scripted_agent::{SOCKET, ScriptedAgent, later, lines_of};
use crate::support::terminal::OnTerminal;

/// The width of a character, its line and the space around the screen, in tenths of a pixel.
const CHARACTER: usize = 84;
const LINE: usize = 180;
const MARGIN: usize = 120;

const BACKGROUND: &str = "#16181d";
const FOREGROUND: &str = "#d8dce3";

/// The first sixteen colours of a terminal, such that each can be read on the background.
const COLOURS: [&str; 16] = [
    "#3b4048", "#e8686e", "#8fc477", "#e2bd6b", "#6cabf0", "#c98be0", "#5cc0cc", "#d8dce3", //
    "#7a828e", "#ff8087", "#a8dd90", "#f5d58a", "#8cc1fb", "#dea7f2", "#7fdbe6", "#ffffff",
];

/// A cell's look: what is the same in a run of cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    text: &'static str,
    background: &'static str,
    is_bold: bool,
    is_dim: bool,
}

impl Look {
    fn of(cell: &Cell) -> Self {
        let (text, background) =
            (colour(cell.fgcolor(), FOREGROUND), colour(cell.bgcolor(), BACKGROUND));
        let (text, background) =
            if cell.inverse() { (background, text) } else { (text, background) };
        Self { text, background, is_bold: cell.bold(), is_dim: cell.dim() }
    }
}

fn colour(colour: Color, default: &'static str) -> &'static str {
    match colour {
        Color::Default => default,
        Color::Idx(at) if usize::from(at) < COLOURS.len() => COLOURS[usize::from(at)],
        other => panic!("the pictures have sixteen colours, and not {other:?}"),
    }
}

/// Cells of one look, side by side.
struct Run {
    column: usize,
    columns: usize,
    look: Look,
    text: String,
}

fn runs(screen: &Screen, line: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for column in 0..screen.size().1 {
        let cell = screen.cell(line, column).unwrap();
        // The second half of a wide character has no look of its own.
        if let Some(run) = runs.last_mut().filter(|_| cell.is_wide_continuation()) {
            run.columns += 1;
            continue;
        }
        let text = match cell.contents() {
            "" => " ",
            text => text,
        };
        let look = Look::of(cell);
        match runs.last_mut().filter(|run| run.look == look) {
            Some(run) => {
                run.columns += 1;
                run.text.push_str(text);
            }
            None => {
                let text = text.to_owned();
                runs.push(Run { column: column.into(), columns: 1, look, text });
            }
        }
    }
    runs
}

/// Tenths, as a number of pixels.
fn pixels(tenths: usize) -> String {
    match tenths % 10 {
        0 => (tenths / 10).to_string(),
        rest => format!("{}.{rest}", tenths / 10),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The screen up to its last line that is not empty. `title` says what it shows.
fn drawn(screen: &Screen, title: &str) -> String {
    let (lines, columns) = screen.size();
    let is_used = |line: &u16| {
        runs(screen, *line)
            .iter()
            .any(|run| !run.text.trim().is_empty() || run.look.background != BACKGROUND)
    };
    let used = (0..lines).rev().find(is_used).map_or(0, |line| line + 1);
    let width = pixels(2 * MARGIN + usize::from(columns) * CHARACTER);
    let height = pixels(2 * MARGIN + usize::from(used) * LINE);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n\
         <style>text{{font:14px ui-monospace,\"DejaVu Sans Mono\",Menlo,Consolas,monospace;\
         fill:{FOREGROUND};white-space:pre}}.b{{font-weight:700}}.d{{opacity:.6}}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n",
        escaped(title)
    );
    for line in 0..used {
        let top = MARGIN + usize::from(line) * LINE;
        for run in runs(screen, line) {
            let at = |column: usize| MARGIN + column * CHARACTER;
            if run.look.background != BACKGROUND {
                let _ = writeln!(
                    svg,
                    "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\" \
                     shape-rendering=\"crispEdges\"/>",
                    pixels(at(run.column)),
                    pixels(top),
                    pixels(run.columns * CHARACTER),
                    pixels(LINE),
                    run.look.background
                );
            }
            // Words keep their columns in whatever font there is.
            let text = run.text.trim_end();
            let start = text.chars().take_while(|c| *c == ' ').count();
            let columns = run.columns - (run.text.chars().count() - text.chars().count()) - start;
            let text = text.trim_start();
            if text.is_empty() {
                continue;
            }
            let class = match (run.look.is_bold, run.look.is_dim) {
                (false, false) => "",
                (true, false) => " class=\"b\"",
                (false, true) => " class=\"d\"",
                (true, true) => " class=\"b d\"",
            };
            let fill = match run.look.text {
                FOREGROUND => String::new(),
                colour => format!(" style=\"fill:{colour}\""),
            };
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" textLength=\"{}\"{class}{fill}>{}</text>",
                pixels(at(run.column + start)),
                pixels(top + 135),
                pixels(columns * CHARACTER),
                escaped(text)
            );
        }
    }
    svg + "</svg>\n"
}

/// Compares the picture with the file. `UPDATE_DOCS=1` writes it instead.
fn compare(name: &str, picture: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, picture).unwrap();
    } else {
        let file = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            file == picture,
            "{name} is not what the screen shows: UPDATE_DOCS=1 cargo test --test it documentation"
        );
    }
    assert!(picture.len() < 64 << 10, "{name} has {} bytes", picture.len());
}

#[test]
fn the_documentation_shows_the_screen_of_top() {
    let first = lines_of("7.2-containerd-systemd");
    let agent = ScriptedAgent::start(first.clone());
    let mut top = OnTerminal::start_in(agent.dir(), 114, 20, &["top", "--socket", SOCKET], &[]);
    top.shows_text("live  17:28:17 UTC");
    let pod = ("web-6877cbddcc-hx6s4", "app");
    for (second, millicores) in [(32, 60), (47, 110), (58, 150)] {
        let time = format!("2026-11-20T17:28:{second}.000Z");
        agent.publish(later(&first, &time, "containerd.service", pod, millicores));
        top.shows_text(&format!("live  17:28:{second} UTC"));
    }
    top.press("\r");
    top.shows_text("app");
    let title = "nodetally top: the node, and its pods with the containers of one";
    let picture = top.with_screen(|screen| drawn(screen, title));
    compare("top.svg", &picture);
    top.press("q");
    assert!(top.given_back().success());
}

#[test]
fn the_documentation_shows_a_dump_on_a_terminal() {
    let arguments = ["dump", "--replay", "fixtures/hosts/6.8-crio-systemd", "--top", "4"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut dump = OnTerminal::start_in(root, 100, 60, &arguments, &[]);
    dump.shows("the last line", |lines| lines.iter().any(|line| line.starts_with("exited ")));
    assert!(dump.child.wait().unwrap().success());
    let title = "nodetally dump: the node, its pods, units and processes, and the remainder";
    let picture = dump.with_screen(|screen| drawn(screen, title));
    compare("dump.svg", &picture);
}

/// Names of processes have 15 bytes, which are five Chinese characters or ten columns.
#[test]
fn a_dump_with_wide_names_does_not_wrap() {
    let dir = tempfile::tempdir().unwrap();
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts/6.8-crio-systemd");
    copy_tree(&host, dir.path());
    for instant in ["t0", "t1"] {
        let path = dir.path().join(instant).join("proc/1641/stat");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace("(api-server)", "(世界你好世)")).unwrap();
    }
    for columns in [60, 80, 81] {
        let arguments = ["dump", "--replay", ".", "--top", "4"];
        let dump = OnTerminal::start_in(dir.path(), columns, 80, &arguments, &[]);
        let lines = dump
            .shows("the last line", |lines| lines.iter().any(|line| line.starts_with("exited ")));
        assert!(lines.iter().any(|line| line.starts_with("世界你好世  ")), "{lines:#?}");
        let head = lines.iter().position(|line| line.starts_with("PROCESSES")).unwrap();
        let end = u16::try_from(lines[head].find("CORES").unwrap() + "CORES".len()).unwrap();
        dump.with_screen(|screen| {
            assert!((0..80).all(|line| !screen.row_wrapped(line)), "{lines:#?}");
            let rows: Vec<String> = screen.rows(0, end).skip(head + 1).take(4).collect();
            for (row, cores) in rows.iter().zip(["  0.30", "  0.13", "  0.08", "  0.05"]) {
                assert!(row.ends_with(cores), "{columns} {rows:#?}");
            }
        });
    }
}

#[test]
fn a_screen_is_drawn_with_its_colours_and_nothing_unescaped() {
    let mut parser = vt100::Parser::new(3, 8, 0);
    parser.process(b"a<b \x1b[31;1m&\x1b[0m\r\n\x1b[2;7m \xe4\xb8\xad\x1b[0m");
    let svg = drawn(parser.screen(), "<t>");
    let body: Vec<&str> = svg.lines().filter(|line| !line.starts_with("<style>")).collect();
    assert_eq!(
        body,
        [
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"91.2\" height=\"60\" \
             viewBox=\"0 0 91.2 60\" role=\"img\">",
            "<title>&lt;t&gt;</title>",
            "<rect width=\"91.2\" height=\"60\" rx=\"8\" fill=\"#16181d\"/>",
            "<text x=\"12\" y=\"25.5\" textLength=\"25.2\">a&lt;b</text>",
            "<text x=\"45.6\" y=\"25.5\" textLength=\"8.4\" class=\"b\" style=\"fill:#e8686e\">&amp;</text>",
            "<rect x=\"12\" y=\"30\" width=\"25.2\" height=\"18\" fill=\"#d8dce3\" shape-rendering=\"crispEdges\"/>",
            "<text x=\"20.4\" y=\"43.5\" textLength=\"16.8\" class=\"d\" style=\"fill:#16181d\">中</text>",
            "</svg>",
        ]
    );
}
