//! `bellwether promote` and `bellwether wait`: start a promotion, and wait for its verdict.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Parser, ValueEnum};
use tokio::time::Interval;

use super::{
    PATIENCE,
    backend::{Asked, Backend, BackendFlags, Ordered, Seen, StartRequest, State},
    block_on, env,
    exit::{Exit, Failure},
    live::{BEAT, Live},
    output::{Output, note, short, write},
    within,
};
use crate::{
    api::{Awaited, CanaryRef, Conflict, Policy, PromotionSpec, Requester, Verb},
    clock::{Clock, SystemClock},
};

/// The server's deadline of a promotion that names none, in seconds.
const DEADLINE: u64 = 3600;
/// How much longer a wait lasts than the deadline, in seconds: the server counts it from the creation, which comes later.
const AFTERWARDS: u64 = 60;
/// How long the end of the log is asked for when the verdict is known.
const LAST_LINES: Duration = Duration::from_secs(60);
/// A promotion that was created so long before it was asked for was found again.
const FOUND_AGAIN: TimeDelta = TimeDelta::seconds(60);

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnConflict {
    /// Fail
    Reject,
    /// Wait for its turn
    Queue,
    /// Take the other one's place
    Supersede,
}

/// What becomes of a promotion that is not over when nobody waits for it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnLost {
    /// It goes on to its verdict
    Leave,
    /// It is called off, and its release is rolled back
    Abort,
}

/// Start a promotion of a Canary, and wait for its verdict.
///
/// The same --key is the same promotion: a repeated call finds it again and changes nothing.
#[derive(Debug, Parser)]
pub(super) struct Promote {
    /// The Canary
    canary: String,

    /// Image of the workload; CONTAINER=IMAGE if it has several containers
    #[arg(long, value_name = "[CONTAINER=]IMAGE", required = true)]
    image: Vec<String>,

    /// Change nothing: begin when somebody else, such as a GitOps tool, has given the workload these images
    #[arg(long)]
    r#await: bool,

    /// Makes the promotion unique; if absent, chance [env: BELLWETHER_KEY, or BUILD_URL, or else BUILD_TAG, of a Jenkins build]
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,

    /// What to do while another promotion of the Canary is not over
    #[arg(long, value_enum, default_value = "reject")]
    on_conflict: OnConflict,

    /// Seconds after which the promotion has failed and its release is rolled back
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(60..=604_800))]
    deadline: Option<i64>,

    /// Wait for the verdict, and tell what happens
    #[arg(long)]
    wait: bool,

    /// Seconds to wait at most; if absent, the deadline (or that of the server, an hour) and one minute
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,

    /// What becomes of the promotion if the wait ends before it: by its time, an error, or a signal
    #[arg(long, value_enum, env = "BELLWETHER_ON_LOST", default_value = "leave")]
    on_lost: OnLost,

    /// How the state is printed
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,

    #[command(flatten)]
    backend: BackendFlags,
}

/// Wait for the verdict of a promotion.
#[derive(Debug, Parser)]
pub(super) struct Wait {
    /// Name of the Promotion
    promotion: String,

    /// Seconds to wait at most
    #[arg(long, value_name = "SECONDS", default_value_t = DEADLINE + AFTERWARDS)]
    timeout: u64,

    /// What becomes of the promotion if the wait ends before it: by its time, an error, or a signal
    #[arg(long, value_enum, env = "BELLWETHER_ON_LOST", default_value = "leave")]
    on_lost: OnLost,

    /// How the state is printed
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,

    #[command(flatten)]
    backend: BackendFlags,
}

