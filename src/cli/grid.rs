//! A table with a name column and right-aligned cells, in the width of the terminal.
//!
//! Where the rows are too wide, details beside names go first, then columns without a value, then the
//! columns of [`Grid::dropping`] in their order. Names are shortened last.

use std::fmt::Write as _;

use super::lines::{cut, padded, padded_left, shortened, width};
use super::style::{Grade, Style};

/// The width where there is no terminal, in columns.
const WIDTH_WITHOUT_TERMINAL: usize = 200;

/// The least that is left of a name, in columns.
const NAME_CHARS_MIN: usize = 12;

/// The least of a command line that is worth its place, in columns.
const TEXT_CHARS_MIN: usize = 20;

/// The name column of one row.
#[derive(Debug, Default)]
pub(super) struct Label {
    pub name: String,
    /// Less important than any column; it may be empty.
    pub detail: String,
    /// Remarks, the most important first.
    pub notes: Vec<(Grade, String)>,
    /// A long text at the end, of which the end is cut; it may be empty.
    pub text: String,
}

impl From<String> for Label {
    fn from(name: String) -> Self {
        Self { name, ..Self::default() }
    }
}

/// A table with a name column and right-aligned cells.
pub(super) struct Grid<const N: usize> {
    title: String,
    heads: [&'static str; N],
    rows: Vec<(Label, [String; N])>,
    order: &'static [&'static [usize]],
    only_with_values: Option<usize>,
}

impl<const N: usize> Grid<N> {
    pub(super) fn new(title: String, heads: [&'static str; N]) -> Self {
        Self { title, heads, rows: Vec::new(), order: &[], only_with_values: None }
    }

    /// The columns that go where the rows are too wide, the first ones first.
    pub(super) const fn dropping(mut self, order: &'static [&'static [usize]]) -> Self {
        self.order = order;
        self
    }

    /// A column that is shown only if a row has a value in it.
    pub(super) const fn only_with_values(mut self, column: usize) -> Self {
        self.only_with_values = Some(column);
        self
    }

