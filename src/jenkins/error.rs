//! What keeps Jenkins from answering. None of it says that a build failed.

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be used.
    #[error("cannot be used: {0}")]
    Setup(String),
    /// Nobody listens, or the connection broke.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// Jenkins, or a proxy before it, is in no state to answer: 429 and 5xx.
    #[error("answers {code}: {text}")]
    Server {
        /// HTTP status.
        code: u16,
        /// Beginning of the answer.
        text: String,
    },
    /// The user or the token is wrong: 401.
    #[error("user or token is refused")]
    Unauthorized,
    /// The user may not do this: 403.
    #[error("forbidden: {text}")]
    Forbidden {
        /// Beginning of the answer.
        text: String,
    },
    /// A crumb was demanded again after a fresh one was given.
    #[error("no crumb is accepted")]
    Crumb,
    /// A page for people to log in, where an answer was expected.
    #[error("sends to a login page: {0}")]
    LoginPage(String),
    /// A page for people, where JSON was expected.
    #[error("answers with a page instead of JSON: {0}")]
    Html(String),
    /// Somewhere else, where nobody follows.
    #[error("sends to {0}")]
    Redirected(String),
    /// Another status than those that are known.
    #[error("answers {code}, which is not known here: {text}")]
    Status {
        /// HTTP status.
        code: u16,
        /// Beginning of the answer.
        text: String,
    },
    /// An answer that cannot be read.
    #[error("cannot be understood: {0}")]
    Malformed(String),
    /// More bytes than anybody wants to hold.
    #[error("answers with more than {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
}

impl Error {
    /// A word for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Setup(_) => "Setup",
            Error::Unreachable(_) => "Unreachable",
            Error::Timeout => "Timeout",
            Error::Server { .. } => "Server",
            Error::Unauthorized => "Unauthorized",
            Error::Forbidden { .. } => "Forbidden",
            Error::Crumb => "Crumb",
            Error::LoginPage(_) => "LoginPage",
            Error::Html(_) => "Html",
            Error::Redirected(_) => "Redirected",
            Error::Status { .. } => "Status",
            Error::Malformed(_) => "Malformed",
            Error::TooLarge { .. } => "TooLarge",
        }
    }

    /// Whether it goes away by itself; otherwise somebody has to set something right.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(
            self,
            Error::Unreachable(_) | Error::Timeout | Error::Server { .. }
        )
    }
}

const MAX_TEXT: usize = 200;

/// One line of bounded length, fit for a status field; of a page only its text.
pub(super) fn shortened(text: &str) -> String {
    let mut plain = String::new();
    let mut in_tag = false;
    for c in text.chars().take(20 * MAX_TEXT) {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                plain.push(' ');
            }
            _ if !in_tag => plain.push(c),
            _ => {}
        }
    }
    let line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_page_its_text_is_shown_on_one_line() {
        let page = "<html><body>\n<h1>Jenkins is</h1>getting ready\n</body></html>";
        assert_eq!(shortened(page), "Jenkins is getting ready");
        assert_eq!(shortened(&"é".repeat(1000)).chars().count(), MAX_TEXT);
    }

    #[test]
    fn only_what_passes_by_itself_passes() {
        assert!(Error::Timeout.passes());
        assert!(
            Error::Server {
                code: 503,
                text: String::new()
            }
            .passes()
        );
        assert!(!Error::Unauthorized.passes());
        assert!(!Error::LoginPage(String::new()).passes());
    }
}
