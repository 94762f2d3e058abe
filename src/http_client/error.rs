//! What went wrong with a request, in the words that help: clients wrap an error in errors that only say that there was one.

use std::error::Error;

/// The innermost cause, such as "connection refused". The outer ones may name an address, and so a secret.
#[must_use]
pub fn cause(error: &dyn Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("sending a request to http://a/?key=5ec7e7")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn innermost_cause_is_told_and_no_address() {
        let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(cause(&Outer(refused())), refused().to_string());
        assert_eq!(
            cause(&refused()),
            "connection refused",
            "and of an error without a cause it is the error"
        );
    }
}
