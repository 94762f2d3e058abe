//! Who Prometheus takes us for: a token, a password, headers such as a tenant's, and whose certificates we trust.
//!
//! Secrets stand in files, which are read for every question, since they may be changed at any time. Invariant: nothing of a
//! secret gets into an error or a log.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::config_file;

/// What goes with every question.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// File of a bearer token.
    pub bearer_token_file: Option<PathBuf>,
    /// File of `user:password`.
    pub basic_auth_file: Option<PathBuf>,
    /// Headers.
    pub headers: Vec<Header>,
    /// File of the authorities that may have signed the server's certificate, in PEM; the machine's if absent.
    pub ca_file: Option<PathBuf>,
}

/// A header that goes with every question; its value is not shown.
#[derive(Clone)]
pub struct Header {
    name: HeaderName,
    value: HeaderValue,
}

/// The headers of one question, and the secrets in them.
pub(super) struct Credentials {
    pub(super) headers: HeaderMap,
    secrets: Vec<String>,
}

impl Access {
    /// Whether anything of it is secret.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.bearer_token_file.is_some() || self.basic_auth_file.is_some() || !self.headers.is_empty()
    }

    /// What goes with a question now.
    pub(super) fn credentials(&self) -> Result<Credentials, String> {
        let mut headers = HeaderMap::new();
        let mut secrets = Vec::new();
        for Header { name, value } in &self.headers {
            secrets.extend(value.to_str().ok().map(str::to_owned));
            headers.append(name, value.clone());
        }
        let authorization = match (&self.bearer_token_file, &self.basic_auth_file) {
            (Some(path), _) => {
                let token = bearer(path)?;
                secrets.push(token.clone());
                Some((path, format!("Bearer {token}")))
            }
            (None, Some(path)) => {
                let (user, password) = basic(path)?;
                let encoded = base64(format!("{user}:{password}").as_bytes());
                secrets.extend([password, encoded.clone()]);
                Some((path, format!("Basic {encoded}")))
            }
            (None, None) => None,
        };
        if let Some((path, text)) = authorization {
            let value = HeaderValue::from_str(&text);
            let mut value = value.map_err(|_| problem(path, "must have printable characters only"))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        secrets.retain(|secret| !secret.is_empty());
        Ok(Credentials { headers, secrets })
    }

    /// The content of the file of authorities now.
    pub(super) fn authorities(&self) -> Result<Option<Vec<u8>>, String> {
        self.ca_file.as_deref().map(read).transpose()
    }
}

impl Credentials {
    /// `text` without the secrets: a server may show what it was sent.
    pub(super) fn redacted(&self, text: &str) -> String {
        let cut = |text: String, secret: &String| text.replace(secret.as_str(), "[redacted]");
        self.secrets.iter().fold(text.to_owned(), cut)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    config_file::bytes(path).map_err(|error| error.to_string())
}

fn text(path: &Path) -> Result<String, String> {
    let text = String::from_utf8(read(path)?).map_err(|_| problem(path, "must be UTF-8"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn bearer(path: &Path) -> Result<String, String> {
    let token = text(path)?;
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(problem(path, "must be one token, without blanks"));
    }
    Ok(token)
}

fn basic(path: &Path) -> Result<(String, String), String> {
    let text = text(path)?;
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() && !text.contains('\n') => {
            Ok((user.to_owned(), password.to_owned()))
        }
        _ => Err(problem(path, "must be one line, USER:PASSWORD")),
    }
}

fn problem(path: &Path, text: &str) -> String {
    format!("{}: {text}", path.display())
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in bytes.chunks(3) {
        let of = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let bits = (of(0) << 16) | (of(1) << 8) | of(2);
        for n in 0..4 {
            let place = (bits >> (18 - 6 * n)) & 63;
            let letter = ALPHABET.get(place as usize).filter(|_| n <= chunk.len() as u32);
            encoded.push(letter.map_or('=', |letter| char::from(*letter)));
        }
    }
    encoded
}

/// A text that is no header.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    /// There is no name, or no colon behind it.
    #[error("must be NAME: VALUE, such as X-Scope-OrgID: team-a")]
    Form,
    /// Credentials have flags of their own.
    #[error(
        "Authorization must not stand in a flag; use --metrics-bearer-token-file or --metrics-basic-auth-file"
    )]
    Authorization,
}

impl FromStr for Header {
    type Err = InvalidHeader;

    fn from_str(text: &str) -> Result<Header, InvalidHeader> {
        let (name, value) = text.split_once(':').ok_or(InvalidHeader::Form)?;
        let name: HeaderName = name.trim().parse().map_err(|_| InvalidHeader::Form)?;
        let value: HeaderValue = value.trim().parse().map_err(|_| InvalidHeader::Form)?;
        if name == header::AUTHORIZATION {
            return Err(InvalidHeader::Authorization);
        }
        if value.is_empty() {
            return Err(InvalidHeader::Form);
        }
        Ok(Header { name, value })
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: …", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn headers_are_parsed_and_their_values_not_shown() {
        let header: Header = "X-Scope-OrgID: s3cret".parse().unwrap();
        assert_eq!(
            (header.name.as_str(), header.value.to_str().unwrap()),
            ("x-scope-orgid", "s3cret")
        );
        assert!(!format!("{header:?}").contains("s3cret"));
        for text in ["s3cret", "s3 cret: x", ": s3cret", "X-S3cret:", "X: s3\ncret"] {
            let error = text.parse::<Header>().unwrap_err();
            assert_eq!(error, InvalidHeader::Form, "{text}");
            assert!(!error.to_string().contains("s3"), "{error}");
        }
        assert_eq!(
            "authorization: Bearer x".parse::<Header>().unwrap_err(),
            InvalidHeader::Authorization
        );
    }
}
