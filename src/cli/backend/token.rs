//! The bearer token of the hook API, which may live shorter than a promotion.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};

use jsonwebtoken::dangerous::insecure_decode_claims;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use crate::clock::Clock;

/// How long a token counts that does not say when it ends.
const UNKNOWN_LIFE: Duration = Duration::from_secs(30);
/// How long the command may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long before its end a token is exchanged, at most: a request takes a while.
const BEFORE_END: i64 = 30;

/// Where the token comes from.
enum Source {
    /// A file, which is read again for every request: tokens of pods are exchanged within the hour.
    File(PathBuf),
    /// What a command prints.
    Command(String),
    /// The environment.
    Text(String),
}

/// A bearer token.
pub(super) struct Token {
    source: Source,
    /// What the command printed, and until when that counts.
    printed: Mutex<Option<(String, Duration)>>,
}

impl Token {
    pub(super) fn file(path: PathBuf) -> Token {
        Token::of(Source::File(path))
    }

    pub(super) fn command(command: String) -> Token {
        Token::of(Source::Command(command))
    }

    pub(super) fn text(text: String) -> Token {
        Token::of(Source::Text(text))
    }

    fn of(source: Source) -> Token {
        Token {
            source,
            printed: Mutex::default(),
        }
    }

    /// It is refused: the next one may be another.
    pub(super) fn renew(&self) {
        *self.lock() = None;
    }

    /// The header as of now, or why there is none. What cannot be a header is not shown: it may be a token all the same.
    pub(super) fn header(&self, clock: &dyn Clock) -> Result<HeaderValue, String> {
        let (text, named) = match &self.source {
            Source::File(path) => {
                let named = format!("--token-file {}", path.display());
                let text = std::fs::read_to_string(path).map_err(|error| format!("{named}: {error}"))?;
                (text, named)
            }
            Source::Command(command) => {
                let named = "--token-command".to_owned();
                let text = self
                    .printed(command, clock)
                    .map_err(|error| format!("{named}: {error}"))?;
                (text, named)
            }
            Source::Text(text) => (text.clone(), "the token".to_owned()),
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(format!("{named}: it is empty"));
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {text}"))
            .map_err(|_| format!("{named}: it has signs that no token has"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// What the command prints, or printed a moment ago.
    fn printed(&self, command: &str, clock: &dyn Clock) -> Result<String, String> {
        let mut printed = self.lock();
        let now = clock.monotonic();
        if let Some((text, until)) = printed.as_ref()
            && now < *until
        {
            return Ok(text.clone());
        }
        let ran = run(command)?;
        if !ran.status.success() {
            return Err(format!("it ends with {}", ran.status));
        }
        let text = String::from_utf8(ran.stdout).map_err(|_| "it prints no text".to_owned())?;
        let life = life(text.trim(), clock.now().timestamp()).unwrap_or(UNKNOWN_LIFE);
        *printed = Some((text.clone(), now + life));
        Ok(text)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(String, Duration)>> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a command, for so long as a request may wait for a token.
fn run(command: &str) -> Result<Output, String> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command);
    shell
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let child = shell.spawn().map_err(|error| error.to_string())?;
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    match end.recv_timeout(PATIENCE) {
        Ok(output) => output.map_err(|error| error.to_string()),
        Err(_) => Err(format!("it takes longer than {} s", PATIENCE.as_secs())),
    }
}

/// How long a JSON Web Token may be used, if it says when it ends: until shortly before that.
fn life(token: &str, now: i64) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let claims: Claims = insecure_decode_claims(token).ok()?;
    let left = claims.exp as i64 - now;
    let usable = left - BEFORE_END.min(left / 4);
    Some(Duration::from_secs(usable.try_into().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    use super::*;
    use crate::clock::SystemClock;

    fn jwt(exp: i64) -> String {
        jsonwebtoken::encode(
            &Header::default(),
            &json!({"exp": exp}),
            &EncodingKey::from_secret(b"k"),
        )
        .unwrap()
    }

    #[test]
    fn token_is_exchanged_before_it_ends() {
        let seconds = |exp| life(&jwt(exp), 1000).map(|life| life.as_secs());
        assert_eq!(seconds(4600), Some(3570));
        assert_eq!(seconds(1060), Some(45));
        assert_eq!(seconds(900), Some(0));
        assert_eq!(life("opaque", 1000), None);
    }

    #[test]
    fn command_is_run_again_when_its_token_ended_or_is_refused() {
        let count = std::env::temp_dir().join(format!("bellwether-token-command-{}", std::process::id()));
        let _ = std::fs::remove_file(&count);
        let command = |token: &str| format!("echo x >> {0}; echo {token}", count.display());
        let runs = || std::fs::read_to_string(&count).unwrap().lines().count();
        let clock = SystemClock::default();
        let lasting = Token::command(command(&jwt(clock.now().timestamp() + 3600)));
        for _ in 0..3 {
            lasting.header(&clock).unwrap();
        }
        assert_eq!(runs(), 1);
        lasting.renew();
        lasting.header(&clock).unwrap();
        assert_eq!(runs(), 2);
        let ended = Token::command(command(&jwt(clock.now().timestamp() - 10)));
        for _ in 0..3 {
            ended.header(&clock).unwrap();
        }
        assert_eq!(runs(), 5);
        std::fs::remove_file(&count).unwrap();
        for (command, why) in [
            ("exit 3", "exit status: 3"),
            ("true", "empty"),
            ("printf 'a\\nb'", "signs"),
        ] {
            let error = Token::command(command.to_owned()).header(&clock).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
