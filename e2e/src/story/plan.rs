//! What is known of a story before it is played: where, how often, beside what, and what it needs.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::FutureExt;
use futures::future::LocalBoxFuture;

use super::Stage;
use crate::tools::Tool;

/// Enough for a rollout with a handful of steps on a busy machine.
const TIMEOUT: Duration = Duration::from_mins(3);

/// Whether a story bears others beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// It stays in its namespace and runs beside others.
    Shared,
    /// It disturbs the whole cluster, or counts what others would disturb, and runs by itself.
    Alone,
}

/// On which clusters a story runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// On the real and on the simulated one.
    Both,
    /// On the real one only, for this reason.
    RealOnly(&'static str),
}

/// In which runs of the real cluster a story is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// In every run, also the quick one, because only the real cluster shows this.
    Every(&'static str),
    /// In full runs only, for this reason.
    Full(&'static str),
}

// All stories run on the main task: they mostly wait, and need not be `Send` then.
type Play = Box<dyn Fn(Arc<Stage>) -> LocalBoxFuture<'static, Result<()>>>;

/// Something a user does, and what must then be true.
pub struct Story {
    pub(super) name: &'static str,
    pub(super) isolation: Isolation,
    pub(super) timeout: Duration,
    pub(super) play: Play,
    runs_on: Where,
    runs: Runs,
    needs: Option<Tool>,
    pub(super) scrapes: Scrapes,
}

/// How often the pods of a story are scraped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scrapes {
    /// Every second, which the controller is told.
    #[default]
    Often,
    /// Every 30 seconds, of which the controller is told nothing.
    Rarely,
}

impl Story {
    /// A story; its name is that of its namespace too. Full runs play it, the quick one does not.
    pub fn new<F, R>(name: &'static str, isolation: Isolation, play: F) -> Self
    where
        F: Fn(Arc<Stage>) -> R + 'static,
        R: Future<Output = Result<()>> + 'static,
    {
        Self {
            name,
            isolation,
            timeout: TIMEOUT,
            play: Box::new(move |stage| play(stage).boxed_local()),
            runs_on: Where::Both,
            runs: Runs::Full("every run plays it on the simulated cluster"),
            needs: None,
            scrapes: Scrapes::Often,
        }
    }

    /// Keeps it to the real cluster, because the simulated one cannot tell it.
    pub fn real_only(mut self, reason: &'static str) -> Self {
        self.runs_on = Where::RealOnly(reason);
        self
    }

    /// Plays it on the real cluster in the quick run too: what it shows there and nowhere else.
    pub fn in_every_run(mut self, shows: &'static str) -> Self {
        self.runs = Runs::Every(shows);
        self
    }

    /// Plays it in full runs only, for a reason of its own.
    pub fn only_in_full(mut self, reason: &'static str) -> Self {
        self.runs = Runs::Full(reason);
        self
    }

    /// Gives it more or less time.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Has its pods scraped every 30 seconds only, as elsewhere, and the controller run without a word about it.
    pub fn rarely_scraped(mut self) -> Self {
        self.scrapes = Scrapes::Rarely;
        self
    }

    /// Has this ready before the cluster starts.
    pub fn needs(mut self, tool: Tool) -> Self {
        self.needs = Some(tool);
        self
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// On which clusters it runs.
    pub fn runs_on(&self) -> Where {
        self.runs_on
    }

    /// In which runs of the real cluster it is played.
    pub fn runs(&self) -> Runs {
        self.runs
    }
}

/// Which of the stories a run plays.
#[derive(Clone, Copy, Debug)]
pub enum Choice<'a> {
    /// All of them.
    All,
    /// Those that every run plays.
    Quick,
    /// Those whose name contains one of these.
    Named(&'a [String]),
}

/// Picks the stories of a run, in the order they are played: those that bear others beside them first, of these the longest
/// first; then the others as they stand.
///
/// # Errors
/// If a part of a name is in none.
pub fn choose(stories: Vec<Story>, choice: Choice<'_>) -> Result<Vec<Story>> {
    if let Choice::Named(parts) = choice {
        for part in parts {
            ensure!(
                stories.iter().any(|story| story.name.contains(part.as_str())),
                "no story has {part:?} in its name; `test --list` prints the names of all"
            );
        }
    }
    let mut chosen: Vec<_> = stories
        .into_iter()
        .filter(|story| match choice {
            Choice::All => true,
            Choice::Quick => matches!(story.runs, Runs::Every(_)),
            Choice::Named(parts) => parts.iter().any(|part| story.name.contains(part.as_str())),
        })
        .collect();
    // A long one that began last would keep the run waiting for it alone.
    chosen.sort_by_key(|story| match story.isolation {
        Isolation::Shared => (false, Reverse(story.timeout)),
        Isolation::Alone => (true, Reverse(Duration::ZERO)),
    });
    Ok(chosen)
}

/// What these stories need beside the cluster.
pub fn needed(stories: &[Story]) -> BTreeSet<Tool> {
    stories.iter().filter_map(|story| story.needs).collect()
}

/// Prints stories, one a line: the name, in which runs of the real cluster, and why.
pub fn print_names(stories: &[Story]) {
    let width = stories.iter().map(|story| story.name.len()).max().unwrap_or(0);
    for story in stories {
        let (run, why) = match story.runs {
            Runs::Every(shows) => ("every run", shows),
            Runs::Full(reason) => ("full run ", reason),
        };
        let place = match story.runs_on {
            Where::Both => String::new(),
            Where::RealOnly(reason) => format!(" (real cluster only: {reason})"),
        };
        println!("{:width$}  {run}  {why}{place}", story.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stories() -> Vec<Story> {
        let nothing = |_: Arc<Stage>| async { Ok(()) };
        vec![
            Story::new("first-alone", Isolation::Alone, nothing),
            Story::new("last-alone", Isolation::Alone, nothing).within(TIMEOUT * 3),
            Story::new("short", Isolation::Shared, nothing).in_every_run("it is real"),
            Story::new("shorter", Isolation::Shared, nothing),
            Story::new("long", Isolation::Shared, nothing)
                .within(TIMEOUT * 2)
                .needs(Tool::JenkinsLibrary),
        ]
    }

    fn names(choice: Choice<'_>) -> Vec<&'static str> {
        let chosen = choose(stories(), choice).unwrap();
        chosen.iter().map(Story::name).collect()
    }

    #[test]
    fn longest_begin_first_and_those_that_run_alone_come_last_in_their_order() {
        let all = ["long", "short", "shorter", "first-alone", "last-alone"];
        assert_eq!(names(Choice::All), all);
    }

    #[test]
    fn quick_run_plays_what_every_run_plays() {
        assert_eq!(names(Choice::Quick), ["short"]);
    }

    #[test]
    fn every_part_of_a_name_must_be_in_one() {
        assert_eq!(names(Choice::Named(&["short".into()])), ["short", "shorter"]);
        let error = choose(stories(), Choice::Named(&["long".into(), "lnog".into()]))
            .err()
            .unwrap();
        assert!(error.to_string().contains("\"lnog\""), "{error}");
    }

    #[test]
    fn only_what_chosen_stories_need_is_fetched() {
        let needs = |choice| needed(&choose(stories(), choice).unwrap());
        assert_eq!(needs(Choice::All), [Tool::JenkinsLibrary].into());
        assert!(needs(Choice::Quick).is_empty());
    }
}
