//! What is in a Jenkins, and how it goes on as time passes. No socket.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Fault;
use super::setup::{Build, Job, Settings};

/// Where an item of the queue is, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Until then.
    Waiting(Duration),
    /// Something forbids it.
    Blocked,
    /// No executor is free.
    Buildable,
    /// It has an executor, since then.
    Pending(Duration),
    /// Gone since then, with the number of its build once there is one.
    Left(Duration, Option<u64>),
    /// Cancelled, then.
    Cancelled(Duration),
}

/// An item of the queue.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) id: u64,
    pub(super) job: String,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) since: Duration,
    pub(super) place: Place,
}

/// What is in a Jenkins.
pub struct World {
    /// How it is set up.
    pub settings: Settings,
    /// Time since the beginning.
    pub now: Duration,
    /// Jobs and folders by their names, as in `team/deploy`.
    pub jobs: BTreeMap<String, Job>,
    /// What goes wrong, by the number of the request, counted from 0.
    pub faults: BTreeMap<usize, Fault>,
    /// Requests so far: method, path, status; 0 if there was no answer.
    pub log: Vec<String>,
    pub(super) address: String,
    pub(super) items: Vec<Item>,
    pub(super) next_item: u64,
    /// Crumbs by the session that they are bound to, which is a user's.
    pub(super) sessions: BTreeMap<String, String>,
    pub(super) lives: u64,
    pub(super) ready: Duration,
    pub(super) dead: bool,
    pub(super) late: Vec<(Duration, super::page::Request)>,
    issued: u64,
}

impl World {
    pub(super) fn new(settings: Settings, address: &str) -> World {
        World {
            settings,
            now: Duration::ZERO,
            jobs: BTreeMap::new(),
            faults: BTreeMap::new(),
            log: Vec::new(),
            address: address.to_owned(),
            items: Vec::new(),
            next_item: 1,
            sessions: BTreeMap::new(),
            lives: 1,
            ready: Duration::ZERO,
            dead: false,
            late: Vec::new(),
            issued: 0,
        }
    }

    /// Makes a job, and the folders above it.
    pub fn add_job(&mut self, path: &str, job: Job) {
        for (at, _) in path.match_indices('/') {
            self.jobs.entry(path[..at].to_owned()).or_insert_with(Job::folder);
        }
        self.jobs.insert(path.to_owned(), job);
    }

    /// The job at `path`, which must exist.
    #[expect(clippy::panic, reason = "a mistake of the test that arranges the world")]
    pub fn job(&mut self, path: &str) -> &mut Job {
        self.jobs.get_mut(path).unwrap_or_else(|| panic!("no job {path}"))
    }

    /// The builds of a job whose parameter has this value, and its items that may become one.
    pub fn traces(&self, path: &str, name: &str, value: &str) -> (usize, usize) {
        let has = |all: &[(String, String)]| all.iter().any(|(n, v)| n == name && v == value);
        let builds = self.jobs.get(path).map(|job| job.builds.values());
        let builds = builds
            .into_iter()
            .flatten()
            .filter(|build| has(&build.parameters))
            .count();
        let alive = |item: &&Item| {
            !matches!(item.place, Place::Left(_, Some(_)) | Place::Cancelled(_)) && item.job == path
        };
        let items = self
            .items
            .iter()
            .filter(alive)
            .filter(|item| has(&item.parameters))
            .count();
        (builds, items)
    }

    /// Where item `id` is.
    pub fn place(&self, id: u64) -> Option<Place> {
        self.items
            .iter()
            .find(|item| item.id == id)
            .map(|item| item.place)
    }

    /// Ends a running build.
    pub fn end_build(&mut self, path: &str, number: u64, result: &str) {
        let now = self.now;
        if let Some(build) = self.job(path).builds.get_mut(&number) {
            build.ended.get_or_insert((now, result.to_owned()));
        }
    }

    /// A text that was never given before.
    pub(super) fn unique(&mut self, kind: &str) -> String {
        self.issued += 1;
        format!(
            "{kind}{:08x}",
            self.issued.wrapping_mul(0x9e37_79b9) & 0xffff_ffff
        )
    }

    /// Lets everything happen that happens until `to`.
    pub(super) fn play_to(&mut self, to: Duration) {
        let step = Duration::from_millis(250);
        while self.now < to {
            self.now = to.min(self.now + step);
            self.play();
        }
        self.play();
    }

