//! Where the hook API is: an address that is fit for a token.

use reqwest::Url;

use crate::cli::exit::Failure;

/// The address in `text`. It is not shown where it is none: it may hold a password.
pub(super) fn parse(text: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text).ok();
    let url = url.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    let url =
        url.ok_or_else(|| Failure::input("--hook, or BELLWETHER_URL: write https://HOST[:PORT][/PATH]"))?;
    if !url.username().is_empty() || url.password().is_some() {
        let text = "--hook, or BELLWETHER_URL: an address must not hold a user or a password; give a token: --token-file";
        return Err(Failure::input(text));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

    #[test]
    fn address_with_credentials_or_of_another_kind_is_refused_without_being_shown() {
        for text in [
            "https://mia:5ec7e7@bell.example",
            "https://5ec7e7@bell.example",
            "https://:5ec7e7@bell.example",
            "ftp://mia:5ec7e7@bell.example",
            "mia:5ec7e7@bell.example",
            "bell.example",
            "",
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(Exit::of(&error), Exit::BadInput, "{text}");
            let told = error.to_string();
            assert!(
                told.contains("--hook") && !told.contains("5ec7e7"),
                "{text}: {told}"
            );
        }
        assert_eq!(parse("https://bell.example/a@b").unwrap().path(), "/a@b");
    }
}
