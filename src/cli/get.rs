//! `bellwether get` and `bellwether history`: what stands where.

use std::process::ExitCode;

use chrono::TimeDelta;
use clap::Parser;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    PATIENCE,
    backend::{Backend, BackendFlags, Cluster},
    block_on,
    exit::{Exit, Failure},
    output::{Output, short, write},
    within,
};
use crate::{
    api::{Canary, Outcome, PastRollout, Promotion},
    hook_api::view::CanaryView,
    paint::{Paint, bar},
};

/// Show Canaries and where their rollouts stand.
///
/// Of one Canary by name the exit code says: 3 its last release was rolled back, 4 it is held.
#[derive(Debug, Parser)]
pub(super) struct Get {
    /// One Canary; all of the namespace if absent
    canary: Option<String>,

    /// Those of all namespaces
    #[arg(short = 'A', long, conflicts_with = "canary")]
    all_namespaces: bool,

    /// How they are printed
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,

    #[command(flatten)]
    backend: BackendFlags,
}

/// Show the last rollouts of a Canary.
#[derive(Debug, Parser)]
pub(super) struct History {
    /// The Canary
    canary: String,

    /// How they are printed
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,

    #[command(flatten)]
    backend: BackendFlags,
}

/// What a table shows of a Canary.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row {
    namespace: String,
    name: String,
    phase: Option<String>,
    weight: i32,
    held: Option<String>,
    message: Option<String>,
    revision: Option<String>,
    promoted: Option<String>,
}

impl Get {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(within(PATIENCE, "answer", self.get()))
    }

    async fn get(self) -> anyhow::Result<Exit> {
        let mut views = match (self.backend.open().await?, &self.canary) {
            (Backend::Cluster(cluster), _) => self.views(&cluster).await?,
            (Backend::Hook(hook), Some(name)) => vec![hook.canary(name).await?],
            (Backend::Hook(_), None) => {
                return Err(Failure::input("the hook API shows one Canary; name it"));
            }
        };
        let rows: Vec<Row> = views.iter().map(Row::deserialize).collect::<Result<_, _>>()?;
        match self.output {
            Output::Json | Output::Yaml if self.canary.is_some() => self.output.print(&views.remove(0))?,
            Output::Json | Output::Yaml => self.output.print(&views)?,
            output => write(&table(&rows, output == Output::Wide, Paint::for_stdout()))?,
        }
        let one = rows.first().filter(|_| self.canary.is_some());
        Ok(one.map_or(Exit::Done, |row| {
            standing(row.phase.as_deref(), row.held.is_some())
        }))
    }

    /// Canaries in the words of the hook API; documents have more.
    async fn views(&self, cluster: &Cluster) -> anyhow::Result<Vec<Value>> {
        let canaries = match &self.canary {
            Some(name) => vec![cluster.canary(name).await?],
            None => cluster.canaries(self.all_namespaces).await?,
        };
        // A table can do without the right to list promotions.
        let promotions = if self.output.document() {
            cluster.unfinished(self.all_namespaces).await?
        } else {
            Vec::new()
        };
        canaries.iter().map(|canary| view(canary, &promotions)).collect()
    }
}

fn view(canary: &Canary, promotions: &[Promotion]) -> anyhow::Result<Value> {
    let of_canary = promotions.iter().filter(|promotion| {
        promotion.metadata.namespace == canary.metadata.namespace
            && Some(&promotion.spec.canary_ref.name) == canary.metadata.name.as_ref()
    });
    let names = of_canary.filter_map(|promotion| promotion.metadata.name.clone());
    let mut view = serde_json::to_value(CanaryView::of(canary, names.collect()))?;
    let status = canary.status.clone().unwrap_or_default();
    view["failedChecks"] = json!(status.failed_checks);
    view["lastTransitionTime"] = json!(status.last_transition_time);
    Ok(view)
}

/// What a command about one Canary ends with.
pub(super) fn standing(phase: Option<&str>, held: bool) -> Exit {
    match phase {
        _ if held => Exit::Held,
        Some("Failed") => Exit::RolledBack,
        _ => Exit::Done,
    }
}

/// A phase in its colour.
pub(super) fn painted(phase: &str, paint: Paint) -> String {
    let text = format!("{phase:<12}");
    match phase {
        "Failed" => paint.judged(false, &text),
        "Succeeded" | "Initialized" => paint.judged(true, &text),
        _ => paint.yellow(&text),
    }
}

