//! What is shown as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::answer::{self, encoded};
use super::setup::Build;
use super::world::{Item, Place, World};

/// Some instant long ago, in milliseconds since 1970, when the fake's time began.
const EPOCH: u128 = 1_700_000_000_000;
/// How many builds a job lists.
const NEWEST: usize = 100;

fn stamp(at: Duration) -> Value {
    json!(u64::try_from(EPOCH + at.as_millis()).unwrap_or(u64::MAX))
}

pub(super) fn job_url(world: &World, path: &str) -> String {
    let names = path.split('/').map(|name| format!("job/{}/", encoded(name)));
    format!("{}{}", answer::root(world), names.collect::<String>())
}

pub(super) fn build_url(world: &World, path: &str, number: u64) -> String {
    format!("{}{number}/", job_url(world, path))
}

pub(super) fn root(world: &World) -> Value {
    json!({
        "_class": "hudson.model.Hudson",
        "mode": "NORMAL",
        "nodeDescription": "the Jenkins controller's built-in node",
        "numExecutors": world.settings.executors,
        "useCrumbs": world.settings.crumbs,
        "useSecurity": true,
        "quietingDown": false,
        "url": answer::root(world),
        "jobs": children(world, ""),
        "views": [],
    })
}

fn children(world: &World, folder: &str) -> Value {
    let jobs = world.children(folder);
    jobs.iter().map(|path| short_job(world, path)).collect()
}

fn short_job(world: &World, path: &str) -> Value {
    let job = &world.jobs[path];
    let name = path.rsplit('/').next().unwrap_or_default();
    if job.folder {
        return json!({
            "_class": "com.cloudbees.hudson.plugins.folder.Folder",
            "name": name,
            "url": job_url(world, path),
            "jobs": children(world, path),
        });
    }
    let color = if job.disabled { "disabled" } else { "blue" };
    json!({
        "_class": "hudson.model.FreeStyleProject",
        "name": name,
        "url": job_url(world, path),
        "color": color,
    })
}

/// A job. Without a `tree`, builds are shown with number and URL only.
pub(super) fn job(world: &World, path: &str, deep: bool) -> Value {
    let job = &world.jobs[path];
    let mut shown = short_job(world, path);
    let name = path.rsplit('/').next().unwrap_or_default();
    let more = if job.folder {
        json!({"fullName": path, "displayName": name, "description": null})
    } else {
        let short = |number: &u64| json!({"_class": "hudson.model.FreeStyleBuild", "number": number, "url": build_url(world, path, *number)});
        let numbers = job.builds.keys().rev();
        let builds: Vec<Value> = match deep {
            true => numbers.map(|number| build(world, path, *number)).collect(),
            false => numbers.map(short).collect(),
        };
        let newest = builds.iter().take(NEWEST).cloned().collect::<Vec<_>>();
        let in_queue = world
            .items
            .iter()
            .any(|item| item.job == path && item.is_queued());
        let mut more = json!({
            "fullName": path,
            "displayName": name,
            "description": null,
            "buildable": !world.is_disabled(path),
            "inQueue": in_queue,
            "nextBuildNumber": job.next_build,
            "firstBuild": builds.last(),
            "lastBuild": builds.first(),
            "builds": newest,
            "property": property(world, path),
        });
        if deep {
            more["allBuilds"] = builds.into();
        }
        more
    };
    if let (Some(all), Value::Object(more)) = (shown.as_object_mut(), more) {
        all.extend(more);
    }
    shown
}

fn property(world: &World, path: &str) -> Value {
    let parameters: Vec<Value> = world.jobs[path]
        .parameters
        .iter()
        .map(|parameter| {
            let mut shown = json!({
                "_class": format!("hudson.model.{}", parameter.kind),
                "name": parameter.name,
                "type": parameter.kind,
                "description": null,
                "defaultParameterValue": {"name": parameter.name, "value": parameter.default},
            });
            if !parameter.choices.is_empty() {
                shown["choices"] = json!(parameter.choices);
            }
            shown
        })
        .collect();
    if parameters.is_empty() {
        return json!([{"_class": "jenkins.model.BuildDiscarderProperty"}]);
    }
    json!([
        {"_class": "jenkins.model.BuildDiscarderProperty"},
        {"_class": "hudson.model.ParametersDefinitionProperty", "parameterDefinitions": parameters},
    ])
}

fn actions(parameters: &[(String, String)]) -> Value {
    let cause = json!({"_class": "hudson.model.CauseAction", "causes": [
        {"_class": "hudson.model.Cause$UserIdCause", "shortDescription": "Started by user admin"}]});
    if parameters.is_empty() {
        return json!([cause, {}]);
    }
    let class = "hudson.model.StringParameterValue";
    let pair = |(name, value): &(String, String)| json!({"_class": class, "name": name, "value": value});
    let pairs: Vec<Value> = parameters.iter().map(pair).collect();
    json!([{"_class": "hudson.model.ParametersAction", "parameters": pairs}, cause, {}])
}

