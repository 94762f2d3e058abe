//! Gates and freezes: what a release waits for beside its checks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::shop::{self, RATE, SOON};
use crate::hudson::Hudson;
use crate::jenkins::{FakeJenkins, Job, Queue, Settings};
use crate::objects::Kind;
use crate::story::{self, Stage};
use crate::wait;

/// Long enough for a rollout.
const ROLLOUT: Duration = Duration::from_secs(120);
/// Where the Jenkins of this story listens.
const JENKINS: &str = "127.0.0.1:18099";

fn gated(gates: Value) -> Value {
    shop::canary_with(|spec| spec["analysis"]["gates"] = gates)
}

fn approval(name: &str, gate: &str, revision: &str, decision: &str) -> Value {
    json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Approval", "metadata": {"name": name},
        "spec": {"canaryRef": {"name": "shop"}, "gate": gate, "revision": revision, "decision": decision,
            "comment": "looked at it", "approvedBy": "mia"}})
}

/// Waits until the release waits at `gate`; returns its revision.
async fn wait_at(stage: &Stage, gate: &str) -> Result<String> {
    let canary = stage
        .wait_for(
            Kind::Canary,
            "shop",
            &format!("waits at {gate}"),
            ROLLOUT,
            |canary| {
                let message = canary["status"]["hold"]["message"].as_str();
                message.is_some_and(|text| text.starts_with(&format!("gate {gate} waits")))
            },
        )
        .await?;
    let revision = canary["status"]["revision"]["current"].as_str();
    Ok(revision.context("no revision")?.to_owned())
}

/// A release waits before its pods are started and before it is promoted, through the death of the controller; a yes lets
/// it pass, a yes for another revision does not, and a no takes it back.
pub async fn gates(stage: Arc<Stage>) -> Result<()> {
    let canary = gated(json!([
        {"name": "begin", "at": "confirm-rollout", "approval": {}},
        {"name": "acceptance", "at": "confirm-promotion", "approval": {}},
    ]));
    shop::under_canary(&stage, &canary).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    let revision = wait_at(&stage, "begin").await?;
    shop::wait_phase(&stage, "Waiting", SOON).await?;
    ensure!(shop::replicas_of(&stage, "shop").await? == 0, "a pod was started");
    stage
        .apply(&approval("other", "begin", "0123456789abcdef", "Approve"))
        .await?;
    stage
        .wait_for(Kind::Approval, "other", "it is refused", SOON, |approval| {
            let outcome = approval["status"]["outcome"].as_str();
            outcome.is_some_and(|text| text.starts_with("refused: it names another revision"))
        })
        .await?;
    stage.kill_controller().await?;
    stage
        .apply(&approval("begin", "begin", &revision, "Approve"))
        .await?;
    stage.start_controller().await?;
    wait_at(&stage, "acceptance").await?;
    let waiting = shop::wait_phase(&stage, "WaitingPromotion", SOON).await?;
    stage.note(waiting["status"]["message"].as_str().unwrap_or_default());
    stage.kill_controller().await?;
    stage.start_controller().await?;
    stage
        .apply(&approval("acceptance", "acceptance", &revision, "Approve"))
        .await?;
    shop::wait_phase(&stage, "Succeeded", ROLLOUT).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await?;

    shop::ship(&stage, "shop:good-3").await?;
    let revision = wait_at(&stage, "begin").await?;
    stage.apply(&approval("no", "begin", &revision, "Reject")).await?;
    let failed = shop::wait_phase(&stage, "Failed", ROLLOUT).await?;
    let message = failed["status"]["message"].as_str().unwrap_or_default();
    ensure!(
        message.contains("gate begin was not passed by mia: looked at it"),
        "it says {message}"
    );
    shop::end_without_failure(&stage, traffic).await
}