fn table(rows: &[Row], wide: bool, paint: Paint) -> String {
    let line = |columns: [&str; 5], more: [&str; 3], message: &str| {
        let [namespace, name, phase, weight, bar] = columns;
        let [revision, promoted, held] = more;
        let more = if wide {
            format!("{revision:<13} {promoted:<13} {held:<18} ")
        } else {
            String::new()
        };
        format!("{namespace:<16} {name:<24} {phase:<12} {weight:>6} {bar:<20}  {more}{message}")
    };
    let header = line(
        ["NAMESPACE", "NAME", "PHASE", "WEIGHT", ""],
        ["REVISION", "PROMOTED", "HELD"],
        "MESSAGE",
    );
    let mut text = format!("{}\n", paint.dim(&header));
    for row in rows {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let (revision, promoted) = (or_dash(&row.revision), or_dash(&row.promoted));
        let line = line(
            [
                &row.namespace,
                &row.name,
                &painted(&or_dash(&row.phase), paint),
                &format!("{} %", row.weight),
                &paint.yellow(&bar(f64::from(row.weight))),
            ],
            [short(&revision), short(&promoted), &or_dash(&row.held)],
            row.message.as_deref().unwrap_or_default(),
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

impl History {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(async move {
            let history = within(PATIENCE, "answer", self.past()).await?;
            if self.output.document() {
                self.output.print(&history)?;
            } else {
                let wide = self.output == Output::Wide;
                let lines = history
                    .iter()
                    .map(|past| rollout(past, wide, Paint::for_stdout()));
                write(&lines.collect::<String>())?;
            }
            Ok(Exit::Done)
        })
    }

    async fn past(&self) -> anyhow::Result<Vec<PastRollout>> {
        match self.backend.open().await? {
            Backend::Cluster(cluster) => {
                let canary = cluster.canary(&self.canary).await?;
                Ok(canary.status.unwrap_or_default().history)
            }
            Backend::Hook(hook) => {
                let view = hook.canary(&self.canary).await?;
                Ok(Vec::<PastRollout>::deserialize(&view["history"])?)
            }
        }
    }
}

/// A past rollout on one line; wide with the whole revision and how long it took.
pub(super) fn rollout(past: &PastRollout, wide: bool, paint: Paint) -> String {
    let outcome = format!("{:<12}", format!("{:?}", past.outcome));
    let outcome = match past.outcome {
        Outcome::Promoted | Outcome::FastPromoted => paint.judged(true, &outcome),
        Outcome::RolledBack | Outcome::Failed => paint.judged(false, &outcome),
        Outcome::Aborted | Outcome::Superseded => paint.yellow(&outcome),
    };
    let ended = past.ended_at.format("%Y-%m-%d %H:%M:%S");
    let took = past.started_at.map(|started| past.ended_at - started);
    let (revision, took) = if wide {
        let took = took.map_or_else(|| "-".to_owned(), span);
        (past.revision.as_str(), format!("{took:>8}  "))
    } else {
        (short(&past.revision), String::new())
    };
    format!("{ended}  {revision}  {outcome} {took}{}\n", past.message)
}

/// A span as a person says it.
pub(super) fn span(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes}:{:02} min", seconds % 60),
        (0, hours, minutes) => format!("{hours}:{minutes:02} h"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_say_them() {
        for (seconds, text) in [
            (-3, "0 s"),
            (42, "42 s"),
            (83, "1:23 min"),
            (3 * 3600 + 300, "3:05 h"),
            (2 * 86_400 + 3600, "2 d 1 h"),
        ] {
            assert_eq!(span(TimeDelta::seconds(seconds)), text);
        }
    }

    #[test]
    fn columns_stand_below_their_titles_with_and_without_colours() {
        let row = Row {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            phase: Some("Progressing".to_owned()),
            weight: 30,
            message: Some("step 2 of 3".to_owned()),
            ..Row::default()
        };
        let column = |line: &str, text: &str| line.split(text).next().unwrap().chars().count();
        let plain = table(std::slice::from_ref(&row), true, Paint::default());
        let lines: Vec<&str> = plain.lines().collect();
        assert_eq!(column(lines[0], "MESSAGE"), column(lines[1], "step 2 of 3"));
        let painted = table(&[row], true, Paint { colours: true });
        let mut bare = String::new();
        for part in painted.split('\x1b') {
            bare.push_str(
                part.split_once('m')
                    .filter(|_| part.starts_with('['))
                    .map_or(part, |(_, rest)| rest),
            );
        }
        assert_eq!(bare, plain);
    }
}
