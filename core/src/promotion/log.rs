//! The log of a promotion: lines with byte offsets that stay right when the oldest lines are dropped.

use chrono::{DateTime, Utc};

use crate::api::{Log, PromotionStatus};

/// Bytes of lines that are kept: a status must stay far below what the API server stores in one object.
const LIMIT: usize = 32 * 1024;
/// Longest line.
const LINE: usize = 1000;

/// A part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The text from the asked offset on; from the first line that is kept, if that is later.
    pub text: String,
    /// The next offset.
    pub end: i64,
}

impl Log {
    /// Appends a line; the oldest go if there are too many.
    pub fn push(&mut self, mut line: String) {
        line.retain(|c| !c.is_control());
        while line.len() > LINE {
            line.pop();
        }
        self.lines.push(line);
        let mut kept: usize = self.lines.iter().map(|line| line.len() + 1).sum();
        while kept > LIMIT {
            let gone = self.lines.remove(0).len() + 1;
            self.dropped_bytes += i64::try_from(gone).unwrap_or(i64::MAX);
            kept -= gone;
        }
    }

    /// Bytes of the whole log, with what was dropped.
    #[must_use]
    pub fn bytes(&self) -> i64 {
        let kept: usize = self.lines.iter().map(|line| line.len() + 1).sum();
        self.dropped_bytes + i64::try_from(kept).unwrap_or(i64::MAX)
    }

    /// The text from byte `start` on.
    #[must_use]
    pub fn from(&self, start: i64) -> Part {
        let mut text = String::new();
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        let skip = usize::try_from((start - self.dropped_bytes).max(0)).unwrap_or(usize::MAX);
        // An offset within a character was never given out: the whole character is sent again.
        let mut at = skip.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        Part {
            text: text.split_off(at),
            end: self.bytes(),
        }
    }
}

/// What is new in `next`, as lines.
pub(super) fn news(before: &PromotionStatus, next: &PromotionStatus, now: DateTime<Utc>) -> Vec<String> {
    let time = now.format("%H:%M:%S");
    let mut lines = Vec::new();
    let newest = before.checks.iter().map(|check| check.at).max();
    let fresh: Vec<String> = next
        .checks
        .iter()
        .filter(|check| newest.is_none_or(|newest| check.at > newest))
        .map(|check| {
            let value = check.value.map_or(String::new(), |value| format!(" {value:.2}"));
            format!("{}{value} ({}) {}", check.name, check.bound, check.outcome)
        })
        .collect();
    if !fresh.is_empty() {
        lines.push(format!(
            "{time}   checks at {} %: {}",
            before.weight,
            fresh.join(", ")
        ));
    }
    if before.message != next.message || before.phase != next.phase {
        let phase = next.phase.map(|phase| phase.to_string()).unwrap_or_default();
        let message = next.message.as_deref().unwrap_or_default();
        lines.push(format!("{time} {phase:<10} {:>3} %  {message}", next.weight));
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whoever_reads_on_from_the_last_offset_reads_everything_once(
            lines in proptest::collection::vec("[a-zé→ ]{0,40}", 1..60),
            read_after in proptest::collection::vec(any::<bool>(), 60),
        ) {
            let (mut log, mut read, mut offset) = (Log::default(), String::new(), 0);
            for (line, reads) in lines.iter().zip(read_after) {
                log.push(line.clone());
                if reads {
                    let part = log.from(offset);
                    read.push_str(&part.text);
                    offset = part.end;
                }
            }
            read.push_str(&log.from(offset).text);
            let all: String = lines.iter().map(|line| format!("{line}\n")).collect();
            prop_assert_eq!(read, all);
        }

        #[test]
        fn offsets_stay_right_when_the_oldest_lines_go(count in 1usize..400) {
            let mut log = Log::default();
            for n in 0..count {
                log.push(format!("{n:0200}"));
            }
            prop_assert_eq!(log.bytes(), i64::try_from(count * 201).unwrap());
            let last = log.from(log.bytes() - 201);
            prop_assert_eq!(last.text, format!("{:0200}\n", count - 1));
            prop_assert!(log.lines.iter().map(|line| line.len() + 1).sum::<usize>() <= LIMIT);
        }
    }
}