/// What is shipped during a freeze waits for its end; a freeze of the whole cluster that holds stops a release between two
/// steps, and lets a bad one go back all the same.
pub async fn freeze(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    let holidays = json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Freeze", "metadata": {"name": "holidays"},
        "spec": {"reason": "nobody is there"}});
    stage.apply(&holidays).await?;
    shop::ship(&stage, "shop:good-2").await?;
    let frozen = |canary: &Value| canary["status"]["hold"]["reason"] == "Frozen";
    let canary = stage
        .wait_for(Kind::Canary, "shop", "it is frozen", SOON, frozen)
        .await?;
    stage.note(canary["status"]["message"].as_str().unwrap_or_default());
    ensure!(shop::replicas_of(&stage, "shop").await? == 0, "a pod was started");
    stage.delete(Kind::Freeze, "holidays").await?;
    shop::wait_weight(&stage, 10).await?;
    let incident = json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "ClusterFreeze",
        "metadata": {"name": "incident"}, "spec": {"reason": "incident 17", "underWay": "hold"}});
    stage.apply_to_cluster(&incident).await?;
    let held = stage
        .wait_for(Kind::Canary, "shop", "it is held", SOON, frozen)
        .await?;
    let weight = held["status"]["canaryWeight"].clone();
    stage.kill_controller().await?;
    stage.start_controller().await?;
    shop::wait_status(&stage, "it is still held", SOON, |status| {
        status["hold"]["reason"] == "Frozen" && status["canaryWeight"] == weight
    })
    .await?;
    stage.delete(Kind::ClusterFreeze, "incident").await?;
    shop::wait_phase(&stage, "Succeeded", ROLLOUT).await?;
    shop::end_without_failure(&stage, traffic).await
}

/// The chart's admission policies: nobody names somebody else, but whoever may attest.
pub async fn approval_policy(stage: Arc<Stage>) -> Result<()> {
    shop::under_canary(
        &stage,
        &gated(json!([{"name": "begin", "at": "confirm-rollout", "approval": {}}])),
    )
    .await?;
    let cluster = stage.cluster()?;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "mia"}});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "approver"},
    "rules": [
        {"apiGroups": ["bellwether.dev"], "resources": ["approvals", "commands", "promotions"],
            "verbs": ["create", "get", "patch"]},
        {"apiGroups": ["bellwether.dev"], "resources": ["canaries/approve"], "resourceNames": ["shop:begin"],
            "verbs": ["create"]},
        {"apiGroups": ["bellwether.dev"], "resources": ["canaries/skip-analysis"], "resourceNames": ["shop"],
            "verbs": ["create"]},
    ]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "approver"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "approver"},
        "subjects": [{"kind": "ServiceAccount", "name": "mia", "namespace": stage.namespace}]});
    for object in [&account, &role, &binding] {
        stage.apply(object).await?;
    }
    let own = format!("system:serviceaccount:{}:mia", stage.namespace);
    let mut foreign = approval("foreign", "begin", "0123456789abcdef", "Approve");
    foreign["metadata"]["namespace"] = json!(stage.namespace);
    let file = cluster.layout.logs.join("foreign.json");
    let apply = async |object: &Value| {
        std::fs::write(&file, object.to_string())?;
        let path = file.display().to_string();
        stage.kubectl(&["create", "--as", &own, "-f", &path]).await
    };
    let tries = std::cell::Cell::new(0);
    // The policy takes effect a moment after it was applied.
    let refused = wait::until("the policy is in force", SOON, async || {
        let mut other = foreign.clone();
        tries.set(tries.get() + 1);
        other["metadata"]["name"] = json!(format!("foreign-{}", tries.get()));
        match apply(&other).await {
            Ok(_) => anyhow::bail!("somebody else's name is taken"),
            Err(error) => Ok(format!("{error:#}")),
        }
    })
    .await?;
    ensure!(
        refused.contains(&format!("must be {own}")),
        "it is refused otherwise: {refused}"
    );
    foreign["spec"]["approvedBy"] = json!(own);
    foreign["metadata"]["name"] = json!("own");
    wait::until("the right to decide on the gate is known", SOON, async || {
        apply(&foreign).await.map(drop)
    })
    .await?;
    foreign["spec"]["gate"] = json!("end");
    foreign["metadata"]["name"] = json!("end");
    let error = apply(&foreign)
        .await
        .err()
        .context("a gate without the right for it is decided on")?;
    ensure!(
        format!("{error:#}").contains("may not create canaries/approve of shop"),
        "{error:#}"
    );
    let order = |verb: &str, name: &str| {
        json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Command",
            "metadata": {"name": name, "namespace": stage.namespace},
            "spec": {"canaryRef": {"name": "shop"}, "verb": verb, "revision": "0123456789abcdef", "requestedBy": own}})
    };
    let refused = wait::until("the policy of orders is in force", SOON, async || {
        tries.set(tries.get() + 1);
        match apply(&order("Undo", &format!("undo-{}", tries.get()))).await {
            Ok(_) => anyhow::bail!("an order without the right for it is taken"),
            Err(error) => Ok(format!("{error:#}")),
        }
    })
    .await?;
    ensure!(refused.contains("may not Undo shop"), "{refused}");
    apply(&order("SkipAnalysis", "skip")).await?;
    let command = json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Command",
        "metadata": {"name": "foreign", "namespace": stage.namespace},
        "spec": {"canaryRef": {"name": "shop"}, "verb": "Undo", "revision": "0123456789abcdef", "requestedBy": "bob"}});
    let error = apply(&command)
        .await
        .err()
        .context("a Command in somebody else's name is taken")?;
    ensure!(
        format!("{error:#}").contains("spec.requestedBy: must be"),
        "{error:#}"
    );
    let promotion = json!({"apiVersion": "bellwether.dev/v1beta1", "kind": "Promotion",
        "metadata": {"name": "anonymous", "namespace": stage.namespace},
        "spec": {"canaryRef": {"name": "shop"}, "image": "shop:good-2"}});
    let error = apply(&promotion)
        .await
        .err()
        .context("an anonymous Promotion is taken")?;
    ensure!(
        format!("{error:#}").contains("authenticatedAs: must be"),
        "{error:#}"
    );
    Ok(())
}

