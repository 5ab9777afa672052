//! Draws the state. A frame depends on the state and the size alone.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::Style;

use super::bar;
use super::columns::{self, SPACE, TopColumn};
use super::figure::RowFigure;
use super::header;
use super::keys::HELP;
use super::model::{ListedRow, RowOrder, TopModel, TopTable};
use super::palette::TopPalette;
use super::sample::{RowKind, SampleRow};
use super::text::{bytes, cell, cores, time_of_day};
use crate::cli::lines::{padded, padded_left, shortened, width};
use crate::payload::dump::decode::BalanceLine;

/// The smallest screen, in columns and lines.
pub const COLUMNS_MIN: u16 = 40;
pub const LINES_MIN: u16 = 10;

/// The most samples in the line of the selected row.
const SPARKS_MAX: usize = 120;

/// The characters of the line, from the least to the most.
const SPARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws a frame. The state learns how many rows fit.
pub fn draw(model: &mut TopModel, palette: TopPalette, buffer: &mut Buffer) {
    let area = *buffer.area();
    if area.width < COLUMNS_MIN || area.height < LINES_MIN {
        let text = format!("terminal too small: {COLUMNS_MIN}x{LINES_MIN} is the least");
        buffer.set_stringn(area.x, area.y, text, area.width.into(), Style::new());
        return;
    }
    let mut screen = Screen { buffer, palette, area, line: area.y };
    screen.title(model);
    screen.node(model);
    screen.bar(model);
    screen.tabs(model);
    model.page_rows = screen.table(model);
    screen.row_over_time(model);
    screen.hints(model);
    if model.shows_help {
        screen.help();
    }
}

/// The frame, and the line that is drawn next.
struct Screen<'b> {
    buffer: &'b mut Buffer,
    palette: TopPalette,
    area: Rect,
    line: u16,
}

