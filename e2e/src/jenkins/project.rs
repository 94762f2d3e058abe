//! Jobs: what is done with them, their builds and their items.

use std::time::Duration;

use super::answer::{Caller, encoded, root};
use super::page::{Page, Request};
use super::setup::{Job, Quirk};
use super::view;
use super::world::{Place, World};

/// `/job/a/job/b/…`.
pub(super) fn route(world: &mut World, request: &Request, caller: &Caller, names: &[&str]) -> Page {
    let mut path = String::new();
    let mut rest = names;
    while let ["job", name, more @ ..] = rest {
        path = if path.is_empty() {
            (*name).to_owned()
        } else {
            format!("{path}/{name}")
        };
        rest = more;
    }
    let Some(job) = world.jobs.get_mut(&path) else {
        return Page::not_found();
    };
    let effect = !matches!(rest, [] | [_] | [.., "api", "json"] | [_, "consoleText"])
        || matches!(
            rest,
            ["build" | "buildWithParameters" | "doDelete" | "enable" | "disable" | "createItem"]
        );
    if effect && !request.is_post() {
        return Page::only_post();
    }
    match rest {
        [] => Page::html(200, &format!("{path} [Jenkins]")),
        ["api", "json"] => Page::json(
            &view::job(world, &path, request.queried("tree").is_some()),
            request,
        ),
        ["config.xml"] if request.is_post() => match Job::of_xml(&request.body) {
            Some(new) => {
                let (next_build, builds) = (job.next_build, std::mem::take(&mut job.builds));
                *job = Job {
                    next_build,
                    builds,
                    ..new
                };
                Page::empty(200)
            }
            None => Page::html(500, "Failed to parse config.xml"),
        },
        ["config.xml"] => Page::text("application/xml", &job.xml),
        ["createItem"] => create(world, request, &path),
        ["doDelete"] => {
            let inside = format!("{path}/");
            world
                .jobs
                .retain(|name, _| *name != path && !name.starts_with(&inside));
            Page::to(302, root(world))
        }
        [word @ ("enable" | "disable")] => {
            job.disabled = *word == "disable";
            Page::to(302, view::job_url(world, &path))
        }
        ["build" | "buildWithParameters"] if job.folder => Page::not_found(),
        [call @ ("build" | "buildWithParameters")] => trigger(world, request, caller, &path, call),
        [number, below @ ..] => match number.parse() {
            Ok(number) => build(world, request, caller, (&path, number), below),
            Err(_) => Page::not_found(),
        },
    }
}

fn trigger(world: &mut World, request: &Request, caller: &Caller, path: &str, call: &str) -> Page {
    let job = &world.jobs[path];
    if !caller.user.builds {
        let text = format!("{} is missing the Job/Build permission", caller.name);
        return Page::html(403, &text);
    }
    if world.is_disabled(path) {
        return Page::html(409, &format!("{path} is not buildable"));
    }
    let parameterized = !job.parameters.is_empty();
    if call == "buildWithParameters" && !parameterized {
        let code = if job.quirk == Quirk::OldCore { 500 } else { 400 };
        return Page::html(code, &format!("{path} is not parameterized"));
    }
    if call == "build" && parameterized {
        return Page::html(400, "Nothing is submitted");
    }
    if job.quirk == Quirk::Veto {
        return Page::to(302, ".");
    }
    // Only what is declared is taken, the rest is dropped without a word.
    let mut parameters = Vec::new();
    for declared in &job.parameters {
        let value = request.given(&declared.name).unwrap_or(&declared.default);
        if !declared.choices.is_empty() && !declared.choices.iter().any(|choice| choice == value) {
            return Page::html(400, "Illegal choice for parameter");
        }
        parameters.push((declared.name.clone(), value.to_owned()));
    }
    let delay = request
        .given("delay")
        .and_then(|text| text.trim_end_matches("sec").parse().ok());
    let delay = delay.map_or(job.quiet, Duration::from_secs);
    let old = job.quirk == Quirk::OldCore;
    let (id, new) = world.schedule(path, parameters, delay);
    if old {
        return Page::to(302, view::job_url(world, path));
    }
    Page::to(
        if new { 201 } else { 303 },
        format!("{}queue/item/{id}/", root(world)),
    )
}

fn build(
    world: &mut World,
    request: &Request,
    caller: &Caller,
    (path, number): (&str, u64),
    below: &[&str],
) -> Page {
    let url = view::build_url(world, path, number);
    let now = world.now;
    let Some(build) = world.job(path).builds.get_mut(&number) else {
        return Page::not_found();
    };
    match below {
        [] => Page::html(200, &format!("{path} #{number} [Jenkins]")),
        ["api", "json"] => Page::json(&view::build(world, path, number), request),
        ["consoleText"] => Page::text("text/plain;charset=utf-8", "Started by user admin\n"),
        ["stop" | "term" | "kill"] if !caller.user.cancels => Page::html(
            403,
            &format!("{} is missing the Job/Cancel permission", caller.name),
        ),
        ["stop" | "term" | "kill"] => {
            build.ended.get_or_insert((now, "ABORTED".to_owned()));
            Page::to(302, url)
        }
        ["submitDescription"] => {
            build.description = request.given("description").map(str::to_owned);
            Page::to(302, url)
        }
        ["doDelete"] => {
            world.job(path).builds.remove(&number);
            Page::to(302, view::job_url(world, path))
        }
        _ => Page::not_found(),
    }
}

pub(super) fn create(world: &mut World, request: &Request, folder: &str) -> Page {
    if !request.is_post() {
        return Page::only_post();
    }
    let name = request.queried("name").unwrap_or_default();
    let xml = request
        .header("content-type")
        .is_some_and(|kind| kind.contains("xml"));
    let path = if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    };
    match Job::of_xml(&request.body) {
        _ if name.is_empty() || name.contains('/') => Page::error("No name is specified"),
        _ if world.jobs.contains_key(&path) => {
            Page::error(&format!("A job already exists with the name ‘{}’", encoded(name)))
        }
        Some(job) if xml => {
            world.add_job(&path, job);
            Page::empty(200)
        }
        _ => Page::error("No mode given"),
    }
}

pub(super) fn cancel(world: &mut World, request: &Request, caller: &Caller) -> Page {
    let id: Option<u64> = request.given("id").and_then(|id| id.parse().ok());
    let now = world.now;
    let mut items = world.items.iter_mut();
    let item = items.find(|item| Some(item.id) == id);
    match item {
        Some(item) if matches!(item.place, Place::Left(..) | Place::Cancelled(_)) => Page::empty(404),
        None => Page::empty(404),
        Some(_) if !caller.user.cancels => Page::empty(422),
        Some(item) => {
            item.place = Place::Cancelled(now);
            Page::empty(204)
        }
    }
}
