//! Which addresses are fit for a secret.

use std::net::IpAddr;

use reqwest::Url;

/// Whether others can read what goes to `url`.
#[must_use]
pub fn in_the_clear(url: &Url) -> bool {
    let name = url.host_str().unwrap_or_default();
    let here = match name.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    };
    url.scheme() == "http" && !here
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leaves_the_machine_unencrypted_is_in_the_clear() {
        let clear = |text: &str| in_the_clear(&Url::parse(text).unwrap());
        for text in [
            "http://bell.example",
            "http://10.0.0.1:80/x",
            "http://[fd00::1]",
            "http://localhost.example",
        ] {
            assert!(clear(text), "{text}");
        }
        for text in [
            "https://bell.example",
            "http://localhost:8080",
            "http://127.0.0.2",
            "http://[::1]:80",
        ] {
            assert!(!clear(text), "{text}");
        }
    }
}
