//! `bellwether promote` and `bellwether wait`: start a promotion, and wait for its verdict.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};

use super::{
    PATIENCE,
    backend::{Backend, BackendFlags, Seen, StartRequest, State},
    block_on, env,
    exit::{Exit, Failure},
    live::{BEAT, Live},
    output::{Output, note, short, write},
    within,
};
use crate::api::{Awaited, CanaryRef, Conflict, Policy, PromotionSpec, Requester};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnConflict {
    /// Fail
    Reject,
    /// Wait for its turn
    Queue,
    /// Take the other one's place
    Supersede,
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

    /// Seconds to wait at most
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    timeout: u64,

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
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    timeout: u64,

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
        };
        block_on(async {
            if self.wait {
                let waiting = async |live: &mut Live| {
                    let (backend, state) = self.start(&request).await?;
                    live.started(&state);
                    watch(&backend, &state.seen.id, live).await
                };
                return verdict(self.timeout, self.output, waiting).await;
            }
            let (_, state) = within(PATIENCE, "answer", self.start(&request)).await?;
            tell(&state, self.output)?;
            Ok(Exit::Done)
        })
    }

    fn key(&self) -> String {
        let given = || env(&["BELLWETHER_KEY"]);
        // Two Jenkins controllers, or a/b and a-b, may have the same tag, but no two builds the same address.
        let build = || env(&["BUILD_TAG"]).map(|tag| env(&["BUILD_URL"]).unwrap_or(tag));
        let named = self.key.clone().or_else(given).or_else(build);
        named.unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)))
    }

    async fn start(&self, request: &StartRequest) -> anyhow::Result<(Backend, State)> {
        let backend = self.backend.open().await?;
        let state = backend.start(request).await?;
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
        block_on(verdict(self.timeout, self.output, async |live: &mut Live| {
            let backend = self.backend.open().await?;
            watch(&backend, &self.promotion, live).await
        }))
    }
}

/// Waits for the end of a promotion, and tells what happens. If the wait is too long, what was seen last is told, so that
/// whoever started the promotion knows its name and can go on waiting.
async fn verdict(
    seconds: u64,
    output: Output,
    waiting: impl AsyncFnOnce(&mut Live) -> anyhow::Result<State>,
) -> anyhow::Result<Exit> {
    let mut live = Live::new(output);
    let ended = within(Duration::from_secs(seconds), "verdict", waiting(&mut live)).await;
    live.end()?;
    if let (Err(error), Some(state)) = (&ended, live.state())
        && Exit::of(error) == Exit::Timeout
    {
        tell(state, output)?;
    }
    if let (Err(_), Some(state)) = (&ended, live.state())
        && !state.seen.finished
    {
        let Seen { id, namespace, .. } = &state.seen;
        let link = state.document["links"]["self"].as_str().unwrap_or_default();
        note(&format!(
            "the release goes on: {namespace}/{id}, {link}; wait for it again: bellwether wait {id} --namespace {namespace}"
        ));
    }
    let state = ended?;
    tell(&state, output)?;
    let exit = state.seen.exit_code.and_then(Exit::named);
    if exit.is_none() {
        note(&format!(
            "{}: its exit code is unknown to this version",
            state.seen.phase
        ));
    }
    Ok(exit.unwrap_or(Exit::Held))
}

async fn watch(backend: &Backend, id: &str, live: &mut Live) -> anyhow::Result<State> {
    let mut following = backend.follow(id).await?;
    let mut beat = tokio::time::interval(BEAT);
    loop {
        let news = {
            // A question under way must not be dropped for a beat.
            let mut next = std::pin::pin!(following.next());
            loop {
                tokio::select! {
                    news = &mut next => break news?,
                    _ = beat.tick(), if live.beats() => live.beat()?,
                }
            }
        };
        live.news(&news)?;
        if news.state.seen.finished {
            return Ok(news.state);
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
