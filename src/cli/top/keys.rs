//! The keys, as wishes.

use ratatui_crossterm::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::figure::RowFigure;
use super::model::{RowOrder, TopAction, TopTable};

/// The lines of the help: keys, and what they do.
pub const HELP: [(&str, &str); 16] = [
    ("1 2 3 Tab", "pods, units, processes"),
    ("↑ ↓ PgUp PgDn", "select a row"),
    ("Home End", "first row, last row"),
    ("Enter", "containers of the pod"),
    ("e", "containers of all pods"),
    ("c m", "sort by CPU, memory"),
    ("r w", "sort by read, written"),
    ("n o", "sort by network in, out"),
    ("N", "sort by name"),
    ("/", "filter names and owners"),
    ("Esc", "no filter"),
    ("← →", "earlier, later sample"),
    ("Space", "hold the sample, go on"),
    ("b", "bar of CPU, of memory"),
    ("Ctrl-L", "draw anew"),
    ("q Ctrl-C", "quit"),
];

/// The wish of a key; `None`: it has none. While a filter is typed, characters belong to it.
pub fn action(key: &KeyEvent, is_typing: bool) -> Option<TopAction> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(TopAction::Quit),
            KeyCode::Char('l') => Some(TopAction::Redraw),
            _ => None,
        };
    }
    if key.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    if is_typing {
        match key.code {
            KeyCode::Char(c) => return Some(TopAction::Type(c)),
            KeyCode::Backspace => return Some(TopAction::DeleteChar),
            KeyCode::Enter => return Some(TopAction::EndFilter),
            _ => {}
        }
    }
    let order = |figure| TopAction::Order(RowOrder::Figure(figure));
    Some(match key.code {
        KeyCode::Char('q') => TopAction::Quit,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => TopAction::Help,
        KeyCode::Char('1') => TopAction::Table(TopTable::Pods),
        KeyCode::Char('2') => TopAction::Table(TopTable::Units),
        KeyCode::Char('3') => TopAction::Table(TopTable::Processes),
        KeyCode::Tab => TopAction::NextTable,
        KeyCode::Char('c') => order(RowFigure::Cpu),
        KeyCode::Char('m') => order(RowFigure::Memory),
        KeyCode::Char('r') => order(RowFigure::Read),
        KeyCode::Char('w') => order(RowFigure::Written),
        KeyCode::Char('n') => order(RowFigure::In),
        KeyCode::Char('o') => order(RowFigure::Out),
        KeyCode::Char('N') => TopAction::Order(RowOrder::Name),
        KeyCode::Char('/') => TopAction::StartFilter,
        KeyCode::Esc => TopAction::Clear,
        KeyCode::Up | KeyCode::Char('k') => TopAction::Move(-1),
        KeyCode::Down | KeyCode::Char('j') => TopAction::Move(1),
        KeyCode::PageUp => TopAction::MovePage(-1),
        KeyCode::PageDown => TopAction::MovePage(1),
        KeyCode::Home => TopAction::First,
        KeyCode::End => TopAction::Last,
        KeyCode::Enter => TopAction::Unfold,
        KeyCode::Char('e') => TopAction::UnfoldAll,
        KeyCode::Left => TopAction::Earlier,
        KeyCode::Right => TopAction::Later,
        KeyCode::Char(' ') => TopAction::Hold,
        KeyCode::Char('b') => TopAction::OtherBar,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    #[test]
    fn characters_are_text_while_a_filter_is_typed() {
        assert_eq!(action(&key(KeyCode::Char('q')), false), Some(TopAction::Quit));
        assert_eq!(action(&key(KeyCode::Char('q')), true), Some(TopAction::Type('q')));
        assert_eq!(action(&key(KeyCode::Enter), true), Some(TopAction::EndFilter));
        assert_eq!(action(&key(KeyCode::Enter), false), Some(TopAction::Unfold));
        assert_eq!(action(&key(KeyCode::Esc), true), Some(TopAction::Clear));
        // The arrows move also then.
        assert_eq!(action(&key(KeyCode::Down), true), Some(TopAction::Move(1)));
    }

    #[test]
    fn ctrl_c_quits_whatever_is_typed() {
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(action(&ctrl_c, true), Some(TopAction::Quit));
        let alt_q = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::ALT);
        assert_eq!(action(&alt_q, false), None);
        let release = KeyEvent { kind: KeyEventKind::Release, ..key(KeyCode::Char('q')) };
        assert_eq!(action(&release, false), None);
    }

    #[test]
    fn the_help_fits_the_smallest_terminal() {
        for (keys, what) in HELP {
            assert!(keys.chars().count() <= 13 && what.chars().count() <= 23, "{keys}: {what}");
        }
    }
}
