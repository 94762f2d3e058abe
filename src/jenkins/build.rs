//! Builds. Pure.

use serde::{Deserialize, Serialize};

use super::{
    Error, ItemId, Order,
    job::read_json,
    queue::{Belongs, Parameters, RawAction},
};

/// What to ask of one build.
pub(super) const FIELDS: &str =
    "number,url,result,building,inProgress,queueId,actions[parameters[name,value]]";
/// How many builds Jenkins lists at once.
pub(super) const PAGE: usize = 100;

/// How a build ended, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BuildResult {
    /// Good.
    Success,
    /// Done, with something to complain about.
    Unstable,
    /// Failed.
    Failure,
    /// It chose not to do anything.
    NotBuilt,
    /// Somebody stopped it.
    Aborted,
}

/// A build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Its number.
    pub number: u64,
    /// Its URL, as Jenkins believes it to be.
    pub url: String,
    /// Whether it runs, or its log is still open.
    pub running: bool,
    /// How it ended, or how it is going to end if it goes on like this.
    pub result: Option<BuildResult>,
    /// The queue item that it was.
    pub item: Option<ItemId>,
    parameters: Parameters,
}

/// What a search among the builds of a job brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// The build.
    Found(Build),
    /// There is none.
    None,
    /// None among those that could be looked at.
    Unfinished,
}

#[derive(Deserialize)]
struct RawBuild {
    number: u64,
    #[serde(default)]
    url: String,
    result: Option<BuildResult>,
    #[serde(default)]
    building: bool,
    /// Older cores do not tell.
    #[serde(default, rename = "inProgress")]
    in_progress: bool,
    #[serde(rename = "queueId")]
    item: Option<ItemId>,
    #[serde(default)]
    actions: Vec<RawAction>,
}

#[derive(Deserialize)]
struct RawList {
    #[serde(default, alias = "allBuilds")]
    builds: Vec<RawBuild>,
}

impl Build {
    /// How it ended, if it did: a running build may have a result already.
    #[must_use]
    pub fn ended(&self) -> Option<BuildResult> {
        self.result.filter(|_| !self.running)
    }

    pub(super) fn read(body: &[u8]) -> Result<Build, Error> {
        read_json(body).map(Build::of)
    }

    /// The builds on one page, newest first.
    pub(super) fn list(body: &[u8]) -> Result<Vec<Build>, Error> {
        let raw: RawList = read_json(body)?;
        Ok(raw.builds.into_iter().map(Build::of).collect())
    }

    fn of(raw: RawBuild) -> Build {
        Build {
            number: raw.number,
            url: raw.url,
            running: raw.building || raw.in_progress,
            result: raw.result,
            item: raw.item,
            parameters: Parameters::of(raw.actions),
        }
    }

    /// Whether it cannot be the build of `order`, although it has its number.
    pub(super) fn is_foreign(&self, order: &Order) -> bool {
        self.parameters.belong(&order.mark) == Belongs::No
    }

    /// Whether it is the build of `order`: by its mark, or by the queue item if it does not tell the mark.
    fn is_of(&self, order: &Order, item: Option<ItemId>) -> bool {
        match self.parameters.belong(&order.mark) {
            Belongs::Yes => true,
            Belongs::No => false,
            Belongs::Untold => item.is_some() && self.item == item,
        }
    }
}

/// The build of `order` on one page; if there should be several, the first that was made.
pub(super) fn find(page: &[Build], order: &Order, item: Option<ItemId>) -> Option<Build> {
    let mine = page.iter().filter(|build| build.is_of(order, item));
    mine.min_by_key(|build| build.number).cloned()
}

/// Whether builds with the number `floor` or a higher one may be on the pages after this one.
pub(super) fn continues(page: &[Build], floor: u64) -> bool {
    page.len() >= PAGE && page.iter().all(|build| build.number >= floor)
}

#[cfg(test)]
mod tests {
    use super::super::{JobPath, Mark};
    use super::*;

    fn order() -> Order {
        Order {
            job: JobPath::parse("a").unwrap(),
            parameters: Default::default(),
            mark: Mark {
                name: "ID".to_owned(),
                value: "7".to_owned(),
            },
        }
    }

    fn build(fields: &str) -> Build {
        Build::read(format!(r#"{{"number":4,"url":"x",{fields}}}"#).as_bytes()).unwrap()
    }

    #[test]
    fn a_result_counts_when_the_build_has_ended_and_closed_its_log() {
        let ended = |fields| build(fields).ended();
        assert_eq!(ended(r#""building":true,"result":null"#), None);
        assert_eq!(
            ended(r#""building":true,"inProgress":true,"result":"FAILURE""#),
            None
        );
        assert_eq!(
            ended(r#""building":false,"inProgress":true,"result":"SUCCESS""#),
            None
        );
        assert_eq!(ended(r#""building":false,"result":null"#), None);
        assert_eq!(
            ended(r#""building":false,"result":"NOT_BUILT""#),
            Some(BuildResult::NotBuilt)
        );
        let done = r#""building":false,"inProgress":false,"result":"SUCCESS""#;
        assert_eq!(ended(done), Some(BuildResult::Success));
    }

    #[test]
    fn results_are_ordered_and_an_unknown_one_is_no_answer() {
        use BuildResult::*;
        assert!(Success < Unstable && Unstable < Failure && Failure < NotBuilt && NotBuilt < Aborted);
        assert!(Build::read(br#"{"number":4,"building":false,"result":"FINE"}"#).is_err());
    }

    #[test]
    fn a_build_is_known_by_its_mark_and_by_its_item_only_without_one() {
        let mark = |value: &str, item: u64| {
            build(&format!(
                r#""queueId":{item},"actions":[{{}},{{"parameters":[{{"name":"ID","value":"{value}"}}]}}]"#
            ))
        };
        let found = |build: Build| find(&[build], &order(), Some(ItemId(3))).is_some();
        assert!(found(mark("7", 99)));
        assert!(!found(mark("8", 3)));
        assert!(found(build(r#""queueId":3"#)));
        assert!(!found(build(r#""queueId":4"#)));
        assert!(find(&[build(r#""queueId":null"#)], &order(), None).is_none());
    }

    #[test]
    fn of_two_builds_with_one_mark_the_first_counts() {
        let list = br#"{"builds":[
            {"number":9,"actions":[{"parameters":[{"name":"ID","value":"7"}]}]},
            {"number":8,"actions":[{"parameters":[{"name":"ID","value":"7"}]}]}]}"#;
        let page = Build::list(list).unwrap();
        assert_eq!(find(&page, &order(), None).map(|build| build.number), Some(8));
    }

    #[test]
    fn a_search_goes_on_while_full_pages_are_newer_than_the_floor() {
        let page = |numbers: std::ops::Range<u64>| -> Vec<Build> {
            let one = |number| Build {
                number,
                ..build(r#""result":null"#)
            };
            numbers.map(one).collect()
        };
        assert!(continues(&page(50..150), 50));
        assert!(!continues(&page(50..150), 51));
        assert!(!continues(&page(50..149), 1));
    }
}