impl Promote {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (image, images) = images(&self.image).map_err(Failure::input)?;
        let request = StartRequest {
            spec: self.spec(image, images),
            key: self.key(),
            asked: Asked::default(),
        };
        let deadline = self.deadline.and_then(|seconds| u64::try_from(seconds).ok());
        let limit = match self.timeout {
            _ if !self.wait => PATIENCE,
            Some(seconds) => Duration::from_secs(seconds),
            None => Duration::from_secs(deadline.unwrap_or(DEADLINE) + AFTERWARDS),
        };
        let waiting = async |live: &mut Live| {
            let (backend, state) = self.start(&request).await?;
            live.saw(&state);
            if !self.wait {
                return Ok(Ended::Started);
            }
            watch(&backend, &state.seen.id, live).await?;
            Ok(Ended::Over)
        };
        let subject = Subject::Start(&self.canary, &request);
        let abort = self.wait && self.on_lost == OnLost::Abort;
        block_on(attend(&subject, limit, self.output, waiting, async |state| {
            call_off(&self.backend, abort, state).await
        }))
    }

    fn key(&self) -> String {
        let given = || env(&["BELLWETHER_KEY"]);
        // Two Jenkins controllers, or a/b and a-b, may have the same tag, but no two builds the same address.
        // A job that is made anew counts its builds from one again: its commit tells it from the one of before.
        let build = || {
            let build = env(&["BUILD_TAG"]).map(|tag| env(&["BUILD_URL"]).unwrap_or(tag))?;
            Some(env(&["GIT_COMMIT"]).map_or(build.clone(), |commit| format!("{build} {commit}")))
        };
        let named = self.key.clone().or_else(given).or_else(build);
        named.unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)))
    }

    async fn start(&self, request: &StartRequest) -> anyhow::Result<(Backend, State)> {
        let backend = self.backend.open().await?;
        let asked_at = SystemClock::default().now();
        let state = backend.start(request).await?;
        let created = state.document["createdAt"].as_str();
        let created = created.and_then(|at| at.parse::<DateTime<Utc>>().ok());
        if let Some(created) = created.filter(|created| asked_at - *created > FOUND_AGAIN) {
            let (id, key) = (&state.seen.id, &request.key);
            note(&format!(
                "{id} was started at {created} with the same key ({key}) and is found again"
            ));
        }
        if !self.output.document() {
            let Seen {
                id,
                namespace,
                canary,
                ..
            } = &state.seen;
            write(&format!("promotion {id} of {namespace}/{canary}\n"))?;
        }
        Ok((backend, state))
    }

    fn spec(&self, image: Option<String>, images: Option<BTreeMap<String, String>>) -> PromotionSpec {
        let awaited = self.r#await.then(|| Awaited {
            image: image.clone(),
            images: images.clone(),
            revision: None,
        });
        PromotionSpec {
            canary_ref: CanaryRef {
                name: self.canary.clone(),
            },
            image: image.filter(|_| !self.r#await),
            images: images.filter(|_| !self.r#await),
            r#await: awaited,
            requester: requester(),
            policy: Policy {
                conflict: match self.on_conflict {
                    OnConflict::Reject => Conflict::Reject,
                    OnConflict::Queue => Conflict::Queue,
                    OnConflict::Supersede => Conflict::Supersede,
                },
                deadline_seconds: self.deadline,
                ..Policy::default()
            },
            request_digest: None,
        }
    }
}

/// What the environment says of the build that asks; the names are those of `examples/ci`, or Jenkins' own.
fn requester() -> Requester {
    Requester {
        kind: Some("cli".to_owned()),
        job: env(&["BELLWETHER_JOB", "JOB_NAME"]),
        build_number: env(&["BUILD_NUMBER"]).and_then(|number| number.parse().ok()),
        build_url: env(&["BELLWETHER_BUILD_URL", "BUILD_URL"]),
        build_tag: env(&["BUILD_TAG"]),
        user: env(&["BELLWETHER_USER"]),
        commit: env(&["BELLWETHER_COMMIT", "GIT_COMMIT"]),
        ..Requester::default()
    }
}

impl Wait {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let namespace = self.backend.namespace();
        let subject = Subject::Wait(namespace.as_deref(), &self.promotion);
        let limit = Duration::from_secs(self.timeout);
        let waiting = async |live: &mut Live| {
            let backend = self.backend.open().await?;
            watch(&backend, &self.promotion, live).await?;
            Ok(Ended::Over)
        };
        let abort = self.on_lost == OnLost::Abort;
        block_on(attend(&subject, limit, self.output, waiting, async |state| {
            call_off(&self.backend, abort, state).await
        }))
    }
}

