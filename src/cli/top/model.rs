//! The state of `top`: the samples, and which of their rows a person looks at.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use super::figure::RowFigure;
use super::history::SampleHistory;
use super::sample::{RowKind, SampleRow, TopSample};

/// The longest filter, in characters.
const FILTER_CHARS_MAX: usize = 64;

/// The most pods whose containers are listed one by one. Opening all is a switch of its own.
const UNFOLDED_MAX: usize = 1024;

/// A table; one is shown at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopTable {
    Pods,
    Units,
    Processes,
}

impl TopTable {
    pub const ALL: [Self; 3] = [Self::Pods, Self::Units, Self::Processes];

    pub const fn words(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Units => "units",
            Self::Processes => "processes",
        }
    }

    const fn kind(self) -> RowKind {
        match self {
            Self::Pods => RowKind::Pod,
            Self::Units => RowKind::Unit,
            Self::Processes => RowKind::Process,
        }
    }

    /// `true` for a figure that its rows have.
    pub fn has(self, figure: RowFigure) -> bool {
        self != Self::Processes || !matches!(figure, RowFigure::In | RowFigure::Out)
    }
}

/// The order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrder {
    /// The largest first.
    Figure(RowFigure),
    Name,
}

/// A wish of the person at the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopAction {
    Quit,
    Help,
    Table(TopTable),
    NextTable,
    Order(RowOrder),
    /// Up is negative.
    Move(isize),
    MovePage(isize),
    First,
    Last,
    Unfold,
    UnfoldAll,
    Earlier,
    Later,
    Hold,
    OtherBar,
    StartFilter,
    Type(char),
    DeleteChar,
    EndFilter,
    Clear,
    Redraw,
}

/// A row that is listed.
#[derive(Debug, Clone, Copy)]
pub struct ListedRow<'a> {
    pub row: &'a SampleRow,
    /// Of a pod with containers: whether they are listed. `None` for other rows.
    pub is_unfolded: Option<bool>,
}

/// The state of the program.
#[derive(Debug)]
pub struct TopModel {
    pub history: SampleHistory,
    pub table: TopTable,
    pub order: RowOrder,
    pub filter: String,
    /// The keys go to the filter.
    pub is_typing: bool,
    pub shows_help: bool,
    /// The bar shows memory and not CPU.
    pub bar_is_memory: bool,
    /// The sample that is looked at; `None`: the newest.
    pub held: Option<u64>,
    /// The source of the samples, in a few words.
    pub source: String,
    /// The reason why no new samples come.
    pub error: Option<String>,
    /// The rows that fit on the screen, as it was drawn last.
    pub page_rows: usize,
    pub has_quit: bool,
    unfolded: BTreeSet<Box<str>>,
    unfolds_all: bool,
    /// The key of the selected row, once somebody has moved to it.
    selected: Option<Box<str>>,
    /// Its place when it was looked up last.
    selected_at: usize,
    /// Nobody has chosen a table, and no sample has.
    has_no_table: bool,
}

impl Default for TopModel {
    fn default() -> Self {
        Self {
            history: SampleHistory::default(),
            table: TopTable::Pods,
            order: RowOrder::Figure(RowFigure::Cpu),
            filter: String::new(),
            is_typing: false,
            shows_help: false,
            bar_is_memory: false,
            held: None,
            source: String::new(),
            error: None,
            page_rows: 10,
            has_quit: false,
            unfolded: BTreeSet::new(),
            unfolds_all: false,
            selected: None,
            selected_at: 0,
            has_no_table: true,
        }
    }
}

impl TopModel {
    /// Adds the newest sample. The first decides which table is shown, unless somebody has chosen one
    /// before it came: a host without pods has units.
    pub fn add(&mut self, sample: TopSample) {
        if self.has_no_table {
            self.has_no_table = false;
            let has = |kind| sample.rows.iter().any(|row| row.entity.kind == kind);
            let is_there = |table: &TopTable| has(table.kind());
            self.table = TopTable::ALL.into_iter().find(is_there).unwrap_or(TopTable::Processes);
        }
        self.history.push(sample);
        // A held sample that is dropped gives way to the oldest.
        self.held = self.held.map(|held| held.max(self.history.oldest()));
        self.error = None;
    }

    /// The number of the sample that is looked at.
    pub fn shown_number(&self) -> Option<u64> {
        self.held.or_else(|| self.history.newest())
    }

    /// The sample that is looked at; `None`: there is none yet.
    pub fn shown(&self) -> Option<&TopSample> {
        self.history.get(self.shown_number()?)
    }

    /// The figure by which rows are sorted and drawn over time. Rows without it are sorted by CPU.
    pub fn figure(&self) -> RowFigure {
        match self.order {
            RowOrder::Figure(figure) if self.table.has(figure) => figure,
            RowOrder::Figure(_) | RowOrder::Name => RowFigure::Cpu,
        }
    }

