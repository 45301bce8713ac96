//! Passwords: their rules, and their hashing, which is dear on purpose: so only a few are
//! hashed at once, some wait, and who comes then is asked to come again. The one rule: a
//! password leaves here as a hash alone, and no `Debug` shows it.

use std::{fmt, sync::Arc, thread};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version,
    password_hash::phc::PasswordHash,
};
use tokio::sync::Semaphore;

use crate::{Error, email::Email, form::Fault, secret::random};

/// The least that OWASP's Password Storage Cheat Sheet names for Argon2id: 19 MiB, twice.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// NIST SP 800-63B asks for 8; with no second factor there are a few more.
const LENGTH_MIN: usize = 10;
/// Room for a sentence; what is longer only keeps the hasher busy.
const BYTES_MAX: usize = 256;

/// Who waits for a hash, per one that is being made: half a second's worth.
const WAITING_PER_HASH: usize = 32;

/// A password as it was typed.
#[derive(Clone)]
pub(crate) struct Password(String);

impl Password {
    /// One that somebody chooses.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(crate) fn choose(text: &str, email: Option<&Email>) -> Result<Self, Fault> {
        if text.chars().count() < LENGTH_MIN {
            return Err(Fault("A password has at least 10 characters."));
        }
        if text.len() > BYTES_MAX {
            return Err(Fault("A password has at most 256 bytes."));
        }
        let lower = text.to_lowercase();
        let first = lower.chars().next();
        let is_email = email.is_some_and(|email| lower == email.key());
        if is_email || lower.chars().all(|char| Some(char) == first) || is_common(&lower) {
            return Err(Fault(
                "That is among the first to be guessed: choose another.",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// One that somebody shows; what can be nobody's is none.
    #[must_use]
    pub(crate) fn typed(text: &str) -> Option<Self> {
        (!text.is_empty() && text.len() <= BYTES_MAX).then(|| Self(text.to_owned()))
    }
}

/// Of those that leaked most often, and are long enough for the other rule.
fn is_common(lower: &str) -> bool {
    const COMMON: [&str; 12] = [
        "0123456789",
        "1234567890",
        "12345678910",
        "123456789a",
        "1q2w3e4r5t",
        "1qaz2wsx3edc",
        "livestation",
        "password12",
        "password123",
        "password1234",
        "qwertyuiop",
        "qwerty12345",
    ];
    COMMON.contains(&lower)
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// Hashes as many at once as there are cores, and lets some wait.
#[derive(Clone)]
pub(crate) struct Hasher(Arc<Inner>);

struct Inner {
    argon2: Argon2<'static>,
    hashing: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// What a password is compared with where there is no account, so that both take as long.
    nobody: String,
}

impl Hasher {
    pub(crate) fn new() -> Result<Self, Error> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| Error::Hash)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody = hash(&argon2, &hex::encode(random::<16>()?))?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self(Arc::new(Inner {
            argon2,
            hashing: Arc::new(Semaphore::new(cores)),
            waiting: Arc::new(Semaphore::new(cores * WAITING_PER_HASH)),
            nobody,
        })))
    }

    /// A PHC string.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Hash`], [`Error::Random`].
    pub(crate) async fn hash(&self, password: Password) -> Result<String, Error> {
        self.run(move |inner| hash(&inner.argon2, &password.0))
            .await
    }

    /// Whether it is the password of this hash; of no hash none is, and takes as long.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Hash`].
    pub(crate) async fn verify(
        &self,
        password: Password,
        hash: Option<String>,
    ) -> Result<bool, Error> {
        self.run(move |inner| {
            let known = hash.as_ref().unwrap_or(&inner.nobody);
            let known_hash = PasswordHash::new(known).map_err(|_| Error::Hash)?;
            let verified = inner
                .argon2
                .verify_password(password.0.as_bytes(), &known_hash);
            Ok(verified.is_ok() && hash.is_some())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = self.0.clone();
        let waiting = inner.waiting.clone();
        let place = waiting.try_acquire_owned().map_err(|_| Error::Busy)?;
        let turn = inner.hashing.clone().acquire_owned().await;
        let turn = turn.map_err(|_| Error::Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            // Its turn lasts as long as the work, also when nobody waits for it any more.
            let _held = (place, turn);
            work(&inner)
        })
        .await;
        done.map_err(|_| Error::Hash)?
    }
}

fn hash(argon2: &Argon2<'static>, password: &str) -> Result<String, Error> {
    let salt = random::<16>()?;
    let hash = argon2.hash_password_with_salt(password.as_bytes(), &salt);
    Ok(hash.map_err(|_| Error::Hash)?.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn typed(text: &str) -> Password {
        Password::typed(text).expect("a password")
    }

    #[tokio::test]
    async fn a_hash_knows_its_password_alone() -> anyhow::Result<()> {
        let hasher = Hasher::new()?;
        let hash = hasher.hash(typed("correct horse")).await?;
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert_ne!(hash, hasher.hash(typed("correct horse")).await?, "salted");
        assert!(
            hasher
                .verify(typed("correct horse"), Some(hash.clone()))
                .await?
        );
        assert!(!hasher.verify(typed("correct hors"), Some(hash)).await?);
        assert!(!hasher.verify(typed("correct horse"), None).await?);
        Ok(())
    }

    #[tokio::test]
    async fn nobodys_password_takes_as_long_as_somebodys() -> anyhow::Result<()> {
        let hasher = Hasher::new()?;
        let hash = Some(hasher.hash(typed("correct horse")).await?);
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..9 {
            for (times, hash) in times.iter_mut().zip([hash.clone(), None]) {
                let began = Instant::now();
                hasher.verify(typed("another horse"), hash).await?;
                times.push(began.elapsed().as_secs_f64());
            }
        }
        times
            .iter_mut()
            .for_each(|times| times.sort_by(f64::total_cmp));
        let ratio = times[0][4] / times[1][4];
        assert!((0.5..2.0).contains(&ratio), "{ratio}");
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_crowd_is_asked_to_come_again() -> anyhow::Result<()> {
        let hasher = Hasher::new()?;
        let crowd = (0..1000).map(|_| hasher.verify(typed("correct horse"), None));
        let answers = futures_util::future::join_all(crowd).await;
        let busy = answers.iter().filter(|one| matches!(one, Err(Error::Busy)));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        assert!(busy.count() + 2 * cores * WAITING_PER_HASH >= 1000);
        assert!(hasher.verify(typed("correct horse"), None).await.is_ok());
        Ok(())
    }

    #[test]
    fn rules() {
        let email = Email::parse("ann@mail.example").ok();
        let choose = |text: &str| Password::choose(text, email.as_ref());
        assert!(choose("correct horse").is_ok());
        assert!(choose("größe zwölf").is_ok());
        for bad in [
            "",
            "short",
            "aaaaaaaaaaaa",
            "Password123",
            "Ann@mail.example",
        ] {
            assert!(choose(bad).is_err(), "{bad}");
        }
        assert!(choose(&"ab".repeat(129)).is_err());
        assert!(Password::typed(&"ab".repeat(129)).is_none());
    }
}
