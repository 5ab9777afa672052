//! Text in the width of a terminal: shortened, cut or broken into lines.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;

use super::style::Style;
use crate::printable::printable;

/// A name from the kernel as text that cannot steer the terminal.
pub(super) fn printable_bytes(bytes: &[u8]) -> String {
    printable(&String::from_utf8_lossy(bytes))
}

/// A line that says how many rows are left out.
pub(super) fn more(rest: usize, one: &str, many: &str, style: Style, out: &mut String) {
    if rest > 0 {
        let what = if rest == 1 { one } else { many };
        let _ = writeln!(out, "{}", style.dim(&format!("and {rest} more {what} (--top)")));
    }
}

/// The columns that `text` has on a terminal: a Chinese character has two, an accent of its own none.
/// Terminals differ on emoji of several characters; then it is the largest number.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    match c {
        // A variation selector may make the character before it wide.
        '\u{fe00}'..='\u{fe0f}' => 1,
        c => c.width().unwrap_or(0),
    }
}

/// `text`, filled up with spaces to `columns`.
pub(super) fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// `text` behind as many spaces as fill `columns`.
pub(super) fn padded_left(text: &str, columns: usize) -> String {
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(text))))
}

/// The longest start of `text` that has at most `columns`.
fn start(text: &str, columns: usize) -> &str {
    let mut left = columns;
    let end = text.char_indices().find_map(|(at, c)| {
        let rest = left.checked_sub(char_width(c));
        left = rest.unwrap_or(0);
        rest.is_none().then_some(at)
    });
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// The longest end of `text` that has at most `columns`. It begins with a character that has columns of
/// its own, since the others belong to the one before them.
fn end(text: &str, columns: usize) -> &str {
    let mut left = columns;
    let starts = text.char_indices().rev().map_while(|(at, c)| {
        left = left.checked_sub(char_width(c))?;
        Some((at, c))
    });
    let starts = starts.filter(|(_, c)| c.width().is_some_and(|columns| columns > 0));
    starts.last().and_then(|(at, _)| text.get(at..)).unwrap_or_default()
}

/// `text` in at most `columns`, without its middle: names differ at either end.
pub(super) fn shortened(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let tail = room / 2;
    format!("{}…{}", start(text, room - tail), end(text, tail))
}

/// `text` in at most `columns`, without its end.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    format!("{}…", start(text, room))
}

/// `head`, then `text`, as lines of at most `columns`; the later ones are indented by `indent`.
/// A line ends after a comma or semicolon where one is in its last two thirds, else at a space.
pub(super) fn folded(head: &str, text: &str, indent: usize, columns: Option<usize>) -> String {
    let mut out = head.to_owned();
    let mut rest = text;
    let mut used = width(head);
    let Some(columns) = columns else {
        out.push_str(rest);
        return out;
    };
    loop {
        let room = columns.saturating_sub(used).max(8);
        if width(rest) <= room {
            out.push_str(rest);
            return out;
        }
        let end = start(rest, room).len();
        // A space right behind the line may be its end too.
        let (_, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let window_end = end + behind.chars().next().map_or(0, char::len_utf8);
        let window = rest.get(..window_end).unwrap_or(rest);
        let after = |mark: &str| window.rfind(mark).map(|at| at + mark.len() - 1);
        let is_late = |at: &usize| rest.get(..*at).is_some_and(|line| width(line) >= room / 3);
        let at_mark = after("; ").max(after(", ")).filter(is_late);
        let at = at_mark.or_else(|| window.rfind(' ').filter(|at| *at > 0)).unwrap_or(end);
        let (line, more) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(line.trim_end());
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent));
        rest = more.trim_start();
        used = indent;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Names as people choose them, with characters of no, one and two columns.
    pub const NAMES: [&str; 10] = [
        "kubepods-burstable",
        "世界你好世界你好世界你好世界你好",
        "データベース-サーバー-本番環境-レプリカ-一号機.service",
        "한국어프로세스이름",
        "e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}",
        "a世b界c你d好e",
        "🚀🚀🚀-rocket-🚀🚀🚀",
        "👍🏽👍🏽👍🏽👍🏽",
        "❤\u{fe0f}❤\u{fe0f}❤\u{fe0f}❤\u{fe0f}❤\u{fe0f}❤\u{fe0f}",
        "ＦＵＬＬ－ｗｉｄｔｈ",
    ];

    #[test]
    fn a_long_name_keeps_both_ends_in_its_columns() {
        for (text, columns, shown) in [
            ("kubepods-burstable", 9, "kube…able"),
            ("kubepods", 8, "kubepods"),
            ("kubepods", 1, "…"),
            ("kubepods", 0, ""),
            ("世界你好", 8, "世界你好"),
            // Half a character has no place.
            ("世界你好", 7, "世…好"),
            ("e\u{301}e\u{301}e\u{301}e\u{301}", 3, "e\u{301}…e\u{301}"),
        ] {
            assert_eq!(shortened(text, columns), shown, "{text} in {columns}");
        }
    }

    #[test]
    fn a_command_line_keeps_its_start() {
        for (text, columns, shown) in [
            ("java -jar app.jar", 9, "java -ja…"),
            ("true", 4, "true"),
            ("true", 0, ""),
            ("世界你好", 7, "世界你…"),
            ("世界你好", 6, "世界…"),
        ] {
            assert_eq!(cut(text, columns), shown, "{text} in {columns}");
        }
    }

    /// As long as a command line of accents may be, which have no width.
    #[test]
    fn a_text_without_width_takes_no_long_time() {
        let text = format!("a{}bc", "\u{301}".repeat(1 << 20));
        assert_eq!(width(&text), 3);
        assert_eq!(cut(&text, 2).chars().count(), (1 << 20) + 2);
        assert_eq!(shortened(&text, 2).chars().count(), (1 << 20) + 2);
    }

    /// The terminal is a program of others, and counts columns for itself.
    #[test]
    fn no_line_is_wrapped_by_a_terminal() {
        for name in NAMES {
            for columns in 2..60_u16 {
                let wide = usize::from(columns);
                let mut texts = vec![shortened(name, wide), cut(name, wide)];
                texts.extend([padded(&texts[0], wide), padded_left(&texts[0], wide)]);
                // A line has at least eight columns for its text.
                if columns >= 10 {
                    texts.push(folded("", &format!("{name}, {name} {name}"), 2, Some(wide)));
                }
                for text in texts {
                    let mut terminal = vt100::Parser::new(100, columns, 0);
                    terminal.process(text.replace('\n', "\r\n").as_bytes());
                    let screen = terminal.screen();
                    assert!((0..100).all(|line| !screen.row_wrapped(line)), "{columns} {text:?}");
                }
            }
        }
    }

    #[test]
    fn a_line_ends_after_a_comma_or_at_a_space() {
        let text = "1 B of 2 B in use, 3 B left";
        assert_eq!(folded("mem ", text, 4, Some(24)), "mem 1 B of 2 B in use,\n    3 B left");
        assert_eq!(folded("mem ", text, 4, Some(80)), format!("mem {text}"));
        assert_eq!(folded("mem ", text, 4, None), format!("mem {text}"));
        assert_eq!(folded("", "aaaa bbbb cccc", 2, Some(9)), "aaaa bbbb\n  cccc");
        // One word that is longer than a line.
        assert_eq!(folded("", "ääääääääääää", 1, Some(9)), "äääääääää\n äää");
    }
}
