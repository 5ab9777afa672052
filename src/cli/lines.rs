//! Text in the width of a terminal: shortened, cut or broken into lines.

use std::fmt::Write as _;

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

/// `text` in at most `width` characters, without its middle: names differ at either end.
pub(super) fn shortened(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    if width < 3 {
        return text.chars().take(width).collect();
    }
    let head = (width - 1).div_ceil(2);
    let tail = width - 1 - head;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{start}…{end}")
}

/// `text` in at most `width` characters, without its end.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        kept.push('…');
    }
    kept
}

/// `head`, then `text`, as lines of at most `width` characters; the later ones are indented by
/// `indent`. A line ends after a comma or semicolon where one is in its last two thirds, else at a space.
pub(super) fn folded(head: &str, text: &str, indent: usize, width: Option<usize>) -> String {
    let mut out = head.to_owned();
    let mut rest = text;
    let mut used = head.chars().count();
    let Some(width) = width else {
        out.push_str(rest);
        return out;
    };
    loop {
        let room = width.saturating_sub(used).max(8);
        let Some((end, _)) = rest.char_indices().nth(room) else {
            out.push_str(rest);
            return out;
        };
        // A space right behind the line may be its end too.
        let (_, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let window_end = end + behind.chars().next().map_or(0, char::len_utf8);
        let window = rest.get(..window_end).unwrap_or(rest);
        let after = |mark: &str| window.rfind(mark).map(|at| at + mark.len() - 1);
        let at_mark = after("; ").max(after(", ")).filter(|at| *at >= room / 3);
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
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_both_ends() {
        assert_eq!(shortened("kubepods-burstable", 9), "kube…able");
        assert_eq!(shortened("short", 9), "short");
        assert_eq!(shortened("short", 2), "sh");
    }

    #[test]
    fn a_command_line_keeps_its_start() {
        assert_eq!(cut("java -jar app.jar", 9), "java -ja…");
        assert_eq!(cut("true", 4), "true");
        assert_eq!(cut("true", 0), "");
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
