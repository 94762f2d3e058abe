//! Bodies of answers up to a limit: no peer makes us keep whatever it likes to send.

/// Why there is no body.
#[derive(Debug)]
pub enum Error {
    /// It is longer than the limit.
    TooLong,
    /// It broke off.
    Broken(reqwest::Error),
}

/// The body of `response`, if it has at most `limit` bytes.
///
/// # Errors
/// If it is longer, or breaks off.
pub async fn body(mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Error::Broken)? {
        if body.len() + chunk.len() > limit {
            return Err(Error::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn body_of_a_byte_too_many_is_none() {
        let answer = || reqwest::Response::from(http::Response::new("x".repeat(100)));
        assert_eq!(body(answer(), 100).await.unwrap().len(), 100);
        assert!(matches!(body(answer(), 99).await, Err(Error::TooLong)));
    }
}