/// A gate that a Jenkins job opens: the controller dies and Jenkins restarts while the build runs, and there is one build;
/// a build that fails takes the release back.
pub async fn jenkins_gate(stage: Arc<Stage>) -> Result<()> {
    const JOB: &str = "team/acceptance";
    let mut jenkins = FakeJenkins::start(JENKINS, Settings::default()).await?;
    let mut job = Job::new(&["BELLWETHER_GATE", "TARGET"]);
    job.quiet = Duration::ZERO;
    job.script.takes = Some(Duration::from_secs(12));
    jenkins.world().add_job(JOB, job);
    let file = stage.cluster()?.layout.logs.join("jenkins.yaml");
    let known = json!([{"name": "ci", "url": format!("http://{JENKINS}"), "user": "admin", "token": "admin-token",
        "namespaces": [stage.namespace]}]);
    std::fs::write(&file, known.to_string())?;
    let controller = story::controller(stage.cluster()?, &stage.namespace, &stage.namespace)?
        .args(["--jenkins-file", &file.display().to_string()]);
    shop::open(&stage).await?;
    controller.start().await?;
    let gates = json!([{"name": "acceptance", "at": "pre-rollout",
        "jenkins": {"instance": "ci", "job": JOB, "parameters": {"TARGET": "$(canaryService).$(namespace)"}}}]);
    stage.apply(&gated(gates)).await?;
    shop::set_up(&stage).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:good-2").await?;
    wait_at(&stage, "acceptance").await?;
    let gate = |canary: &Value| canary["status"]["gates"][0].clone();
    let building = |canary: &Value| {
        gate(canary)["message"]
            .as_str()
            .is_some_and(|text| text.contains("runs"))
    };
    let canary = stage
        .wait_for(Kind::Canary, "shop", "the build runs", SOON, building)
        .await?;
    stage.note(format!("{} {}", gate(&canary)["message"], gate(&canary)["url"]));
    ensure!(canary["status"]["canaryWeight"] == 0, "traffic passed the gate");
    controller.kill().await?;
    jenkins.stop(Queue::Kept).await;
    controller.start().await?;
    let unreachable = |canary: &Value| {
        gate(canary)["message"]
            .as_str()
            .is_some_and(|text| text.contains("unreachable"))
    };
    let canary = stage
        .wait_for(Kind::Canary, "shop", "Jenkins is missed", SOON, unreachable)
        .await?;
    stage.note(gate(&canary)["message"].to_string());
    jenkins.start_again().await?;
    shop::wait_phase(&stage, "Succeeded", ROLLOUT).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await?;
    let builds = jenkins.world().job(JOB).builds.clone();
    ensure!(
        builds.len() == 1,
        "{} builds of one gate: {builds:?}",
        builds.len()
    );
    let target = format!("shop-canary.{}", stage.namespace);
    ensure!(
        builds
            .values()
            .all(|build| build.parameters.contains(&("TARGET".to_owned(), target.clone()))),
        "its parameters are {builds:?}"
    );

    jenkins.world().job(JOB).script.result = "FAILURE".to_owned();
    jenkins.world().job(JOB).script.takes = Some(Duration::from_secs(2));
    shop::ship(&stage, "shop:good-3").await?;
    let failed = shop::wait_phase(&stage, "Failed", ROLLOUT).await?;
    let message = failed["status"]["message"].as_str().unwrap_or_default();
    ensure!(
        message.contains("gate acceptance was not passed: build 2: failure"),
        "it says {message}"
    );
    stage.note(message);
    ensure!(jenkins.world().job(JOB).builds.len() == 2, "not two builds");
    controller.kill().await?;
    shop::end_without_failure(&stage, traffic).await
}

