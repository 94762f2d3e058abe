//! `bellwether promote` and `bellwether wait`: start a promotion, and wait for its verdict.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Parser, ValueEnum};
use futures::TryStreamExt;
use kube::{
    api::DynamicObject,
    runtime::{WatchStreamExt, watcher},
};

use super::cluster::{Cluster, ClusterFlags, Output, block_on, exit, print, write};
use crate::{
    api::{Awaited, CanaryRef, Conflict, Policy, Promotion, PromotionSpec, Requester},
    hook_api::view::PromotionView,
    promotion::names,
    reconcile::kinds::Kind,
};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnConflict {
    /// Fail
    Reject,
    /// Wait for its turn
    Queue,
    /// Take the other one's place
    Supersede,
}

/// Start a promotion of a Canary.
///
/// The same --key is the same promotion: a repeated call finds it again and changes nothing.
///
/// Exit codes: 0 promoted (or started, without --wait), 3 rolled back, 5 aborted, 6 superseded, 8 failed, 7 the wait was
/// too long, 2 bad input, 1 any other error.
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

    /// Makes the promotion unique; BUILD_TAG of a Jenkins build, or chance if absent
    #[arg(long, value_name = "TEXT", env = "BUILD_TAG")]
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
    cluster: ClusterFlags,
}

/// Wait for the verdict of a promotion.
///
/// Exit codes: 0 promoted, 3 rolled back, 5 aborted, 6 superseded, 8 failed, 7 the wait was too long, 1 any other error.
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
    cluster: ClusterFlags,
}

impl Promote {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(self.promote())
    }

    async fn promote(self) -> anyhow::Result<ExitCode> {
        let (image, images) = match images(&self.image) {
            Ok(images) => images,
            Err(problem) => {
                write(&format!("bellwether: {problem}\n"))?;
                return Ok(ExitCode::from(exit::BAD_INPUT));
            }
        };
        let cluster = self.cluster.connect().await?;
        cluster.canary(&self.canary).await?;
        let key = self
            .key
            .clone()
            .unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)));
        let spec = self.spec(image, images, &cluster.user);
        let name = names::promotion(&cluster.namespace, &self.canary, &key);
        if cluster.create(Kind::Promotion, &name, &spec).await? {
            let there = find(&cluster, &name)
                .await?
                .context("the promotion went a moment ago")?;
            let same = (&there.spec.image, &there.spec.images, &there.spec.r#await)
                == (&spec.image, &spec.images, &spec.r#await);
            if !same {
                write(&format!(
                    "bellwether: --key {key:?} started another promotion before ({name})\n"
                ))?;
                return Ok(ExitCode::from(exit::BAD_INPUT));
            }
        }
        if self.output == Output::Text {
            write(&format!(
                "promotion {name} of {}/{}\n",
                cluster.namespace, self.canary
            ))?;
        }
        if self.wait {
            return wait(&cluster, &name, self.timeout, self.output).await;
        }
        if self.output != Output::Text {
            let made = find(&cluster, &name)
                .await?
                .context("the promotion went a moment ago")?;
            print(
                self.output,
                &serde_json::to_value(PromotionView::of(&made, None))?,
            )?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn spec(
        &self,
        image: Option<String>,
        images: Option<BTreeMap<String, String>>,
        user: &str,
    ) -> PromotionSpec {
        let awaited = self.r#await.then(|| Awaited {
            image: image.clone(),
            images: images.clone(),
            revision: None,
        });
        let number = std::env::var("BUILD_NUMBER")
            .ok()
            .and_then(|number| number.parse().ok());
        PromotionSpec {
            canary_ref: CanaryRef {
                name: self.canary.clone(),
            },
            image: image.filter(|_| !self.r#await),
            images: images.filter(|_| !self.r#await),
            r#await: awaited,
            requester: Requester {
                kind: Some("cli".to_owned()),
                job: std::env::var("JOB_NAME").ok(),
                build_number: number,
                build_url: std::env::var("BUILD_URL").ok(),
                user: Some(user.to_owned()),
                ..Requester::default()
            },
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

impl Wait {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(async move {
            let cluster = self.cluster.connect().await?;
            wait(&cluster, &self.promotion, self.timeout, self.output).await
        })
    }
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

async fn find(cluster: &Cluster, name: &str) -> anyhow::Result<Option<Promotion>> {
    let found = cluster.api(Kind::Promotion).get_opt(name).await?;
    found.map(|object| typed(&object)).transpose()
}

fn typed(object: &DynamicObject) -> anyhow::Result<Promotion> {
    Ok(serde_json::from_value(serde_json::to_value(object)?)?)
}

/// Follows a promotion to its end; prints its log as it grows.
async fn wait(cluster: &Cluster, name: &str, seconds: u64, output: Output) -> anyhow::Result<ExitCode> {
    let following = follow(cluster, name, output);
    let Ok(ended) = tokio::time::timeout(Duration::from_secs(seconds), following).await else {
        write(&format!(
            "bellwether: {name} is not over after {seconds} s; it goes on\n"
        ))?;
        return Ok(ExitCode::from(exit::TIMEOUT));
    };
    let view = PromotionView::of(&ended?, None);
    if output != Output::Text {
        print(output, &serde_json::to_value(&view)?)?;
    }
    let code = view.exit_code.and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(exit::HELD)))
}

async fn follow(cluster: &Cluster, name: &str, output: Output) -> anyhow::Result<Promotion> {
    if find(cluster, name).await?.is_none() {
        bail!("there is no Promotion {}/{name}", cluster.namespace);
    }
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    // Breaks of the connection are the watcher's to mend: the wait goes on where it was.
    let stream = watcher(cluster.api(Kind::Promotion), only).default_backoff();
    let mut stream = std::pin::pin!(stream);
    let mut offset = 0;
    loop {
        let object = match stream.try_next().await {
            Ok(Some(watcher::Event::Apply(object) | watcher::Event::InitApply(object))) => object,
            Ok(Some(watcher::Event::Delete(_))) => bail!("Promotion {name} was deleted"),
            Ok(Some(watcher::Event::Init | watcher::Event::InitDone)) => continue,
            Ok(None) => bail!("the watch ended"),
            Err(error) => {
                tracing::debug!(%error, "the watch is begun anew");
                continue;
            }
        };
        let promotion = typed(&object)?;
        let status = promotion.status.clone().unwrap_or_default();
        let part = status.log.from(offset);
        if output == Output::Text {
            write(&part.text)?;
        }
        offset = part.end;
        if status.phase.is_some_and(crate::api::PromotionPhase::finished) {
            return Ok(promotion);
        }
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
