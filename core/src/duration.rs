//! Durations as people write them, such as `1m30s`.
//!
//! The client library's parser panics over a part that is negative or cannot be counted, and who validates must not.

use std::time::Duration;

use chrono::TimeDelta;

/// Ten years. Nothing waits longer, and dates that far away can still be counted.
const LONGEST: Duration = Duration::from_secs(87_600 * 3600);

/// What Go's `time.ParseDuration` understands, if it is not negative, and at most ten years.
#[must_use]
pub fn parse(text: &str) -> Option<TimeDelta> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(TimeDelta::zero());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let ends = behind.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, behind) = behind.split_at(ends.unwrap_or(behind.len()));
        let seconds = number.parse::<f64>().ok()? * seconds(unit)?;
        let part = Duration::try_from_secs_f64(seconds).ok()?;
        total = total.checked_add(part).filter(|total| *total <= LONGEST)?;
        rest = behind;
    }
    // Of nothing at all no time is known.
    let written = text.ends_with(char::is_alphabetic);
    TimeDelta::from_std(total).ok().filter(|_| written)
}

/// The length of a unit.
fn seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "h" => 3600.0,
        "m" => 60.0,
        "s" => 1.0,
        "ms" => 1e-3,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_understands_is_understood() {
        for (text, milliseconds) in [
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("+2m", 120_000),
            ("250ms", 250),
            (".5s", 500),
            ("2000us", 2),
            ("3000\u{b5}s", 3),
            ("4000000ns", 4),
            ("0", 0),
            ("0s", 0),
            ("87600h", 315_360_000_000),
        ] {
            assert_eq!(parse(text), Some(TimeDelta::milliseconds(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_negative_or_cannot_be_counted_is_none() {
        for text in [
            "",
            "+",
            "5",
            "s",
            "-5s",
            "1m-5s",
            "1m+5s",
            "1m 5s",
            "1..5s",
            ".s",
            "1d",
            "1e3s",
            "NaNs",
            "infs",
            "87601h",
            "99999999999999999999h",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&format!("{}s", "9".repeat(400))), None);
    }
}