/// The same against a real server, as old as they come: the build waits in a queue whose items have no number while the
/// controller dies, there is one build, and one that fails takes the release back.
pub async fn hudson_gate(stage: Arc<Stage>) -> Result<()> {
    const JOB: &str = "acceptance";
    let folder = stage.cluster()?.layout.logs.clone();
    let hudson = Hudson::start(&folder, 18_097).await?;
    let verdict = "sleep 4; test ! -e \"$HUDSON_HOME/bad\"";
    hudson
        .add_job(JOB, &["BELLWETHER_GATE", "TARGET"], verdict)
        .await?;
    hudson.add_job("other", &["NUMBER"], "sleep 15").await?;
    let file = folder.join("hudson.yaml");
    std::fs::write(&file, json!([hudson.entry(&stage.namespace)]).to_string())?;
    let controller = story::controller(stage.cluster()?, &stage.namespace, &stage.namespace)?
        .args(["--jenkins-file", &file.display().to_string()]);
    shop::open(&stage).await?;
    controller.start().await?;
    let gates = json!([{"name": "acceptance", "at": "pre-rollout",
        "jenkins": {"instance": "ci", "job": JOB, "parameters": {"TARGET": "$(canaryService).$(namespace)"}}}]);
    stage.apply(&gated(gates)).await?;
    shop::set_up(&stage).await?;
    let traffic = stage.traffic(RATE);

    // Both executors are busy.
    for number in ["1", "2"] {
        hudson.build("other", &[("NUMBER", number)]).await?;
    }
    shop::ship(&stage, "shop:good-2").await?;
    let waits = async || {
        let queue = hudson.queue().await?;
        ensure!(queue.len() == 1, "{} items in the queue", queue.len());
        Ok(queue)
    };
    let queue = wait::until("the build waits in the queue", ROLLOUT, waits).await?;
    ensure!(queue[0].get("id").is_none(), "its items have numbers: {queue:?}");
    controller.kill().await?;
    controller.start().await?;
    shop::wait_phase(&stage, "Succeeded", ROLLOUT).await?;
    shop::ensure_on_primary(&stage, "shop:good-2").await?;
    let builds = hudson.builds(JOB).await?;
    ensure!(builds.len() == 1, "{} builds of one gate", builds.len());
    let target = json!({"name": "TARGET", "value": format!("shop-canary.{}", stage.namespace)});
    let parameters = builds[0]["actions"][0]["parameters"].as_array();
    ensure!(
        parameters.is_some_and(|given| given.contains(&target)),
        "its parameters are {parameters:?}"
    );

    std::fs::write(hudson.home().join("bad"), "")?;
    shop::ship(&stage, "shop:good-3").await?;
    let failed = shop::wait_phase(&stage, "Failed", ROLLOUT).await?;
    let message = failed["status"]["message"].as_str().unwrap_or_default();
    ensure!(
        message.contains("gate acceptance was not passed: build 2: failure"),
        "it says {message}"
    );
    stage.note(message);
    ensure!(hudson.builds(JOB).await?.len() == 2, "not two builds");
    controller.kill().await?;
    hudson.kill().await?;
    shop::end_without_failure(&stage, traffic).await
}