pub(super) fn build(world: &World, path: &str, number: u64) -> Value {
    let job = &world.jobs[path];
    let Some(build) = job.builds.get(&number) else {
        return Value::Null;
    };
    let Build { began, ended, .. } = build;
    let early = job.script.early.then_some(job.script.result.as_str());
    let open = ended
        .as_ref()
        .is_none_or(|(at, _)| world.now < *at + world.settings.closing);
    let duration = ended
        .as_ref()
        .map_or(0, |(at, _)| at.saturating_sub(*began).as_millis());
    json!({
        "_class": "hudson.model.FreeStyleBuild",
        "actions": actions(&build.parameters),
        "number": number,
        "id": number.to_string(),
        "displayName": format!("#{number}"),
        "fullDisplayName": format!("{} #{number}", path.replace('/', " » ")),
        "url": build_url(world, path, number),
        "building": ended.is_none(),
        "inProgress": open,
        "result": ended.as_ref().map(|(_, result)| result.as_str()).or(early),
        "queueId": build.item,
        "timestamp": stamp(*began),
        "duration": u64::try_from(duration).unwrap_or(u64::MAX),
        "estimatedDuration": 2000,
        "description": build.description,
        "builtOn": "",
        "artifacts": [],
        "keepLog": false,
        "changeSet": {"_class": "hudson.scm.EmptyChangeLogSet", "items": [], "kind": null},
        "culprits": [],
    })
}

/// The items that have not left.
pub(super) fn queue(world: &World) -> Value {
    let items = world.items.iter().filter(|item| item.is_queued());
    let shown: Vec<Value> = items.map(|item| shown_item(world, item)).collect();
    json!({"_class": "hudson.model.Queue", "discoverableItems": [], "items": shown})
}

pub(super) fn item(world: &World, id: u64) -> Option<Value> {
    let item = world.items.iter().find(|item| item.id == id)?;
    Some(shown_item(world, item))
}

fn shown_item(world: &World, item: &Item) -> Value {
    let short = |job: &str| match world.jobs.contains_key(job) {
        true => short_job(world, job),
        false => Value::Null,
    };
    let params: String = item
        .parameters
        .iter()
        .map(|(name, value)| format!("\n{name}={value}"))
        .collect();
    let (class, more) = match item.place {
        Place::Waiting(until) => ("WaitingItem", json!({"timestamp": stamp(until)})),
        Place::Blocked => (
            "BlockedItem",
            json!({"buildableStartMilliseconds": stamp(item.since)}),
        ),
        Place::Buildable => (
            "BuildableItem",
            json!({"pending": false, "buildableStartMilliseconds": stamp(item.since)}),
        ),
        Place::Pending(since) => (
            "BuildableItem",
            json!({"pending": true, "buildableStartMilliseconds": stamp(since)}),
        ),
        Place::Left(_, None) => ("LeftItem", json!({"cancelled": false, "executable": null})),
        Place::Left(_, Some(number)) => {
            let url = build_url(world, &item.job, number);
            let class = "hudson.model.FreeStyleBuild";
            let executable = json!({"_class": class, "number": number, "url": url});
            ("LeftItem", json!({"cancelled": false, "executable": executable}))
        }
        Place::Cancelled(_) => ("LeftItem", json!({"cancelled": true, "executable": null})),
    };
    let why = match item.place {
        Place::Waiting(_) => Some("In the quiet period. Expires in 1 sec"),
        Place::Blocked => Some("Build #1 is already in progress"),
        Place::Buildable => Some("Waiting for next available executor"),
        Place::Pending(_) | Place::Left(..) | Place::Cancelled(_) => None,
    };
    let mut shown = json!({
        "_class": format!("hudson.model.Queue${class}"),
        "id": item.id,
        "url": format!("queue/item/{}/", item.id),
        "inQueueSince": stamp(item.since),
        "blocked": item.place == Place::Blocked,
        "buildable": matches!(item.place, Place::Buildable | Place::Pending(_)),
        "stuck": false,
        "params": params,
        "why": why,
        "task": short(&item.job),
        "actions": actions(&item.parameters),
    });
    if let (Some(all), Value::Object(more)) = (shown.as_object_mut(), more) {
        all.extend(more);
    }
    shown
}

impl Item {
    fn is_queued(&self) -> bool {
        !matches!(self.place, Place::Left(..) | Place::Cancelled(_))
    }
}

pub(super) fn computers(world: &World) -> Value {
    json!({
        "_class": "hudson.model.ComputerSet",
        "displayName": "Nodes",
        "busyExecutors": world.busy(),
        "totalExecutors": world.settings.executors,
        "computer": [computer(world)],
    })
}

pub(super) fn computer(world: &World) -> Value {
    let mut running = Vec::new();
    for (path, job) in &world.jobs {
        for (number, _) in job.builds.iter().filter(|(_, build)| build.ended.is_none()) {
            let url = build_url(world, path, *number);
            running.push(json!({"_class": "hudson.model.FreeStyleBuild", "number": number, "url": url}));
        }
    }
    let executors = (0..world.settings.executors).map(|number| {
        let executable = running.get(number).cloned().unwrap_or_default();
        json!({"idle": executable.is_null(), "number": number, "currentExecutable": executable, "progress": -1})
    });
    json!({
        "_class": "hudson.model.Hudson$MasterComputer",
        "displayName": "Built-In Node",
        "description": "the Jenkins controller's built-in node",
        "assignedLabels": [{"name": "built-in"}],
        "executors": executors.collect::<Vec<_>>(),
        "oneOffExecutors": [],
        "idle": running.is_empty(),
        "jnlpAgent": false,
        "numExecutors": world.settings.executors,
        "offline": false,
        "offlineCauseReason": "",
        "temporarilyOffline": false,
        "monitorData": {},
    })
}