    pub(super) fn play(&mut self) {
        if self.dead {
            return;
        }
        let (due, later) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|(at, _)| *at <= self.now);
        self.late = later;
        let due: Vec<_> = due;
        for (_, request) in due {
            super::answer::answer(self, &request);
        }
        self.end_builds();
        for at in 0..self.items.len() {
            let place = self.place_of(&self.items[at]);
            self.items[at].place = place;
            if let Place::Left(since, None) = place
                && self.now >= since + self.settings.gap
            {
                self.begin_build(at);
            }
        }
        let (now, remembers) = (self.now, self.settings.remembers);
        self.items.retain(|item| match item.place {
            Place::Left(since, _) | Place::Cancelled(since) => now < since + remembers,
            _ => true,
        });
    }

    fn end_builds(&mut self) {
        let now = self.now;
        for job in self.jobs.values_mut() {
            let Some(takes) = job.script.takes else { continue };
            for build in job.builds.values_mut().filter(|build| build.ended.is_none()) {
                let end = build.began + takes;
                if now >= end {
                    build.ended = Some((end, job.script.result.clone()));
                }
            }
        }
    }

    fn place_of(&self, item: &Item) -> Place {
        let now = self.now;
        match item.place {
            Place::Waiting(until) if now < until => item.place,
            Place::Waiting(_) | Place::Blocked | Place::Buildable => {
                if self.is_blocked(&item.job) {
                    Place::Blocked
                } else if self.busy() >= self.settings.executors {
                    Place::Buildable
                } else {
                    Place::Pending(now)
                }
            }
            Place::Pending(since) if now >= since + self.settings.stage => Place::Left(now, None),
            other => other,
        }
    }

    fn is_blocked(&self, path: &str) -> bool {
        let Some(job) = self.jobs.get(path) else {
            return true;
        };
        let runs = job.builds.values().any(|build| build.ended.is_none());
        let begins = |item: &Item| item.job == path && item.takes_executor();
        job.blocked || job.one_at_a_time && (runs || self.items.iter().any(begins))
    }

    /// How many executors are taken.
    pub(super) fn busy(&self) -> usize {
        let builds = self.jobs.values().flat_map(|job| job.builds.values());
        let running = builds.filter(|build| build.ended.is_none()).count();
        running + self.items.iter().filter(|item| item.takes_executor()).count()
    }

    fn begin_build(&mut self, at: usize) {
        let item = &mut self.items[at];
        let Some(job) = self.jobs.get_mut(&item.job) else {
            return;
        };
        let number = job.next_build;
        job.next_build += 1;
        item.place = Place::Left(self.now, Some(number));
        job.builds.insert(
            number,
            Build {
                item: item.id,
                parameters: item.parameters.clone(),
                began: self.now,
                ended: None,
                description: None,
            },
        );
    }

    /// Puts a request to build into the queue, or finds an equal one there: its number and whether it is new.
    pub(super) fn schedule(
        &mut self,
        job: &str,
        parameters: Vec<(String, String)>,
        delay: Duration,
    ) -> (u64, bool) {
        let mergeable = |item: &&Item| {
            matches!(item.place, Place::Waiting(_) | Place::Blocked | Place::Buildable)
                && item.job == job
                && item.parameters == parameters
        };
        if let Some(equal) = self.items.iter().find(mergeable) {
            return (equal.id, false);
        }
        let id = self.next_item;
        self.next_item += 1;
        self.items.push(Item {
            id,
            job: job.to_owned(),
            parameters,
            since: self.now,
            place: Place::Waiting(self.now + delay.max(self.settings.stage)),
        });
        (id, true)
    }

    pub(super) fn shut_down(&mut self, queue_kept: bool) {
        self.dead = true;
        self.sessions.clear();
        self.late.clear();
        if !queue_kept {
            self.items.clear();
            self.next_item = 1;
        }
        self.items
            .retain(|item| !matches!(item.place, Place::Left(_, Some(_)) | Place::Cancelled(_)));
        for item in &mut self.items {
            if item.takes_executor() {
                item.place = Place::Buildable;
            }
        }
    }

    pub(super) fn boot(&mut self) {
        self.dead = false;
        self.lives += 1;
        self.ready = self.now + self.settings.boot;
    }

    /// The folders and jobs right below `folder`, which is empty for the root.
    pub(super) fn children(&self, folder: &str) -> BTreeSet<String> {
        let below = |path: &&String| match path.rsplit_once('/') {
            Some((above, _)) => above == folder,
            None => folder.is_empty(),
        };
        self.jobs.keys().filter(below).cloned().collect()
    }

    /// Whether `path` or a folder above it is disabled.
    pub(super) fn is_disabled(&self, path: &str) -> bool {
        let disabled = |path: &str| self.jobs.get(path).is_some_and(|job| job.disabled);
        disabled(path) || path.match_indices('/').any(|(at, _)| disabled(&path[..at]))
    }
}

impl Item {
    fn takes_executor(&self) -> bool {
        matches!(self.place, Place::Pending(_) | Place::Left(_, None))
    }
}