/// What a command is about, as far as it is known before anybody answered.
enum Subject<'a> {
    /// A promotion that is to be started, of this Canary.
    Start(&'a str, &'a StartRequest),
    /// A promotion, by namespace and name.
    Wait(Option<&'a str>, &'a str),
}

/// How a command came to its end.
enum Ended {
    /// The promotion is started, and more was not wanted.
    Started,
    /// The promotion is over.
    Over,
}

impl Subject<'_> {
    /// What is left behind by whoever gives up, and how to find it again; nothing if nothing can be under way.
    fn left_behind(&self, state: Option<&State>) -> Option<String> {
        if let Some(state) = state {
            let Seen { id, namespace, .. } = &state.seen;
            let link = state.document["links"]["self"].as_str().unwrap_or_default();
            return Some(format!(
                "the release goes on: {namespace}/{id}, {link}; wait for it again: bellwether wait {id} --namespace \
                 {namespace}"
            ));
        }
        match self {
            Subject::Wait(namespace, id) => {
                let namespace = namespace.map_or_else(String::new, |name| format!(" --namespace {name}"));
                Some(format!(
                    "if it is not over, the release goes on; wait for it again: bellwether wait {id}{namespace}"
                ))
            }
            Subject::Start(canary, request) if request.asked.maybe_done() => Some(format!(
                "the promotion of {canary} may have been started; the same call with --key '{}' finds it",
                request.key
            )),
            Subject::Start(..) => None,
        }
    }
}

/// Waits for the end of `waiting`, and tells what happens. However it ends, whoever started the promotion is told its name,
/// or how to find it: by a time limit, by an error, or by a signal.
async fn attend(
    subject: &Subject<'_>,
    limit: Duration,
    output: Output,
    waiting: impl AsyncFnOnce(&mut Live) -> anyhow::Result<Ended>,
    lost: impl AsyncFnOnce(&State) -> bool,
) -> anyhow::Result<Exit> {
    let mut live = Live::new(output);
    let ended = tokio::select! {
        ended = within(limit, "verdict", waiting(&mut live)) => ended,
        (exit, signal) = Exit::signalled() => Err(Failure::with(exit, format!("ended by {signal}"))),
    };
    live.end()?;
    match (ended, live.state()) {
        (Ok(Ended::Started), Some(state)) => {
            tell(state, output)?;
            Ok(Exit::Done)
        }
        // The verdict is known, whatever became of the last lines.
        (ended, Some(state)) if state.seen.finished => {
            if let Err(error) = ended {
                note(&format!("the end of the log could not be read: {error:#}"));
            }
            tell(state, output)?;
            Ok(verdict(state))
        }
        (Ok(_), _) => Err(Failure::with(Exit::Error, "the promotion was not seen to end")),
        (Err(error), state) => {
            if let Some(state) = state {
                tell(state, output)?;
                if lost(state).await {
                    return Err(error);
                }
            }
            let Some(left_behind) = subject.left_behind(state) else {
                return Err(error);
            };
            note(&format!("{error:#}"));
            note(&left_behind);
            Ok(Exit::of(&error))
        }
    }
}

/// Calls a promotion off that nobody waits for any more, if that is `wanted`; whether it was ordered.
async fn call_off(backend: &BackendFlags, wanted: bool, state: &State) -> bool {
    if !wanted {
        return false;
    }
    let Seen { id, canary, .. } = &state.seen;
    let order = Ordered {
        canary,
        verb: Verb::Abort,
        gate: None,
        revision: None,
        promotion: Some(id),
        action: None,
        reason: Some("nobody waits for it any more"),
        // Whoever gives up twice has called off once.
        key: &format!("lost-{id}"),
    };
    let ordering = async { backend.open().await?.order(&order).await };
    match within(PATIENCE, "answer", ordering).await {
        Ok(answer) => {
            let outcome = answer["outcome"].as_str();
            note(&format!(
                "{id} is called off: {}",
                outcome.unwrap_or("not answered yet")
            ));
            true
        }
        Err(error) => {
            note(&format!("{id} could not be called off: {error:#}"));
            false
        }
    }
}