    pub(super) fn add(&mut self, label: impl Into<Label>, cells: [String; N]) {
        self.rows.push((label.into(), cells));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn draw(self, style: Style, out: &mut String) {
        let layout = self.layout(style.width.unwrap_or(WIDTH_WITHOUT_TERMINAL));
        let Layout { columns, name_width, .. } = layout;
        let title = shortened(&self.title, name_width);
        let mut head = style.bold(&padded(&title, name_width));
        for (text, width) in self.heads.iter().zip(columns) {
            if let Some(width) = width {
                let _ = write!(head, "  {}", style.bold(&padded_left(text, width)));
            }
        }
        let _ = writeln!(out, "\n{}", head.trim_end());
        for (label, cells) in &self.rows {
            let mut line = layout.label(label, style);
            for (cell, width) in cells.iter().zip(columns) {
                let Some(width) = width else { continue };
                let text = padded_left(cell, width);
                let _ =
                    write!(line, "  {}", if is_nothing(cell) { style.dim(&text) } else { text });
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }

    fn layout(&self, columns: usize) -> Layout<N> {
        let mut widths = self.heads.map(width);
        let mut has_values = [false; N];
        for (_, cells) in &self.rows {
            for ((wide, has), cell) in widths.iter_mut().zip(&mut has_values).zip(cells) {
                *wide = (*wide).max(width(cell));
                *has |= *cell != nothing();
            }
        }
        let longest = |details: bool| {
            let of_rows = self.rows.iter().map(|(label, _)| label.columns(details));
            of_rows.max().unwrap_or(0).max(width(&self.title))
        };
        let has_text = self.rows.iter().any(|(label, _)| !label.text.is_empty());
        let mut layout = Layout { columns: widths.map(Some), name_width: 0, details: true };
        if let Some(column) = self.only_with_values
            && !has_values[column]
        {
            layout.columns[column] = None;
        }
        // A longer name is shortened before it takes half of the width from the columns.
        let fits = |layout: &Layout<N>| {
            let wanted = longest(layout.details) + if has_text { TEXT_CHARS_MIN } else { 0 };
            wanted.min(columns / 2) + layout.cells_width() <= columns
        };
        if !self.order.is_empty() {
            layout.details = longest(true) + layout.cells_width() <= columns;
            let empty = (0..N).filter(|column| !has_values[*column]);
            let droppable: Vec<usize> = self.order.iter().copied().flatten().copied().collect();
            let empty: Vec<usize> = empty.filter(|column| droppable.contains(column)).collect();
            for dropped in std::iter::once(empty.as_slice()).chain(self.order.iter().copied()) {
                if fits(&layout) {
                    break;
                }
                for column in dropped {
                    layout.columns[*column] = None;
                }
            }
        }
        let with_text = |label: &Label| match width(&label.text) {
            0 => 0,
            text => label.columns(layout.details) + 2 + text,
        };
        let texts = self.rows.iter().map(|(label, _)| with_text(label)).max().unwrap_or(0);
        let room = columns.saturating_sub(layout.cells_width()).max(NAME_CHARS_MIN);
        layout.name_width = longest(layout.details).max(texts).min(room);
        layout
    }
}

#[derive(Clone, Copy)]
struct Layout<const N: usize> {
    /// The width of each column; `None`: it is not shown.
    columns: [Option<usize>; N],
    name_width: usize,
    details: bool,
}

impl<const N: usize> Layout<N> {
    fn cells_width(&self) -> usize {
        self.columns.iter().flatten().map(|width| width + 2).sum()
    }

    /// The name column of a row, filled up with spaces.
    fn label(&self, label: &Label, style: Style) -> String {
        let mut room = self.name_width;
        let mut notes: &[(Grade, String)] = &label.notes;
        let len = |notes: &[(Grade, String)]| -> usize {
            notes.iter().map(|(_, note)| width(note) + 1).sum()
        };
        while len(notes) + NAME_CHARS_MIN > room
            && let [fewer @ .., _] = notes
        {
            notes = fewer;
        }
        room -= len(notes);
        let mut name = label.name.clone();
        if self.details && !label.detail.is_empty() {
            let _ = write!(name, " {}", label.detail);
        }
        let text = width(&label.text);
        let for_text = match text {
            0 => 0,
            text => (text + 2).min(room / 2),
        };
        let name = shortened(&name, room - for_text);
        room -= width(&name);
        let mut out = name;
        for (grade, note) in notes {
            let _ = write!(out, " {}", style.graded(*grade, note));
        }
        if text > 0 && room > 2 {
            let text = cut(&label.text, room - 2);
            room -= 2 + width(&text);
            let _ = write!(out, "  {text}");
        }
        out.extend(std::iter::repeat_n(' ', room));
        out
    }
}

impl Label {
    /// The width without the text at the end.
    fn columns(&self, details: bool) -> usize {
        let detail = width(&self.detail);
        let detail = if details && detail > 0 { detail + 1 } else { 0 };
        let notes = self.notes.iter().map(|(_, note)| width(note) + 1);
        width(&self.name) + detail + notes.sum::<usize>()
    }
}

/// The cell of an unknown value.
pub(super) fn nothing() -> String {
    "-".to_owned()
}

fn is_nothing(cell: &str) -> bool {
    matches!(cell, "-" | "0" | "0 B" | "0 B/s" | "0.00" | "0.00 s")
}

#[cfg(test)]
mod tests {
    use super::super::lines::tests::NAMES;
    use super::*;

    const ORDER: &[&[usize]] = &[&[2], &[1]];

    fn drawn(width: Option<usize>, label: Label) -> Vec<String> {
        let mut grid = Grid::new("ROWS (1)".to_owned(), ["CORES", "LIMIT", "READ"]).dropping(ORDER);
        grid.add(label, ["0.25".to_owned(), "1.00".to_owned(), "1.00 MiB/s".to_owned()]);
        let mut out = String::new();
        grid.draw(Style { colour: false, width, top: 10 }, &mut out);
        out.lines().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn details_go_before_columns_and_names_are_shortened_last() {
        let label = || Label {
            name: "web/frontend-7f9c".to_owned(),
            detail: "Burstable".to_owned(),
            notes: vec![(Grade::Alarm, "OOM".to_owned())],
            text: String::new(),
        };
        for (width, head, row) in [
            (
                57,
                "ROWS (1)                         CORES  LIMIT        READ",
                "web/frontend-7f9c Burstable OOM   0.25   1.00  1.00 MiB/s",
            ),
            (
                56,
                "ROWS (1)               CORES  LIMIT        READ",
                "web/frontend-7f9c OOM   0.25   1.00  1.00 MiB/s",
            ),
            (46, "ROWS (1)               CORES  LIMIT", "web/frontend-7f9c OOM   0.25   1.00"),
            (26, "ROWS (1)             CORES", "web/fro…nd-7f9c OOM   0.25"),
        ] {
            let lines = drawn(Some(width), label());
            assert_eq!(lines, [head, row], "{width}");
        }
    }

    #[test]
    fn a_command_line_takes_what_is_left_and_loses_its_end() {
        let label = |name: &str| Label {
            name: name.to_owned(),
            text: "java ".repeat(600),
            ..Label::default()
        };
        let lines = drawn(None, label("java  app.service"));
        assert_eq!(lines[1].chars().count(), 200);
        assert!(lines[1].starts_with("java  app.service  java java "), "{lines:?}");
        assert!(lines[1].contains("…   0.25"), "{lines:?}");
        for width in [40, 60, 80, 120] {
            let lines = drawn(Some(width), label(&"long".repeat(30)));
            assert_eq!(lines[1].chars().count(), width, "{lines:?}");
            assert!(lines[1].contains("  java"), "{lines:?}");
        }
    }

    /// The terminal is a program of others, and counts columns for itself.
    #[test]
    fn no_row_is_wrapped_and_columns_stand_below_their_heads() {
        for columns in [40_u16, 80, 81, 120] {
            let mut grid = Grid::new("ROWS".to_owned(), ["CORES", "LIMIT", "READ"]).dropping(ORDER);
            for name in NAMES {
                let label = Label {
                    name: name.repeat(2),
                    detail: "本番".to_owned(),
                    notes: vec![(Grade::Alarm, "OOM".to_owned())],
                    text: "java 世界 ".repeat(9),
                };
                grid.add(label, ["0.25".to_owned(), "1.00".to_owned(), "1.00 MiB/s".to_owned()]);
            }
            let mut out = String::new();
            let style = Style { colour: false, width: Some(columns.into()), top: 10 };
            grid.draw(style, &mut out);
            let mut terminal = vt100::Parser::new(20, columns, 0);
            terminal.process(out.replace('\n', "\r\n").as_bytes());
            let screen = terminal.screen();
            assert!((0..20).all(|line| !screen.row_wrapped(line)), "{columns}\n{out}");
            // The title is behind an empty line.
            let head: String = screen.rows(0, columns).nth(1).unwrap();
            let end = u16::try_from(head.find("CORES").unwrap() + "CORES".len()).unwrap();
            for (line, name) in screen.rows(0, end).skip(2).zip(NAMES) {
                // Terminals differ on its width, and the larger one is counted.
                if name.contains('\u{fe0f}') {
                    continue;
                }
                assert!(line.ends_with("  0.25"), "{columns} {line:?}\n{out}");
            }
        }
    }

    #[test]
    fn no_row_is_wider_than_the_terminal() {
        for width in 24..130 {
            for name in [1, 10, 30, 100, 300] {
                let label = Label {
                    name: "n".repeat(name),
                    detail: "BestEffort hostNetwork".to_owned(),
                    notes: vec![
                        (Grade::Alarm, "OOM 12".to_owned()),
                        (Grade::Warning, "memory limit 97 %".to_owned()),
                    ],
                    text: String::new(),
                };
                for line in drawn(Some(width), label) {
                    assert!(line.chars().count() <= width, "{width} {name} {line:?}");
                }
            }
        }
    }
}
