//! Items of Jenkins' queue. Pure.
//!
//! Ids begin anew when Jenkins loses its queue, so an item counts only if it has the mark of the order.

use serde::{Deserialize, Serialize};

use super::{Error, JobPath, Mark, Order, job::read_json, link};

/// What to ask of one item.
pub(super) const FIELDS: &str = "id,blocked,buildable,pending,stuck,why,cancelled,params,task[url],\
                      actions[parameters[name,value]],executable[number,url]";

/// What to ask of the queue.
pub(super) fn queue_tree() -> String {
    format!("items[{FIELDS}]")
}

/// Number of an item; a build has it too, as its `queueId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemId(pub u64);

/// Where an item is on its way to a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemState {
    /// In the quiet period.
    Waiting,
    /// Something forbids it to begin, such as another build of the job.
    Blocked,
    /// It waits for an executor.
    Buildable,
    /// It has an executor and is about to begin.
    Pending,
    /// It left the queue; the build may not be known yet.
    Left(Option<Executable>),
    /// Somebody cancelled it.
    Cancelled,
}

/// A build that an item became.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Executable {
    /// Its number.
    pub number: u64,
    /// Its URL, as Jenkins believes it to be.
    #[serde(default)]
    pub url: String,
}

/// An item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its number; cores before Jenkins 1.519 do not tell it.
    pub id: Option<ItemId>,
    /// Where it is.
    pub state: ItemState,
    /// Why it is there, in the language of Jenkins; for people only.
    pub why: String,
    job: Option<JobPath>,
    parameters: Parameters,
}

/// The parameters of an item or a build, as far as Jenkins shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters(Vec<(String, String)>);

/// Whether something belongs to an order, as far as its parameters tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belongs {
    /// It has the mark.
    Yes,
    /// It has another value.
    No,
    /// It has no such parameter.
    Untold,
}

#[derive(Deserialize)]
struct RawQueue {
    items: Vec<RawItem>,
}

#[derive(Deserialize)]
struct RawItem {
    id: Option<ItemId>,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    buildable: bool,
    #[serde(default)]
    pending: bool,
    why: Option<String>,
    /// Only an item that left has it.
    cancelled: Option<bool>,
    executable: Option<Executable>,
    params: Option<String>,
    task: Option<RawTask>,
    #[serde(default)]
    actions: Vec<RawAction>,
}

#[derive(Deserialize)]
struct RawTask {
    url: Option<String>,
}

/// An action without parameters is an object without fields, or null.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawAction {
    Parameters { parameters: Vec<RawParameter> },
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
pub(super) struct RawParameter {
    name: String,
    #[serde(default)]
    value: serde_json::Value,
}

impl Parameters {
    pub(super) fn of(actions: Vec<RawAction>) -> Parameters {
        let lists = actions.into_iter().filter_map(|action| match action {
            RawAction::Parameters { parameters } => Some(parameters),
            RawAction::Other(_) => None,
        });
        let pair = |parameter: RawParameter| match parameter.value {
            serde_json::Value::String(text) => (parameter.name, text),
            other => (parameter.name, other.to_string()),
        };
        Parameters(lists.flatten().map(pair).collect())
    }

    /// The text that the queue shows people: a line `NAME=value` for each.
    fn of_text(text: &str) -> Parameters {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Parameters(
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    pub(super) fn belong(&self, mark: &Mark) -> Belongs {
        match self.0.iter().find(|(name, _)| *name == mark.name) {
            Some((_, value)) if *value == mark.value => Belongs::Yes,
            Some(_) => Belongs::No,
            None => Belongs::Untold,
        }
    }
}

impl RawItem {
    fn state(&self) -> ItemState {
        match (self.cancelled, &self.executable) {
            (Some(true), _) => ItemState::Cancelled,
            (_, Some(executable)) => ItemState::Left(Some(executable.clone())),
            (Some(false), None) => ItemState::Left(None),
            (None, None) if self.pending => ItemState::Pending,
            (None, None) if self.buildable => ItemState::Buildable,
            (None, None) if self.blocked => ItemState::Blocked,
            (None, None) => ItemState::Waiting,
        }
    }
}

impl Item {
    /// One item; `base` are the names of the context path.
    pub(super) fn read(body: &[u8], base: &[&str]) -> Result<Item, Error> {
        let raw: RawItem = read_json(body)?;
        Ok(Item::of(raw, base))
    }

    /// The item of `order` among all that are in the queue.
    pub(super) fn find(body: &[u8], base: &[&str], order: &Order) -> Result<Option<Item>, Error> {
        let raw: RawQueue = read_json(body)?;
        let mut items = raw.items.into_iter().map(|item| Item::of(item, base));
        Ok(items.find(|item| {
            let of_job = item.job.as_ref().is_some_and(|job| job.is_same(&order.job));
            item.parameters.belong(&order.mark) == Belongs::Yes && of_job
        }))
    }

    fn of(raw: RawItem, base: &[&str]) -> Item {
        let state = raw.state();
        let url = raw.task.and_then(|task| task.url);
        let mut parameters = Parameters::of(raw.actions);
        if parameters.0.is_empty() {
            parameters = Parameters::of_text(&raw.params.unwrap_or_default());
        }
        Item {
            id: raw.id,
            state,
            why: raw.why.unwrap_or_default(),
            job: url.and_then(|url| link::job_of(&url, base)),
            parameters,
        }
    }

    /// Whether it cannot be the item that `order` became, although it has its number.
    pub(super) fn is_foreign(&self, order: &Order) -> bool {
        self.parameters.belong(&order.mark) == Belongs::No
            || self.job.as_ref().is_some_and(|job| !job.is_same(&order.job))
    }
}

#[cfg(test)]
mod tests;
