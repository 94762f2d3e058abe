//! The requests. Redirects are not followed: where Jenkins sends to is what it has to say.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::{
    Method, RequestBuilder, Url,
    header::{ACCEPT_LANGUAGE, CONTENT_TYPE, COOKIE, HeaderMap, LOCATION},
    redirect::Policy,
};

use super::{
    Answer, Ask, Build, Error, Halted, Item, ItemId, Job, JobPath, Login, Order, Refusal, Said, Search,
    Triggered, build,
    error::shortened,
    job, queue,
    session::Crumb,
    site::Site,
    trigger::{self, Heard},
};

mod transport;

use crate::http_client::authorities;
use transport::{cause, tree};

/// A hundred builds with their parameters take about fifty kilobytes.
const MAX_ANSWER: usize = 8 << 20;
/// How many pages of builds are searched at most; the older a build, the more Jenkins reads from its disk.
const PAGES: usize = 10;
/// Names the life of a Jenkins: it is another after every start.
const SESSION: &str = "x-jenkins-session";

/// How long to wait for a connection, and for a whole answer.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For a whole answer.
    pub total: Duration,
}

impl Default for Timeouts {
    /// 3 s and 15 s: a Jenkins that collects garbage answers late.
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(3),
            total: Duration::from_secs(15),
        }
    }
}

/// A Jenkins and who we are to it.
pub struct Client {
    http: reqwest::Client,
    site: Site,
    login: Login,
    crumb: Mutex<Option<Crumb>>,
}

/// A whole answer.
struct Reply {
    code: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Client {
    /// The Jenkins at `url`, which may have a context path; certificates in `ca`, in PEM, are trusted beside the usual
    /// ones. A process-wide TLS provider must be installed before.
    ///
    /// # Errors
    /// If `url` or `ca` cannot be used, or no client can be made.
    pub fn new(url: &str, login: Login, timeouts: Timeouts, ca: Option<&[u8]>) -> Result<Client, Error> {
        let mut http = reqwest::Client::builder()
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.total)
            .redirect(Policy::none());
        if let Some(pem) = ca {
            let trusted = authorities(pem).map_err(|problem| Error::Setup(format!("caFile: {problem}")))?;
            http = http.tls_certs_merge(trusted);
        }
        let http = http
            .build()
            .map_err(|error| Error::Setup(shortened(&cause(&error))))?;
        Ok(Client {
            http,
            site: Site::parse(url)?,
            login,
            crumb: Mutex::new(None),
        })
    }

    /// Asks what [`super::Run::next`] says, on behalf of `order`; the answer is for [`super::Run::saw`].
    pub async fn ask(&self, order: &Order, ask: &Ask) -> Answer {
        let mut session = None;
        let said = Box::pin(self.said(order, ask, &mut session)).await;
        Answer {
            session,
            said: said.unwrap_or_else(Said::Trouble),
        }
    }

    async fn said(&self, order: &Order, ask: &Ask, session: &mut Option<String>) -> Result<Said, Error> {
        let context = self.site.context();
        let item = |item: Option<Item>| item.map_or(Said::NoItem, Said::Item);
        Ok(match ask {
            Ask::Job => match self.fetch(&self.job_url(&order.job), session).await? {
                None => Said::Unfit(Refusal::NoSuchJob),
                Some(body) => {
                    let job = Job::read(&body)?;
                    let next_build = job.next_build;
                    let fit = job.accepts(order);
                    fit.map_or_else(Said::Unfit, |()| Said::Ready { next_build })
                }
            },
            Ask::FindItem => {
                let url = tree(self.site.at(["queue", "api", "json"]), &queue::queue_tree());
                let body = self.fetch(&url, session).await?;
                let body = body.ok_or_else(|| Error::Malformed("there is no queue".to_owned()))?;
                item(Item::find(&body, &context, order)?)
            }
            Ask::FindBuild { floor, item } => Said::Search(self.search(order, *floor, *item, session).await?),
            Ask::Trigger => {
                let (reply, triggered) = self.post_trigger(&order.job, &order.all_parameters()).await?;
                *session = reply.session();
                Said::Triggered(triggered)
            }
            Ask::Item(id) => {
                let found = self.read_item(*id, session).await?;
                item(found.filter(|item| !item.is_foreign(order)))
            }
            Ask::Build(number) => {
                let found = self.read_build(&order.job, *number, session).await?;
                let found = found.filter(|build| !build.is_foreign(order));
                found.map_or(Said::NoBuild, Said::Build)
            }
            // Numbers begin anew when Jenkins loses its queue, or a job is made again: what is somebody else's is left alone.
            Ask::Cancel(id) => {
                let found = self.read_item(*id, session).await?;
                Said::Halted(match found.filter(|item| !item.is_foreign(order)) {
                    Some(_) => self.cancel(*id).await?,
                    None => Halted::Gone,
                })
            }
            Ask::Stop(number) => {
                let found = self.read_build(&order.job, *number, session).await?;
                Said::Halted(match found.filter(|build| !build.is_foreign(order)) {
                    Some(_) => self.stop(&order.job, *number).await?,
                    None => Halted::Gone,
                })
            }
            Ask::Nothing => Said::NoBuild,
        })
    }

