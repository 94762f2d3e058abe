//! Whom to trust instead of the system's certificates.

use reqwest::Certificate;

/// The certificates in `pem`: one at least, for without any nobody would be trusted, and nobody told why.
///
/// # Errors
/// What is wrong with it.
pub fn authorities(pem: &[u8]) -> Result<Vec<Certificate>, String> {
    let found = Certificate::from_pem_bundle(pem).unwrap_or_default();
    if found.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_without_a_certificate_is_refused() {
        for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n"] {
            assert!(authorities(pem.as_bytes()).is_err(), "{pem}");
        }
    }
}
