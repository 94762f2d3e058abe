//! One request and its answer: credentials, crumbs, bounds, and what keeps an answer from being one.

use super::*;
use crate::http_client::bounded;
pub(super) use crate::http_client::cause;

impl Client {
    /// What is at `url` as JSON; `None` if there is nothing.
    pub(super) async fn fetch(
        &self,
        url: &Url,
        session: &mut Option<String>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let reply = self.send(self.request(Method::GET, url)).await?;
        *session = reply.session().or_else(|| session.take());
        reply.json()
    }

    /// Posts a form. A crumb that is demanded is fetched, and the request repeated, once: it was not carried out.
    pub(super) async fn post(&self, url: &Url, form: &BTreeMap<String, String>) -> Result<Reply, Error> {
        let crumb = match self.known_crumb() {
            None if self.login.needs_crumb() => self.fetch_crumb().await?,
            known => known,
        };
        let reply = self.send(self.form(url, form, crumb)).await?;
        if !reply.heard(trigger::asks_for_crumb) {
            return Ok(reply);
        }
        let crumb = self.fetch_crumb().await?;
        self.send(self.form(url, form, crumb)).await
    }

    fn request(&self, method: Method, url: &Url) -> RequestBuilder {
        let (user, secret) = self.login.parts();
        let request = self.http.request(method, url.clone());
        request
            .basic_auth(user, Some(secret))
            .header(ACCEPT_LANGUAGE, "en")
    }

    fn form(&self, url: &Url, form: &BTreeMap<String, String>, crumb: Option<Crumb>) -> RequestBuilder {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = self.request(Method::POST, url).body(body);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let Some(crumb) = crumb else {
            return request;
        };
        let request = request.header(crumb.field, crumb.value);
        match crumb.cookie {
            Some(cookie) => request.header(COOKIE, cookie),
            None => request,
        }
    }

    fn known_crumb(&self) -> Option<Crumb> {
        self.crumb.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A new crumb with a new session; none if Jenkins wants none.
    async fn fetch_crumb(&self) -> Result<Option<Crumb>, Error> {
        let url = self.site.at(["crumbIssuer", "api", "json"]);
        let reply = self.send(self.request(Method::GET, &url)).await?;
        let crumb = match reply.json()? {
            Some(body) => Some(Crumb::read(&reply.headers, &body)?),
            None => None,
        };
        self.crumb
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&crumb);
        Ok(crumb)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Reply, Error> {
        let response = request.send().await.map_err(|error| broken(&error))?;
        let (code, headers) = (response.status().as_u16(), response.headers().clone());
        let body = bounded::body(response, MAX_ANSWER).await;
        let body = body.map_err(|error| match error {
            bounded::Error::TooLong => Error::TooLarge { limit: MAX_ANSWER },
            bounded::Error::Broken(error) => broken(&error),
        })?;
        Ok(Reply { code, headers, body })
    }
}

/// What JSON is called; Hudson called it a script.
const JSON: [&str; 2] = ["application/json", "application/javascript"];

impl Reply {
    pub(super) fn heard<T>(&self, read: impl FnOnce(&Heard<'_>) -> T) -> T {
        read(&Heard {
            code: self.code,
            location: self.header(LOCATION.as_str()),
            text: &String::from_utf8_lossy(&self.body),
        })
    }

    pub(super) fn session(&self) -> Option<String> {
        self.header(SESSION).map(shortened)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, if it is JSON; `None` if there is nothing.
    fn json(&self) -> Result<Option<Vec<u8>>, Error> {
        if let Some(error) = self.heard(trigger::trouble) {
            return Err(error);
        }
        let text = || shortened(&String::from_utf8_lossy(&self.body));
        let kind = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        match self.code {
            200 if JSON.iter().any(|json| kind.starts_with(json)) => Ok(Some(self.body.clone())),
            200 if String::from_utf8_lossy(&self.body).contains("j_spring_security_check") => {
                Err(Error::LoginPage(text()))
            }
            200 => Err(Error::Html(text())),
            300..=399 => Err(Error::Redirected(shortened(
                self.header(LOCATION.as_str()).unwrap_or_default(),
            ))),
            403 => Err(Error::Forbidden { text: text() }),
            404 => Ok(None),
            code => Err(Error::Status { code, text: text() }),
        }
    }
}

pub(super) fn tree(mut url: Url, wanted: &str) -> Url {
    url.query_pairs_mut().append_pair("tree", wanted);
    url
}

fn broken(error: &reqwest::Error) -> Error {
    if error.is_timeout() {
        Error::Timeout
    } else {
        Error::Unreachable(shortened(&cause(error)))
    }
}