impl Screen<'_> {
    fn columns(&self) -> usize {
        self.area.width.into()
    }

    /// Writes `text` from `column` on in the present line; returns the column behind it.
    fn put(&mut self, column: usize, text: &str, style: Style) -> usize {
        let left = self.columns().saturating_sub(column);
        let Ok(x) = u16::try_from(column) else { return column };
        if left == 0 || self.line >= self.area.bottom() {
            return column;
        }
        let (end, _) =
            self.buffer.set_stringn(self.area.x.saturating_add(x), self.line, text, left, style);
        usize::from(end.saturating_sub(self.area.x))
    }

    fn title(&mut self, model: &TopModel) {
        let right = match model.shown() {
            None => "waiting for the first sample".to_owned(),
            Some(sample) => {
                let time = time_of_day(&sample.node.sampled_at);
                match model.held.zip(model.history.newest()) {
                    Some((held, newest)) => {
                        format!("HELD, {} back  {time}", newest.saturating_sub(held))
                    }
                    None => format!("live  {time}"),
                }
            }
        };
        let room = self.columns().saturating_sub(width(&right) + SPACE);
        let name = model.shown().map(|sample| sample.node.name.as_str()).unwrap_or_default();
        let left = format!("nodetally  {name}  {}", model.source);
        let (bold, style) = (self.palette.bold(), Style::new());
        self.put(0, &shortened(left.trim_end(), room), bold);
        let style = if model.held.is_some() { self.palette.warning() } else { style };
        self.put(self.columns().saturating_sub(width(&right)), &right, style);
        self.line += 1;
    }

    fn node(&mut self, model: &TopModel) {
        let most = match self.area.height {
            20.. => 3,
            12.. => 2,
            _ => 1,
        };
        let Some(sample) = model.shown() else { return };
        for line in header::lines(&header::facts(&sample.node), self.columns(), most) {
            let mut column = 0;
            for fact in line {
                column = self.put(column, fact.name, self.palette.dim());
                let style = self.palette.of_limit(fact.amount, fact.limit);
                column = self.put(column + 1, &fact.text, style) + header::SPACE;
            }
            self.line += 1;
        }
    }

    fn bar(&mut self, model: &TopModel) {
        let Some(sample) = model.shown() else { return };
        let (name, balance) =
            if model.bar_is_memory { ("memory", &sample.memory) } else { ("cpu", &sample.cpu) };
        let Some(balance) = balance else {
            self.put(0, &format!("{name}: no balance is known"), self.palette.dim());
            self.line += 1;
            return;
        };
        let over = sample.node.interval_usec.filter(|over| *over > 0);
        let show = |amount: i128| {
            let sign = if amount < 0 { "-" } else { "" };
            let amount = u64::try_from(amount.unsigned_abs()).unwrap_or(u64::MAX);
            let text = if model.bar_is_memory {
                bytes(amount)
            } else {
                let millicores = |over: u64| u128::from(amount) * 1000 / u128::from(over);
                let millicores = over.and_then(|over| u64::try_from(millicores(over)).ok());
                cell(millicores, cores)
            };
            format!("{sign}{text}")
        };
        let parts = bar::parts(balance);
        let what = if model.bar_is_memory { "used" } else { "busy" };
        let right = format!(" {} {what}", show(balance.node.into()));
        let mut column = self.put(0, name, self.palette.dim());
        column = self.put(column + 1, "[", Style::new());
        let room = self.columns().saturating_sub(column + 1 + width(&right));
        for (part, cells) in parts.iter().zip(bar::cells(&parts, room)) {
            let style = self.palette.part(part.letter);
            column = self.put(column, &part.letter.to_string().repeat(cells), style);
        }
        let end = self.columns().saturating_sub(1 + width(&right));
        self.put(end, "]", Style::new());
        self.put(end + 1, &right, self.palette.bold());
        self.line += 1;
        if self.area.height >= 12 {
            self.legend(balance, &show);
        }
    }

    /// The amounts of the bar, in the longest words that fit.
    fn legend(&mut self, balance: &BalanceLine, show: &impl Fn(i128) -> String) {
        let parts = bar::parts(balance);
        let forms: [&dyn Fn(&bar::BarPart) -> String; 3] = [
            &|part| format!("{} {} {}", part.letter, part.name, show(part.amount)),
            &|part| {
                let name = if part.letter == '?' { "?" } else { part.name };
                format!("{name} {}", show(part.amount))
            },
            &|part| format!("{} {}", part.letter, show(part.amount)),
        ];
        let space = |form: usize| if form == 0 { SPACE } else { 1 };
        let length = |form: usize, word: &dyn Fn(&bar::BarPart) -> String| {
            parts.iter().map(|part| width(&word(part)) + space(form)).sum::<usize>()
        };
        let fits = |(form, word): &(usize, &&dyn Fn(&bar::BarPart) -> String)| {
            length(*form, word) <= self.columns() + space(*form)
        };
        let chosen = forms.iter().enumerate().find(fits).or(forms.iter().enumerate().next_back());
        let Some((form, word)) = chosen else { return };
        let mut column = 0;
        for part in &parts {
            let style = self.palette.part(part.letter);
            column = self.put(column, &word(part), style) + space(form);
        }
        self.line += 1;
    }

    fn tabs(&mut self, model: &TopModel) {
        let mut column = 0;
        let is_wide = self.columns() >= 60;
        for (number, table) in TopTable::ALL.into_iter().enumerate() {
            let text = if is_wide {
                format!(" {} {} {} ", number + 1, table.words(), model.count(table))
            } else {
                format!(" {} {} ", number + 1, table.words())
            };
            let style = if table == model.table { self.palette.selected() } else { Style::new() };
            column = self.put(column, &text, style) + 1;
        }
        let order = match model.order {
            RowOrder::Name => "by name".to_owned(),
            RowOrder::Figure(_) => format!("by {}", model.figure().words()),
        };
        let mut words = order;
        if !model.filter.is_empty() || model.is_typing {
            words = format!("{words}, with \"{}\"", model.filter);
        }
        let room = self.columns().saturating_sub(column + 1);
        self.put(column + 1, &shortened(&words, room), self.palette.dim());
        self.line += 1;
    }

    /// Draws head and rows; returns the number of rows that fit.
    fn table(&mut self, model: &TopModel) -> usize {
        let rows = model.rows();
        let sorted_by = model.figure();
        let mut columns: Vec<(TopColumn, usize)> =
            columns::fitting(model.table, sorted_by, self.columns())
                .into_iter()
                .map(|column| (column, column.width(model.table)))
                .collect();
        self.widen(&mut columns, &rows);
        let mut column = 0;
        for (head, width) in &columns {
            let text = aligned(head.head(), *width, head.is_text());
            let is_sorted = match model.order {
                RowOrder::Name => *head == TopColumn::Name,
                RowOrder::Figure(_) => *head == TopColumn::Figure(sorted_by),
            };
            let style = if is_sorted { self.palette.selected() } else { self.palette.bold() };
            column = self.put(column, &text, style) + SPACE;
        }
        self.line += 1;
        // The line over time and the hints are below.
        let end = self.area.bottom().saturating_sub(2);
        let page = usize::from(end.saturating_sub(self.line));
        let selected = model.selected(&rows);
        let first = (selected + 1).saturating_sub(page);
        if rows.is_empty() {
            let text = match model.shown() {
                None => "",
                Some(_) if model.filter.is_empty() => "there are none on this host",
                Some(_) => "none match the filter; Esc clears it",
            };
            self.put(0, text, self.palette.dim());
        }
        for (at, listed) in rows.iter().enumerate().skip(first).take(page) {
            self.row(listed, &columns, at == selected);
            self.line += 1;
        }
        self.line = end;
        page
    }

    /// Gives names and owners the room that is left, as far as they need it.
    fn widen(&self, columns: &mut [(TopColumn, usize)], rows: &[ListedRow<'_>]) {
        let used: usize = columns.iter().map(|(_, width)| width + SPACE).sum();
        let mut left = (self.columns() + SPACE).saturating_sub(used);
        let texts = columns.iter_mut().filter(|(column, _)| column.is_text());
        for (column, columns_wide) in texts {
            let needed = rows.iter().map(|listed| match column {
                TopColumn::Owner => width(&listed.row.entity.owner),
                _ => width(&full_name(listed)),
            });
            let more = needed.max().unwrap_or(0).saturating_sub(*columns_wide).min(left);
            *columns_wide += more;
            left -= more;
        }
    }

    fn row(&mut self, listed: &ListedRow<'_>, columns: &[(TopColumn, usize)], is_selected: bool) {
        if is_selected {
            let line = Rect { y: self.line, height: 1, ..self.area };
            self.buffer.set_style(line, self.palette.selected());
        }
        let mut at = 0;
        for (column, width) in columns {
            let (text, style) = self.cell(listed, *column, *width);
            // The style of a cell is added to that of the line.
            self.put(at, &aligned(&text, *width, column.is_text()), style);
            at += width + SPACE;
        }
    }

    fn cell(&self, listed: &ListedRow<'_>, column: TopColumn, width: usize) -> (String, Style) {
        let row = listed.row;
        let entity = &row.entity;
        let of = |figure| row.figures.get(figure);
        let plain = |text: String| {
            let is_nothing = matches!(&*text, "-" | "0 B" | "0.00");
            let style = if is_nothing { self.palette.dim() } else { Style::new() };
            (text, style)
        };
        match column {
            TopColumn::Pid => plain(cell(entity.pid, |pid| pid.to_string())),
            TopColumn::Name => (name_in(listed, width), self.name_style(row)),
            TopColumn::Owner => plain(shortened(&entity.owner, width)),
            TopColumn::CpuLimit => plain(cell(entity.cpu_limit, cores)),
            TopColumn::MemoryLimit => plain(cell(entity.memory_limit, bytes)),
            TopColumn::Figure(RowFigure::Cpu) => {
                let (text, style) = plain(cell(of(RowFigure::Cpu), cores));
                let limit = self.palette.of_limit(of(RowFigure::Cpu), entity.cpu_limit);
                (text, style.patch(limit))
            }
            TopColumn::Figure(RowFigure::Memory) => {
                let (text, style) = plain(cell(of(RowFigure::Memory), bytes));
                let limit = self.palette.of_limit(of(RowFigure::Memory), entity.memory_limit);
                (text, style.patch(limit))
            }
            TopColumn::Figure(figure) => plain(cell(of(figure), bytes)),
        }
    }

    fn name_style(&self, row: &SampleRow) -> Style {
        if row.has_oom {
            self.palette.alarm()
        } else if row.is_throttled {
            self.palette.warning()
        } else if row.has_exited {
            self.palette.dim()
        } else {
            Style::new()
        }
    }

    /// The sorted figure of the selected row over the history; or why no samples come.
    fn row_over_time(&mut self, model: &TopModel) {
        if let Some(error) = &model.error {
            self.put(0, &shortened(error, self.columns()), self.palette.alarm());
            self.line += 1;
            return;
        }
        let rows = model.rows();
        let selected = rows.get(model.selected(&rows));
        if let (Some(listed), Some(number)) = (selected, model.shown_number()) {
            let figure = model.figure();
            let entity = &listed.row.entity;
            let show = |amount| match figure {
                RowFigure::Cpu => cores(amount),
                RowFigure::Memory => bytes(amount),
                _ => format!("{}/s", bytes(amount)),
            };
            // The name has a quarter of the line, and the samples what is left.
            let name = shortened(&entity.name, self.columns() / 4);
            let words_for = |most| format!("{}, at most {}", figure.words(), cell(most, show));
            let widest = width(&words_for(None)) + "99.9 MiB/s".len();
            let room = self.columns().saturating_sub(width(&name) + widest + 2 * SPACE);
            let count = room.min(SPARKS_MAX);
            let figures = model.history.figures(&entity.key, figure, number, count);
            let most = figures.iter().flatten().max().copied();
            let words = words_for(most);
            let column = self.put(0, &name, self.palette.bold());
            let column = self.put(column + 1, &words, Style::new());
            let line = sparks(&figures, most.unwrap_or(0));
            self.put(column + SPACE, &line, self.palette.part('p'));
        }
        self.line += 1;
    }

    fn hints(&mut self, model: &TopModel) {
        if model.is_typing {
            let column = self.put(0, &format!("/{}", model.filter), self.palette.bold());
            let column = self.put(column, " ", self.palette.selected());
            self.put(column + 1, "Enter keeps it, Esc clears it", self.palette.dim());
            return;
        }
        let hints = [
            "? help",
            "q quit",
            "/ filter",
            "Tab table",
            "Enter containers",
            "←→ history",
            "Space hold",
            "cmrwnoN sort",
            "b bar",
        ];
        let mut column = 0;
        for hint in hints {
            if column + width(hint) > self.columns() {
                break;
            }
            column = self.put(column, hint, self.palette.dim()) + SPACE;
        }
    }

    fn help(&mut self) {
        const WIDTH: u16 = 40;
        let lines = self.area.height.min(HELP.len() as u16 + 2);
        let area = Rect {
            x: self.area.x + (self.area.width - WIDTH.min(self.area.width)) / 2,
            y: self.area.y + (self.area.height - lines) / 2,
            width: WIDTH.min(self.area.width),
            height: lines,
        };
        let inner = usize::from(area.width) - 2;
        let edge = |left: char, right: char| format!("{left}{}{right}", "─".repeat(inner));
        let mut texts = vec![edge('┌', '┐')];
        for (keys, what) in HELP.iter().take(usize::from(lines).saturating_sub(2)) {
            let text = format!("{} {what}", padded(keys, 13));
            texts.push(format!("│{}│", padded(&text, inner)));
        }
        texts.push(match HELP.len().saturating_sub(texts.len() - 1) {
            0 => edge('└', '┘'),
            hidden => format!("└{:─^inner$}┘", format!(" {hidden} more on a taller screen ")),
        });
        for (y, text) in (area.y..area.bottom()).zip(texts) {
            for x in area.x..area.right() {
                if let Some(cell) = self.buffer.cell_mut((x, y)) {
                    cell.reset();
                }
            }
            self.buffer.set_stringn(area.x, y, text, area.width.into(), Style::new());
        }
    }
}