    /// A job, if there is such a one that we may read.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn job(&self, job: &JobPath) -> Result<Option<Job>, Error> {
        let body = self.fetch(&self.job_url(job), &mut None).await?;
        body.map(|body| Job::read(&body)).transpose()
    }

    /// Triggers a build, without a quiet period.
    ///
    /// # Errors
    /// If nobody knows what became of it.
    pub async fn trigger(
        &self,
        job: &JobPath,
        parameters: &BTreeMap<String, String>,
    ) -> Result<Triggered, Error> {
        self.post_trigger(job, parameters)
            .await
            .map(|(_, triggered)| triggered)
    }

    /// An item of the queue, or one that left it within the last five minutes.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn item(&self, id: ItemId) -> Result<Option<Item>, Error> {
        self.read_item(id, &mut None).await
    }

    /// A build.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn build(&self, job: &JobPath, number: u64) -> Result<Option<Build>, Error> {
        self.read_build(job, number, &mut None).await
    }

    /// Cancels an item of the queue.
    ///
    /// # Errors
    /// If nobody knows what became of it.
    pub async fn cancel(&self, id: ItemId) -> Result<Halted, Error> {
        let mut url = self.site.at(["queue", "cancelItem"]);
        url.query_pairs_mut().append_pair("id", &id.0.to_string());
        let reply = self.post(&url, &BTreeMap::new()).await?;
        reply.heard(trigger::read_halt)
    }

    /// Stops a build; whether it stops, polling shows.
    ///
    /// # Errors
    /// If nobody knows what became of it.
    pub async fn stop(&self, job: &JobPath, number: u64) -> Result<Halted, Error> {
        let url = self.site.job(job, &[&number.to_string(), "stop"]);
        let reply = self.post(&url, &BTreeMap::new()).await?;
        reply.heard(trigger::read_halt)
    }

    async fn read_item(&self, id: ItemId, session: &mut Option<String>) -> Result<Option<Item>, Error> {
        let url = self.site.at(["queue", "item", &id.0.to_string(), "api", "json"]);
        let Some(body) = self.fetch(&tree(url, queue::FIELDS), session).await? else {
            return Ok(None);
        };
        let mut item = Item::read(&body, &self.site.context())?;
        if let queue::ItemState::Left(Some(build)) = &mut item.state {
            build.url = self.site.rebased(&build.url);
        }
        Ok(Some(item))
    }

    async fn read_build(
        &self,
        job: &JobPath,
        number: u64,
        session: &mut Option<String>,
    ) -> Result<Option<Build>, Error> {
        let url = self.site.job(job, &[&number.to_string(), "api", "json"]);
        let Some(body) = self.fetch(&tree(url, build::FIELDS), session).await? else {
            return Ok(None);
        };
        Ok(Some(self.with_own_url(Build::read(&body)?)))
    }

    /// The order's build, newest first, back to the number `floor`.
    async fn search(
        &self,
        order: &Order,
        floor: Option<u64>,
        item: Option<ItemId>,
        session: &mut Option<String>,
    ) -> Result<Search, Error> {
        for number in 0..PAGES {
            let Some(body) = self.fetch(&self.page_url(&order.job, number), session).await? else {
                return Ok(Search::None);
            };
            let page = Build::list(&body)?;
            if let Some(found) = build::find(&page, order, item) {
                return Ok(Search::Found(self.with_own_url(found)));
            }
            if !floor.is_some_and(|floor| build::continues(&page, floor)) {
                return Ok(Search::None);
            }
        }
        Ok(Search::Unfinished)
    }

    /// `builds` are the newest hundred; what is older has to be asked for by its place.
    fn page_url(&self, job: &JobPath, number: usize) -> Url {
        let (from, to) = (number * build::PAGE, (number + 1) * build::PAGE);
        let wanted = match number {
            0 => format!("builds[{}]", build::FIELDS),
            _ => format!("allBuilds[{}]{{{from},{to}}}", build::FIELDS),
        };
        tree(self.site.job(job, &["api", "json"]), &wanted)
    }

    fn job_url(&self, job: &JobPath) -> Url {
        tree(self.site.job(job, &["api", "json"]), job::TREE)
    }

    fn with_own_url(&self, mut build: Build) -> Build {
        build.url = self.site.rebased(&build.url);
        build
    }

    async fn post_trigger(
        &self,
        job: &JobPath,
        parameters: &BTreeMap<String, String>,
    ) -> Result<(Reply, Triggered), Error> {
        let call = if parameters.is_empty() {
            "build"
        } else {
            "buildWithParameters"
        };
        let mut url = self.site.job(job, &[call]);
        url.query_pairs_mut().append_pair("delay", "0sec");
        let reply = self.post(&url, parameters).await?;
        let triggered = reply.heard(|heard| trigger::read_trigger(heard, job, &self.site.context()))?;
        Ok((reply, triggered))
    }
}
