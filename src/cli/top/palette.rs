//! The styles. Without colour bold, dim and reversed text say the same.

use ratatui_core::style::{Color, Modifier, Style};

/// The styles of the screen.
#[derive(Debug, Clone, Copy)]
pub struct TopPalette {
    pub has_colour: bool,
}

impl TopPalette {
    fn coloured(self, style: Style, colour: Color) -> Style {
        if self.has_colour { style.fg(colour) } else { style }
    }

    pub fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Near a limit.
    pub fn warning(self) -> Style {
        self.coloured(self.bold(), Color::Yellow)
    }

    /// At a limit, killed, or not known any more.
    pub fn alarm(self) -> Style {
        self.coloured(self.bold(), Color::Red)
    }

    /// A part of the bar, by its letter.
    pub fn part(self, letter: char) -> Style {
        let colour = match letter {
            'p' => Color::Green,
            'u' => Color::Blue,
            'k' => Color::Magenta,
            'i' => Color::Cyan,
            'e' => Color::Yellow,
            _ => Color::Red,
        };
        self.coloured(Style::new(), colour)
    }

    /// The style of an amount beside its limit.
    pub fn of_limit(self, amount: Option<u64>, limit: Option<u64>) -> Style {
        let Some((amount, limit)) = amount.zip(limit.filter(|limit| *limit > 0)) else {
            return Style::new();
        };
        let percent = u128::from(amount) * 100 / u128::from(limit);
        match percent {
            95.. => self.alarm(),
            80..95 => self.warning(),
            _ => Style::new(),
        }
    }
}