    /// The number of rows of a table, whatever the filter says.
    pub fn count(&self, table: TopTable) -> usize {
        let rows = self.shown().map(|sample| sample.rows.as_slice()).unwrap_or_default();
        rows.iter().filter(|row| row.entity.kind == table.kind()).count()
    }

    /// The rows of the table, filtered and sorted, containers below their pod.
    pub fn rows<'a>(&'a self) -> Vec<ListedRow<'a>> {
        let Some(sample) = self.shown() else { return Vec::new() };
        let wanted = self.filter.to_lowercase();
        let is_wanted = |row: &SampleRow| {
            wanted.is_empty()
                || row.entity.name.to_lowercase().contains(&wanted)
                || row.entity.owner.to_lowercase().contains(&wanted)
        };
        let mut below: HashMap<&str, Vec<&SampleRow>> = HashMap::new();
        if self.table == TopTable::Pods {
            for row in sample.rows.iter().filter(|row| row.entity.kind == RowKind::Container) {
                below.entry(&row.entity.parent).or_default().push(row);
            }
        }
        let kind = self.table.kind();
        let mut rows: Vec<&SampleRow> = sample
            .rows
            .iter()
            .filter(|row| row.entity.kind == kind)
            .filter(|row| {
                let containers = below.get(&*row.entity.key).map(Vec::as_slice);
                is_wanted(row) || containers.unwrap_or_default().iter().any(|one| is_wanted(one))
            })
            .collect();
        rows.sort_by(|a, b| self.compare(a, b));
        let mut listed = Vec::with_capacity(rows.len());
        for row in rows {
            let containers = below.get_mut(&*row.entity.key);
            let is_unfolded = self.unfolds_all != self.unfolded.contains(&row.entity.key);
            listed.push(ListedRow { row, is_unfolded: containers.as_ref().map(|_| is_unfolded) });
            if let Some(containers) = containers.filter(|_| is_unfolded) {
                containers.sort_by(|a, b| self.compare(a, b));
                let container = |row: &&'a SampleRow| ListedRow { row, is_unfolded: None };
                listed.extend(containers.iter().map(container));
            }
        }
        listed
    }

    fn compare(&self, a: &SampleRow, b: &SampleRow) -> Ordering {
        let by_order = match self.order {
            RowOrder::Name => a.entity.name.cmp(&b.entity.name),
            RowOrder::Figure(_) => a.figures.larger_first(&b.figures, self.figure()),
        };
        by_order.then_with(|| a.entity.key.cmp(&b.entity.key))
    }

    /// The place of the selected row in `rows`. It stays at its row where that moves; before anybody has
    /// moved it is the first.
    pub fn selected(&self, rows: &[ListedRow<'_>]) -> usize {
        let last = rows.len().saturating_sub(1);
        let Some(key) = &self.selected else { return 0 };
        let found = rows.iter().position(|listed| listed.row.entity.key == *key);
        found.unwrap_or(self.selected_at).min(last)
    }

    fn select(&mut self, choose: impl FnOnce(usize, usize) -> usize) {
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        let at = choose(self.selected(&rows), last).min(last);
        let key = rows.get(at).map(|listed| listed.row.entity.key.clone());
        self.selected_at = at;
        // The first place belongs to whoever is first.
        self.selected = key.filter(|_| at > 0);
    }

    /// Does as the person wishes.
    pub fn act(&mut self, action: TopAction) {
        match action {
            TopAction::Quit => self.has_quit = true,
            TopAction::Help => self.shows_help = !self.shows_help,
            TopAction::Table(table) => self.set_table(table),
            TopAction::NextTable => {
                let at = TopTable::ALL.iter().position(|table| *table == self.table).unwrap_or(0);
                let next = TopTable::ALL.into_iter().cycle().nth(at + 1);
                self.set_table(next.unwrap_or(TopTable::Pods));
            }
            TopAction::Order(order) => self.order = order,
            TopAction::Move(by) => self.select(|at, _| at.saturating_add_signed(by)),
            TopAction::MovePage(pages) => {
                let by = pages.saturating_mul(self.page_rows.max(1).cast_signed());
                self.select(|at, _| at.saturating_add_signed(by));
            }
            TopAction::First => self.select(|_, _| 0),
            TopAction::Last => self.select(|_, last| last),
            TopAction::Unfold => self.unfold(),
            TopAction::UnfoldAll => {
                self.unfolds_all = !self.unfolds_all;
                self.unfolded.clear();
            }
            TopAction::Earlier => {
                let oldest = self.history.oldest();
                self.held = self.shown_number().map(|at| at.saturating_sub(1).max(oldest));
            }
            TopAction::Later => {
                let newest = self.history.newest();
                // The newest one is no longer held.
                let later = self.held.map(|at| at.saturating_add(1));
                self.held = later.filter(|at| newest.is_some_and(|newest| *at < newest));
            }
            TopAction::Hold => {
                self.held = if self.held.is_some() { None } else { self.history.newest() };
            }
            TopAction::OtherBar => self.bar_is_memory = !self.bar_is_memory,
            TopAction::StartFilter => self.is_typing = true,
            TopAction::Type(c) => {
                if self.filter.chars().count() < FILTER_CHARS_MAX && !c.is_control() {
                    self.filter.push(c);
                }
            }
            TopAction::DeleteChar => {
                self.filter.pop();
            }
            TopAction::EndFilter => self.is_typing = false,
            TopAction::Clear => {
                if self.shows_help {
                    self.shows_help = false;
                } else {
                    self.filter.clear();
                    self.is_typing = false;
                }
            }
            TopAction::Redraw => {}
        }
    }

    fn set_table(&mut self, table: TopTable) {
        self.table = table;
        self.has_no_table = false;
        self.selected = None;
        self.selected_at = 0;
    }

    /// Lists the containers of the selected pod, or of the selected container's pod no longer.
    fn unfold(&mut self) {
        let rows = self.rows();
        let Some(listed) = rows.get(self.selected(&rows)) else { return };
        let entity = &listed.row.entity;
        let pod = match entity.kind {
            RowKind::Pod => entity.key.clone(),
            RowKind::Container => entity.parent.clone(),
            RowKind::Unit | RowKind::Process => return,
        };
        if entity.kind == RowKind::Container {
            self.selected = Some(pod.clone());
        }
        if !self.unfolded.remove(&pod) && self.unfolded.len() < UNFOLDED_MAX {
            self.unfolded.insert(pod);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::tests::{LINES, sample};
    use super::*;

    fn model() -> TopModel {
        let mut model = TopModel::default();
        model.add(sample(LINES));
        model
    }

    fn names(model: &TopModel) -> Vec<&str> {
        model.rows().iter().map(|listed| &*listed.row.entity.name).collect()
    }

    fn selected(model: &TopModel) -> &str {
        let rows = model.rows();
        &rows[model.selected(&rows)].row.entity.name
    }

    fn act(model: &mut TopModel, actions: impl IntoIterator<Item = TopAction>) {
        actions.into_iter().for_each(|action| model.act(action));
    }

    #[test]
    fn rows_are_sorted_by_each_key_and_containers_follow_their_pod() {
        let mut model = model();
        assert_eq!(names(&model), ["shop/web-7d9", "bb"]);
        model.act(TopAction::Order(RowOrder::Figure(RowFigure::Memory)));
        assert_eq!(names(&model), ["bb", "shop/web-7d9"]);
        model.act(TopAction::UnfoldAll);
        assert_eq!(names(&model), ["bb", "shop/web-7d9", "app", "fedcba987654"]);
        // What is not known comes last.
        model.act(TopAction::Order(RowOrder::Figure(RowFigure::In)));
        assert_eq!(names(&model)[0], "shop/web-7d9");
        model.act(TopAction::Order(RowOrder::Name));
        assert_eq!(names(&model)[0], "bb");
        model.act(TopAction::Table(TopTable::Processes));
        assert_eq!(names(&model), ["burn", "ended children of sshd", "sshd"]);
        // Processes have no network of their own.
        model.act(TopAction::Order(RowOrder::Figure(RowFigure::Out)));
        assert_eq!(model.figure(), RowFigure::Cpu);
        assert_eq!(names(&model), ["burn", "ended children of sshd", "sshd"]);
    }

    #[test]
    fn the_first_sample_chooses_a_table_where_nobody_has() {
        let pods = LINES;
        let units: String = LINES
            .lines()
            .filter(|line| !line.contains(r#""kind":"pod""#))
            .map(|line| format!("{line}\n"))
            .collect();
        for (keys, lines, table) in [
            (&[][..], pods, TopTable::Pods),
            (&[], &units, TopTable::Units),
            (&[], "", TopTable::Processes),
            (&[TopAction::Table(TopTable::Processes)], pods, TopTable::Processes),
            (&[TopAction::Table(TopTable::Pods)], &units, TopTable::Pods),
            (&[TopAction::NextTable], pods, TopTable::Units),
        ] {
            let mut model = TopModel::default();
            act(&mut model, keys.iter().copied());
            model.add(sample(lines));
            assert_eq!(model.table, table, "{keys:?}");
            model.add(sample(pods));
            assert_eq!(model.table, table, "the second sample changes nothing, {keys:?}");
        }
    }

    #[test]
    fn the_filter_looks_at_names_owners_and_containers() {
        let mut model = model();
        let filtered = |model: &mut TopModel, text: &str| {
            act(model, [TopAction::Clear, TopAction::StartFilter]);
            act(model, text.chars().map(TopAction::Type));
            model.act(TopAction::EndFilter);
            names(model).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(filtered(&mut model, "SHOP/"), ["shop/web-7d9"]);
        assert_eq!(filtered(&mut model, "app"), ["shop/web-7d9"]);
        assert_eq!(filtered(&mut model, "nothing"), [""; 0]);
        assert_eq!(selected_of(&model), None);
        model.act(TopAction::Table(TopTable::Processes));
        assert_eq!(filtered(&mut model, "ssh"), ["ended children of sshd", "sshd"]);
        assert_eq!(filtered(&mut model, "web"), ["burn"]);
        model.act(TopAction::Clear);
        assert_eq!(names(&model).len(), 3);
        act(&mut model, std::iter::repeat_n(TopAction::Type('a'), 1000));
        assert_eq!(model.filter.len(), FILTER_CHARS_MAX);
    }

    fn selected_of(model: &TopModel) -> Option<&str> {
        let rows = model.rows();
        rows.get(model.selected(&rows)).map(|listed| &*listed.row.entity.name)
    }

    #[test]
    fn the_selection_stays_at_its_row_and_the_first_place_at_the_first() {
        let mut model = model();
        model.act(TopAction::Table(TopTable::Processes));
        assert_eq!(selected(&model), "burn");
        model.act(TopAction::Move(5));
        assert_eq!(selected(&model), "sshd");
        model.act(TopAction::Order(RowOrder::Name));
        model.act(TopAction::Move(-1));
        assert_eq!(selected(&model), "ended children of sshd");
        // It is gone: its place remains.
        let without = LINES.lines().filter(|line| !line.contains("exited_children"));
        model.add(sample(&without.collect::<Vec<_>>().join("\n")));
        assert_eq!(selected(&model), "sshd");
        model.act(TopAction::First);
        model.add(sample(&LINES.replace("\"comm\":\"burn\"", "\"comm\":\"zz\"")));
        assert_eq!(selected(&model), "ended children of sshd");
        model.act(TopAction::MovePage(-3));
        model.act(TopAction::Last);
        assert_eq!(selected(&model), "zz");
    }

    #[test]
    fn a_pod_is_unfolded_and_folded_from_its_containers() {
        let mut model = model();
        model.act(TopAction::Unfold);
        assert_eq!(names(&model), ["shop/web-7d9", "app", "fedcba987654", "bb"]);
        act(&mut model, [TopAction::Move(2), TopAction::Unfold]);
        assert_eq!(names(&model), ["shop/web-7d9", "bb"]);
        assert_eq!(selected(&model), "shop/web-7d9");
        // One without containers has nothing to unfold.
        act(&mut model, [TopAction::Last, TopAction::Unfold]);
        assert_eq!(names(&model), ["shop/web-7d9", "bb"]);
    }

    #[test]
    fn history_is_looked_at_while_samples_go_on() {
        let mut model = TopModel::default();
        model.act(TopAction::Earlier);
        model.act(TopAction::Hold);
        assert!(model.shown().is_none());
        for cpus in 1..=3 {
            let mut sample = TopSample::default();
            sample.node.cpus = Some(cpus);
            model.add(sample);
        }
        let cpus = |model: &TopModel| model.shown().unwrap().node.cpus.unwrap();
        assert_eq!(cpus(&model), 3);
        model.act(TopAction::Earlier);
        assert_eq!(cpus(&model), 2);
        model.add(TopSample::default());
        assert_eq!(cpus(&model), 2, "a sample that is looked at stays");
        act(&mut model, [TopAction::Earlier, TopAction::Earlier, TopAction::Earlier]);
        assert_eq!(cpus(&model), 1);
        act(&mut model, [TopAction::Later, TopAction::Later]);
        assert_eq!((cpus(&model), model.held), (3, Some(2)));
        model.act(TopAction::Later);
        assert_eq!(model.held, None, "the newest is live");
        model.act(TopAction::Hold);
        assert_eq!(model.held, Some(3));
        for _ in 0..super::super::history::SAMPLES_MAX {
            model.add(TopSample::default());
        }
        assert_eq!(model.held, Some(model.history.oldest()));
        model.act(TopAction::Hold);
        assert_eq!(model.held, None);
    }

    #[test]
    fn the_first_sample_decides_which_table_is_shown() {
        let only = |kind: &str| {
            let mut model = TopModel::default();
            let lines = LINES.lines().filter(|line| line.contains(kind));
            model.add(sample(&lines.collect::<Vec<_>>().join("\n")));
            model.table
        };
        assert_eq!(only("\"kind\""), TopTable::Pods);
        assert_eq!(only("host_unit\""), TopTable::Units);
        assert_eq!(only("\"kind\":\"process\""), TopTable::Processes);
    }
}