/// What a promotion that is over ends a command with.
fn verdict(state: &State) -> Exit {
    let exit = state.seen.exit_code.and_then(Exit::named);
    exit.unwrap_or_else(|| {
        note(&format!(
            "{}: its exit code is unknown to this version",
            state.seen.phase
        ));
        Exit::Held
    })
}

async fn watch(backend: &Backend, id: &str, live: &mut Live) -> anyhow::Result<()> {
    let mut following = backend.follow(id).await?;
    let mut beat = tokio::time::interval(BEAT);
    loop {
        let state = beating(following.state(), live, &mut beat).await?;
        let finished = state.seen.finished;
        live.saw(&state);
        let lines = following.lines(&state);
        let lines = if finished {
            within(LAST_LINES, "end of the log", lines).await
        } else {
            beating(lines, live, &mut beat).await
        };
        live.lines(&lines?)?;
        if finished {
            return Ok(());
        }
    }
}

/// What `question` is answered, while the clock in the last line runs: a question under way must not be dropped for a beat.
async fn beating<T>(
    question: impl Future<Output = anyhow::Result<T>>,
    live: &Live,
    beat: &mut Interval,
) -> anyhow::Result<T> {
    let mut question = std::pin::pin!(question);
    loop {
        tokio::select! {
            answer = &mut question => return answer,
            _ = beat.tick(), if live.beats() => live.beat()?,
        }
    }
}

/// Prints the state; as text it was told already.
fn tell(state: &State, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Text => Ok(()),
        Output::Wide => write(&wide(state)),
        Output::Json | Output::Yaml => output.print(&state.document),
    }
}

fn wide(state: &State) -> String {
    let seen = &state.seen;
    let mut text = format!("{:<12} {} {} %\n", "phase", seen.phase, seen.weight);
    let mut row = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            text.push_str(&format!("{name:<12} {value}\n"));
        }
    };
    row("revision", seen.revision.as_deref().map(short));
    row("held", seen.held.as_deref());
    row("image", state.document["image"].as_str());
    for time in ["createdAt", "startedAt", "finishedAt"] {
        row(time, state.document[time].as_str());
    }
    row("message", seen.message.as_deref());
    text
}

type Images = (Option<String>, Option<BTreeMap<String, String>>);

/// One image without a container, or images by container.
fn images(arguments: &[String]) -> Result<Images, String> {
    let named: Vec<(Option<&str>, &str)> = arguments.iter().map(|argument| split(argument)).collect();
    if let [(None, image)] = named[..] {
        return Ok((Some(image.to_owned()), None));
    }
    let mut images = BTreeMap::new();
    for (container, image) in named {
        let container =
            container.ok_or_else(|| format!("--image {image}: name its container, CONTAINER={image}"))?;
        if images.insert(container.to_owned(), image.to_owned()).is_some() {
            return Err(format!("--image: container {container} is named twice"));
        }
    }
    Ok((None, Some(images)))
}

/// A container has no slash, colon or dot; what stands before `=` in a digest or a port has.
fn split(argument: &str) -> (Option<&str>, &str) {
    match argument.split_once('=') {
        Some((container, image)) if !container.contains(['/', ':', '.', '@']) => (Some(container), image),
        _ => (None, argument),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_may_name_its_container() {
        let one = |text: &str| images(&[text.to_owned()]).unwrap();
        assert_eq!(
            one("r.io:5000/web@sha256:ab=cd").0.as_deref(),
            Some("r.io:5000/web@sha256:ab=cd")
        );
        assert_eq!(one("app=r.io/web:1").1.unwrap()["app"], "r.io/web:1");
        let two = ["app=web:1".to_owned(), "proxy=envoy:2".to_owned()];
        assert_eq!(images(&two).unwrap().1.unwrap().len(), 2);
        assert!(images(&["app=web:1".to_owned(), "envoy:2".to_owned()]).is_err());
        assert!(images(&["app=web:1".to_owned(), "app=web:2".to_owned()]).is_err());
    }
}