/// The name of a row with what stands before and behind it.
fn full_name(listed: &ListedRow<'_>) -> String {
    format!("{}{}{}", before_name(listed), listed.row.entity.name, marks(listed.row))
}

/// The same in `columns`: the name gives way, not the marks.
fn name_in(listed: &ListedRow<'_>, columns: usize) -> String {
    let (before, marks) = (before_name(listed), marks(listed.row));
    let room = columns.saturating_sub(width(before) + width(&marks));
    format!("{before}{}{marks}", shortened(&listed.row.entity.name, room))
}

fn before_name(listed: &ListedRow<'_>) -> &'static str {
    match (listed.row.entity.kind, listed.is_unfolded) {
        (RowKind::Container, _) => "    ",
        (_, Some(true)) => "- ",
        (_, Some(false)) => "+ ",
        (RowKind::Pod, None) => "  ",
        (RowKind::Unit | RowKind::Process, None) => "",
    }
}

fn marks(row: &SampleRow) -> String {
    let marks =
        [(row.has_oom, " OOM"), (row.is_throttled, " throttled"), (row.has_exited, " exited")];
    marks.iter().filter(|(is_set, _)| *is_set).map(|(_, mark)| *mark).collect()
}

/// `text` in at least `columns`: a text at the left, a number at the right.
fn aligned(text: &str, columns: usize, is_text: bool) -> String {
    if is_text { padded(text, columns) } else { padded_left(text, columns) }
}

/// A character for each figure, by its share of `most`; a space where it is not known.
fn sparks(figures: &[Option<u64>], most: u64) -> String {
    let spark = |figure: &Option<u64>| {
        let Some(figure) = figure else { return ' ' };
        let steps = SPARKS.len() as u128 - 1;
        let at = u128::from(*figure) * steps / u128::from(most.max(1));
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        SPARKS.get(at).or(SPARKS.last()).copied().unwrap_or(' ')
    };
    figures.iter().map(spark).collect()
}

#[cfg(test)]
mod tests {
    use ratatui_core::style::Color;

    use super::super::model::TopAction;
    use super::super::sample::tests::{LINES, sample};
    use super::*;

    fn model(actions: &[TopAction]) -> TopModel {
        model_of(LINES, actions)
    }

    fn model_of(lines: &str, actions: &[TopAction]) -> TopModel {
        let mut model = TopModel::default();
        model.source = "agent at /run/s".to_owned();
        for cpu in ["700", "1100", "1500"] {
            let cpu = format!("\"cpu_millicores\":{cpu},\"cpu_limit");
            model.add(sample(&lines.replace("\"cpu_millicores\":1500,\"cpu_limit", &cpu)));
        }
        actions.iter().for_each(|action| model.act(*action));
        model
    }

    fn frame(model: &mut TopModel, columns: u16, lines: u16, has_colour: bool) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, columns, lines));
        draw(model, TopPalette { has_colour }, &mut buffer);
        buffer
    }

    fn text(buffer: &Buffer) -> String {
        let columns = usize::from(buffer.area().width);
        let line = |cells: &[ratatui_core::buffer::Cell]| {
            let line: String = cells.iter().map(|cell| cell.symbol()).collect();
            line.trim_end().to_owned() + "\n"
        };
        buffer.content().chunks(columns.max(1)).map(line).collect()
    }

    #[test]
    fn frames_of_three_sizes() {
        let pods = text(&frame(&mut model(&[TopAction::Unfold]), 80, 24, false));
        insta::assert_snapshot!("pods-80x24", pods);
        let wide = text(&frame(&mut model(&[TopAction::UnfoldAll]), 200, 60, false));
        insta::assert_snapshot!("pods-200x60", wide);
        let table = TopAction::Table(TopTable::Processes);
        let small = text(&frame(&mut model(&[table, TopAction::OtherBar]), 40, 12, false));
        insta::assert_snapshot!("processes-40x12", small);
    }

    /// The page is compared with what is drawn, so that nothing in it is drawn by hand.
    #[test]
    fn the_screen_of_the_document_is_as_it_is_drawn() {
        let page = include_str!("../../../docs/top.md");
        let shown = page.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
        let lines = LINES.replace("n\\u001b1", "worker-1");
        let mut model = model_of(&lines, &[TopAction::Unfold]);
        model.source = "agent at /run/nodetally/status.sock".to_owned();
        let drawn = text(&frame(&mut model, 100, 16, false));
        assert_eq!(shown, Some(&*drawn), "docs/top.md should have\n{drawn}");
    }

    #[test]
    fn every_size_is_drawn_within_its_frame() {
        let long =
            LINES.replace("web-7d9", &"名\u{202e}".repeat(300)).replace("burn", &"b".repeat(500));
        let mut model = TopModel::default();
        model.add(sample(&long));
        for (columns, lines) in [(0, 0), (1, 1), (39, 24), (80, 9), (40, 10), (41, 13), (500, 200)]
        {
            for action in [
                TopAction::NextTable,
                TopAction::Help,
                TopAction::OtherBar,
                TopAction::StartFilter,
                TopAction::Clear,
                TopAction::Help,
            ] {
                model.act(action);
                let drawn = text(&frame(&mut model, columns, lines, true));
                assert!(!drawn.contains('\u{202e}'));
            }
        }
        let small = text(&frame(&mut model, 39, 24, true));
        assert!(small.starts_with("terminal too small: 40x10 is the least\n"), "{small}");
    }

    #[test]
    fn without_colour_there_is_none_and_with_it_limits_are_seen() {
        let none = frame(&mut model(&[]), 120, 24, false);
        assert!(none.content().iter().all(|cell| cell.fg == Color::Reset));
        // 1.5 of 1.6 CPUs, and throttled.
        let some = frame(&mut model(&[]), 120, 24, true);
        let colours: Vec<Color> = some.content().iter().map(|cell| cell.fg).collect();
        assert!(colours.contains(&Color::Yellow) && colours.contains(&Color::Red));
    }

    #[test]
    fn the_selected_row_is_on_the_screen() {
        let mut model = TopModel::default();
        let rows: String = (0..50)
            .map(|at| {
                format!(
                    "{{\"kind\":\"process\",\"pid\":{at},\"comm\":\"p{at:02}\",\"cpu_millicores\":{}}}\n",
                    50 - at
                )
            })
            .collect();
        model.add(sample(&rows));
        let shows = |model: &mut TopModel, name: &str| {
            text(&frame(model, 80, 24, false)).lines().any(|line| line.contains(name))
        };
        assert!(shows(&mut model, "p00") && !shows(&mut model, "p49"));
        model.act(TopAction::Last);
        assert!(shows(&mut model, "p49") && !shows(&mut model, "p00"));
        model.act(TopAction::MovePage(-1));
        let rows = model.rows();
        assert_eq!(model.selected(&rows), 49 - model.page_rows);
    }
}
