//! Colours and bars, for terminals.

use std::io::IsTerminal;

/// Width of a bar in characters.
const BAR: usize = 20;

/// Paints, or does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint {
    /// Whether it does.
    pub colours: bool,
}

impl Paint {
    /// Colours for a terminal, unless `NO_COLOR` asks for none.
    #[must_use]
    pub fn for_stdout() -> Paint {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Paint {
            colours: wanted && std::io::stdout().is_terminal(),
        }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// For titles.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// For what surrounds the numbers.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// For what went well, or did not.
    #[must_use]
    pub fn judged(self, good: bool, text: &str) -> String {
        self.with(if good { "32" } else { "31" }, text)
    }

    /// For what is neither.
    #[must_use]
    pub fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }
}

/// `percent` of a bar, in eighths of a character.
#[must_use]
pub fn bar(percent: f64) -> String {
    let eighths = (percent.clamp(0.0, 100.0) * (BAR * 8) as f64 / 100.0) as usize;
    let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    let full = "█".repeat(eighths / 8);
    let rest = BAR - eighths / 8 - usize::from(!part.is_empty());
    format!("{full}{part}{}", "·".repeat(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_one_width_and_grow_with_the_weight() {
        for (percent, expected) in [
            (0.0, "····················"),
            (10.0, "██··················"),
            (33.0, "██████▌·············"),
            (100.0, "████████████████████"),
        ] {
            assert_eq!(bar(percent), expected);
        }
        for percent in -5..=105 {
            assert_eq!(bar(f64::from(percent)).chars().count(), BAR, "{percent}");
        }
    }
}
