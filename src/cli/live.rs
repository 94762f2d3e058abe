//! What is seen of a wait: the log line by line, and in a terminal below it one line that is drawn again and again.

use std::{io::IsTerminal, time::Duration};

use tokio::time::Instant;

use super::{
    backend::{Seen, State},
    env,
    output::{Output, write},
};
use crate::paint::{Paint, bar};

/// How often the last line is drawn anew if nothing happens: its clock runs.
pub(super) const BEAT: Duration = Duration::from_secs(1);
/// Back to the beginning of the line, and clear it.
const CLEAR: &str = "\r\x1b[K";

/// Shows a wait.
pub(super) struct Live {
    /// Whether lines are shown at all.
    lines: bool,
    /// Whether there is a last line.
    line: bool,
    paint: Paint,
    began: Instant,
    state: Option<State>,
}

impl Live {
    pub(super) fn new(output: Output) -> Live {
        let dumb = env(&["TERM"]).is_some_and(|term| term == "dumb");
        Live {
            lines: !output.document(),
            line: !output.document() && !dumb && std::io::stdout().is_terminal(),
            paint: Paint::for_stdout(),
            began: Instant::now(),
            state: None,
        }
    }

    /// Whether there is a line to be drawn anew.
    pub(super) fn beats(&self) -> bool {
        self.line
    }

    /// Remembers a state of which nothing is shown yet: whatever comes between, it counts.
    pub(super) fn saw(&mut self, state: &State) {
        self.state = Some(state.clone());
    }

    /// The last state that was seen.
    pub(super) fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// Shows lines of the log, and below them the state that was seen last.
    pub(super) fn lines(&mut self, text: &str) -> anyhow::Result<()> {
        let line = self.last_line();
        let before = if self.line { CLEAR } else { "" };
        let lines = if self.lines { text } else { "" };
        write(&format!("{before}{lines}{line}"))
    }

    /// The clock went on.
    pub(super) fn beat(&self) -> anyhow::Result<()> {
        write(&format!("{CLEAR}{}", self.last_line()))
    }

    /// Takes the last line away; what comes then stays.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        if std::mem::take(&mut self.line) {
            write(CLEAR)?;
        }
        Ok(())
    }

    fn last_line(&self) -> String {
        let seen = self.state.as_ref().map(|state| &state.seen);
        let seen = seen.filter(|seen| self.line && !seen.finished);
        // A line that wrapped could not be cleared: without wrapping its end is cut off.
        seen.map_or_else(String::new, |seen| {
            format!(
                "\x1b[?7l{}\x1b[?7h",
                status(seen, self.began.elapsed(), self.paint)
            )
        })
    }
}

/// Where a promotion stands, on one line.
fn status(seen: &Seen, elapsed: Duration, paint: Paint) -> String {
    let seconds = elapsed.as_secs();
    let step = match (seen.step, seen.steps) {
        (Some(step), Some(steps)) => format!("  step {step} of {steps}"),
        (Some(step), None) => format!("  step {step}"),
        (None, _) => String::new(),
    };
    let held = seen.held.as_ref().map_or_else(String::new, |held| {
        paint.judged(false, &format!("  held: {held}"))
    });
    format!(
        "{} {} {:>3} %{step}{held}  {}",
        paint.bold(&seen.phase),
        paint.yellow(&bar(f64::from(seen.weight))),
        seen.weight,
        paint.dim(&format!("{}:{:02}", seconds / 60, seconds % 60)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Seen {
        Seen {
            phase: "Running".to_owned(),
            weight: 30,
            step: Some(2),
            steps: Some(3),
            held: Some("NoData".to_owned()),
            ..Seen::default()
        }
    }

    #[test]
    fn last_line_tells_phase_weight_step_hold_and_time() {
        let line = status(&running(), Duration::from_secs(83), Paint::default());
        assert_eq!(
            line,
            "Running ██████··············  30 %  step 2 of 3  held: NoData  1:23"
        );
    }

    #[tokio::test]
    async fn last_line_does_not_wrap_and_is_not_drawn_in_a_pipe() {
        let mut live = Live {
            lines: true,
            line: true,
            paint: Paint::default(),
            began: Instant::now(),
            state: Some(State {
                document: serde_json::Value::Null,
                seen: running(),
            }),
        };
        let line = live.last_line();
        assert!(line.starts_with("\x1b[?7lRunning") && line.ends_with("\x1b[?7h"));
        live.line = false;
        assert_eq!(live.last_line(), "");
    }
}
