//! Who we are, and the crumb that Jenkins demands of a POST from anybody without a token.

use std::fmt;

use reqwest::header::{HeaderMap, SET_COOKIE};
use serde::Deserialize;

use super::{Error, job::read_json};

/// Who we are.
#[derive(Clone)]
pub enum Login {
    /// A user's API token: no crumb is needed.
    Token {
        /// The user.
        user: String,
        /// The token.
        token: String,
    },
    /// A user's password: every POST needs a crumb, and the session that it was made for.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Login::Token { .. } => "Token",
            Login::Password { .. } => "Password",
        };
        write!(f, "{kind}({}, …)", self.parts().0)
    }
}

impl Login {
    /// User and secret, for Basic.
    pub(super) fn parts(&self) -> (&str, &str) {
        match self {
            Login::Token { user, token } => (user, token),
            Login::Password { user, password } => (user, password),
        }
    }

    pub(super) fn needs_crumb(&self) -> bool {
        matches!(self, Login::Password { .. })
    }
}

/// A crumb and its session.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Crumb {
    pub(super) field: String,
    pub(super) value: String,
    pub(super) cookie: Option<String>,
}

#[derive(Deserialize)]
struct RawCrumb {
    crumb: String,
    #[serde(rename = "crumbRequestField")]
    field: String,
}

impl Crumb {
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Crumb, Error> {
        let raw: RawCrumb = read_json(body)?;
        Ok(Crumb {
            field: raw.field,
            value: raw.crumb,
            cookie: cookies(headers),
        })
    }
}

/// What was set, as it is to be sent.
fn cookies(headers: &HeaderMap) -> Option<String> {
    let set = headers.get_all(SET_COOKIE).iter();
    let pairs: Vec<&str> = set
        .filter_map(|cookie| cookie.to_str().ok()?.split(';').next())
        .map(str::trim)
        .filter(|pair| pair.contains('='))
        .collect();
    (!pairs.is_empty()).then(|| pairs.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crumb_comes_with_the_cookies_of_its_session() {
        let mut headers = HeaderMap::new();
        headers.append(
            SET_COOKIE,
            "JSESSIONID.1f=node0a; Path=/; HttpOnly".parse().unwrap(),
        );
        headers.append(SET_COOKIE, "sticky=b".parse().unwrap());
        let body = br#"{"_class":"x","crumb":"c0","crumbRequestField":"Jenkins-Crumb"}"#;
        let crumb = Crumb::read(&headers, body).unwrap();
        assert_eq!(
            (crumb.field.as_str(), crumb.value.as_str()),
            ("Jenkins-Crumb", "c0")
        );
        assert_eq!(crumb.cookie.unwrap(), "JSESSIONID.1f=node0a; sticky=b");
    }

    #[test]
    fn secrets_are_not_shown() {
        let login = Login::Token {
            user: "me".to_owned(),
            token: "secret".to_owned(),
        };
        assert_eq!(format!("{login:?}"), "Token(me, …)");
    }
}
