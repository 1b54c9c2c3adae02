//! Passwords of stations: stored as PBKDF2, checked a few at a time, and not over and over.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    num::NonZeroU32,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac, pbkdf2};
use base64ct::{Base64Unpadded, Encoding as _};
use serde::{Deserialize, Deserializer, de::Error as _};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::stations::parse_hex;

/// Rounds of PBKDF2 that a verifier may ask for.
pub const ITERATIONS: std::ops::RangeInclusive<u32> = 1_000..=1_000_000;

/// Checks that may wait for their turn; beyond it stations are told to come back.
const MAX_WAITING: usize = 256;
/// Stations, each with an address, whose wrong passwords are counted at a time.
const MAX_COUNTED: usize = 10_000;
/// Passwords that were right and are known again without PBKDF2.
const MAX_KNOWN: usize = 100_000;
const MINUTE: Duration = Duration::from_secs(60);

const HASH_BYTES: usize = 32;
const SALT_BYTES: usize = 16;

/// What is kept of a password: `$pbkdf2-sha256$i=ITERATIONS,l=32$SALT$HASH` (the PHC string format).
#[derive(Clone)]
pub struct PasswordVerifier {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    hash: [u8; HASH_BYTES],
}

/// A text that is no verifier. It does not say which: it may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not what `csms-bridge hash-password` prints ($pbkdf2-sha256$i=…, 1,000 to 1,000,000 iterations)")]
pub struct InvalidVerifier;

impl PasswordVerifier {
    /// Makes one with a random salt. `iterations` is cropped to [`ITERATIONS`].
    ///
    /// # Errors
    /// Where the system has no random numbers.
    pub fn new(password: &[u8], iterations: u32) -> Result<Self, getrandom::Error> {
        let iterations = iterations.clamp(*ITERATIONS.start(), *ITERATIONS.end());
        let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        let mut salt = vec![0; SALT_BYTES];
        getrandom::fill(&mut salt)?;
        let mut hash = [0; HASH_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password, &mut hash);
        Ok(Self {
            iterations,
            salt,
            hash,
        })
    }

    /// Whether this is the password. Takes as long as its iterations want, whatever the password.
    fn verify(&self, password: &[u8]) -> bool {
        let Self {
            iterations,
            salt,
            hash,
        } = self;
        pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, *iterations, salt, password, hash).is_ok()
    }
}

impl fmt::Display for PasswordVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, hash) = (
            Base64Unpadded::encode_string(&self.salt),
            Base64Unpadded::encode_string(&self.hash),
        );
        write!(
            f,
            "$pbkdf2-sha256$i={},l={HASH_BYTES}${salt}${hash}",
            self.iterations
        )
    }
}

impl fmt::Debug for PasswordVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordVerifier").finish_non_exhaustive()
    }
}

impl FromStr for PasswordVerifier {
    type Err = InvalidVerifier;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('$');
        let (Some(""), Some("pbkdf2-sha256"), Some(parameters), Some(salt), Some(hash), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(InvalidVerifier);
        };
        let iterations = parameters.strip_prefix("i=").ok_or(InvalidVerifier)?;
        let iterations = iterations.strip_suffix(",l=32").unwrap_or(iterations);
        let iterations: u32 = iterations.parse().map_err(|_| InvalidVerifier)?;
        let iterations = Some(iterations).filter(|iterations| ITERATIONS.contains(iterations));
        let salt = Base64Unpadded::decode_vec(salt).map_err(|_| InvalidVerifier)?;
        if !(8..=64).contains(&salt.len()) {
            return Err(InvalidVerifier);
        }
        let hash = Base64Unpadded::decode_vec(hash).map_err(|_| InvalidVerifier)?;
        Ok(Self {
            iterations: iterations.and_then(NonZeroU32::new).ok_or(InvalidVerifier)?,
            salt,
            hash: hash.try_into().map_err(|_| InvalidVerifier)?,
        })
    }
}

impl<'de> Deserialize<'de> for PasswordVerifier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What stands here by mistake may be the password: no error repeats it.
        let text = String::deserialize(deserializer).map_err(|_| D::Error::custom(InvalidVerifier))?;
        text.parse().map_err(D::Error::custom)
    }
}

/// The AuthorizationKey of OCPP 1.6: 16 to 20 bytes, configured as hexadecimal and sent in binary (1.6 security whitepaper,
/// section 4).
#[must_use]
pub fn parse_authorization_key(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = text.len().is_multiple_of(2).then(|| parse_hex(text))??;
    (16..=20).contains(&bytes.len()).then(|| Zeroizing::new(bytes))
}

/// What came of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    /// Too many wrong ones for this station from this address: not looked at.
    Throttled,
    /// Too many wait for their turn: not looked at.
    Busy,
}

/// Checks passwords, so that a flood of wrong ones costs little.
pub(super) struct PasswordChecks {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    max_wrong: u32,
    /// Of this process; what was right is remembered under it.
    key: hmac::Key,
    known: Mutex<HashMap<String, hmac::Tag>>,
    wrong: Mutex<HashMap<(IpAddr, String), Wrong>>,
}

#[derive(Clone, Copy)]
struct Wrong {
    since: Instant,
    times: u32,
}

impl PasswordChecks {
    /// `running` at a time, and `max_wrong` wrong ones in a minute for a station from an address.
    pub(super) fn new(running: usize, max_wrong: u32) -> Result<Self, getrandom::Error> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key)?;
        Ok(Self {
            running: Arc::new(Semaphore::new(running.min(Semaphore::MAX_PERMITS))),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            max_wrong,
            key: hmac::Key::new(hmac::HMAC_SHA256, &*key),
            known: Mutex::default(),
            wrong: Mutex::default(),
        })
    }

    /// Checks a password of a station that connects from `address`.
    pub(super) async fn check(
        &self,
        address: IpAddr,
        identity: &str,
        verifier: &PasswordVerifier,
        password: &[u8],
    ) -> Verdict {
        let tag = self.tag(verifier, password);
        if let Some(known) = lock(&self.known).get(identity)
            && verify_slices_are_equal(known.as_ref(), tag.as_ref()).is_ok()
        {
            return Verdict::Right;
        }
        let who = (address, identity.to_owned());
        if self.is_throttled(&who) {
            return Verdict::Throttled;
        }
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Verdict::Busy;
        };
        let Ok(running) = Arc::clone(&self.running).acquire_owned().await else {
            return Verdict::Busy;
        };
        // Those that waited in front may have been wrong ones of the same station.
        if self.is_throttled(&who) {
            return Verdict::Throttled;
        }
        let (verifier, password) = (verifier.clone(), Zeroizing::new(password.to_vec()));
        let check = move || {
            // Held until it is done, even when nobody waits for it any more.
            let _running = running;
            verifier.verify(&password)
        };
        if matches!(tokio::task::spawn_blocking(check).await, Ok(true)) {
            lock(&self.wrong).remove(&who);
            self.remember(identity, tag);
            Verdict::Right
        } else {
            self.count(who);
            Verdict::Wrong
        }
    }

    /// Of verifier and password: a changed verifier makes it another.
    fn tag(&self, verifier: &PasswordVerifier, password: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&verifier.hash);
        context.update(password);
        context.sign()
    }

    fn remember(&self, identity: &str, tag: hmac::Tag) {
        let mut known = lock(&self.known);
        if known.len() < MAX_KNOWN || known.contains_key(identity) {
            known.insert(identity.into(), tag);
        }
    }

    fn is_throttled(&self, who: &(IpAddr, String)) -> bool {
        let wrong = lock(&self.wrong);
        wrong
            .get(who)
            .is_some_and(|wrong| wrong.times >= self.max_wrong && wrong.since.elapsed() < MINUTE)
    }

    fn count(&self, who: (IpAddr, String)) {
        let mut all = lock(&self.wrong);
        if all.len() >= MAX_COUNTED && !all.contains_key(&who) {
            all.retain(|_, wrong| wrong.since.elapsed() < MINUTE);
            if all.len() >= MAX_COUNTED {
                return;
            }
        }
        let now = Instant::now();
        let wrong = all.entry(who).or_insert(Wrong { since: now, times: 0 });
        if wrong.since.elapsed() >= MINUTE {
            *wrong = Wrong { since: now, times: 0 };
        }
        wrong.times += 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_verifier_survives_being_written_and_shows_no_secret() {
        let made = PasswordVerifier::new(b"\x00\xffbinary", 1_000).unwrap();
        let text = made.to_string();
        let read: PasswordVerifier = text.parse().unwrap();
        assert!(read.verify(b"\x00\xffbinary") && !read.verify(b"\x00\xffbinarz") && !read.verify(b""));
        assert_ne!(
            text,
            PasswordVerifier::new(b"\x00\xffbinary", 1_000)
                .unwrap()
                .to_string(),
            "each has its own salt"
        );
        assert_eq!(format!("{read:?}"), "PasswordVerifier { .. }");
    }

    #[test]
    fn a_verifier_of_another_tool_is_read() {
        // python3: hashlib.pbkdf2_hmac("sha256", b"secret", bytes(range(16)), 1000)
        let text = "$pbkdf2-sha256$i=1000$AAECAwQFBgcICQoLDA0ODw$Tvsru20utY6o3q7VRBeuL9h/1QqKhWhwk2PaYNRWBgY";
        assert!(text.parse::<PasswordVerifier>().unwrap().verify(b"secret"));
    }

    #[test]
    fn what_is_no_verifier_is_refused_without_repeating_it() {
        let good = PasswordVerifier::new(b"x", 1_000).unwrap().to_string();
        for text in [
            "my-password-in-clear",
            "",
            &good.replace("i=1000", "i=999"),
            &good.replace("i=1000", "i=1000001"),
            &good.replace("sha256", "sha1"),
            &good[..good.len() - 4],
            &format!("{good}$"),
        ] {
            assert_eq!(text.parse::<PasswordVerifier>().unwrap_err(), InvalidVerifier);
        }
        #[derive(Debug, Deserialize)]
        #[expect(dead_code)]
        struct Holds {
            password: PasswordVerifier,
        }
        for text in [
            "password = \"hunter2\"",
            "password = 4711",
            "password = ['hunter2']",
        ] {
            let error = toml::from_str::<Holds>(text).unwrap_err();
            let said = error.message();
            assert!(said.contains("hash-password"), "{said}");
            assert!(!said.contains("hunter2") && !said.contains("4711"), "{said}");
        }
    }

    #[tokio::test]
    async fn a_password_that_was_right_is_known_again_until_the_verifier_changes() {
        let checks = PasswordChecks::new(1, 5).unwrap();
        let verifier = PasswordVerifier::new(b"right", 1_000).unwrap();
        assert_eq!(
            checks.check(address(1), "CS1", &verifier, b"right").await,
            Verdict::Right
        );
        // No turn is left: only what is known gets through.
        checks.running.close();
        assert_eq!(
            checks.check(address(2), "CS1", &verifier, b"right").await,
            Verdict::Right
        );
        assert_eq!(
            checks.check(address(2), "CS1", &verifier, b"wrong").await,
            Verdict::Busy
        );
        assert_eq!(
            checks.check(address(2), "CS2", &verifier, b"right").await,
            Verdict::Busy
        );
        let changed = PasswordVerifier::new(b"right", 1_000).unwrap();
        assert_eq!(
            checks.check(address(2), "CS1", &changed, b"right").await,
            Verdict::Busy
        );
    }

    #[tokio::test]
    async fn wrong_passwords_of_one_address_throttle_that_station_there_and_no_other() {
        let checks = PasswordChecks::new(1, 3).unwrap();
        let verifier = PasswordVerifier::new(b"right", 1_000).unwrap();
        for _ in 0..3 {
            assert_eq!(
                checks.check(address(1), "CS1", &verifier, b"wrong").await,
                Verdict::Wrong
            );
        }
        for password in [&b"wrong"[..], b"right"] {
            assert_eq!(
                checks.check(address(1), "CS1", &verifier, password).await,
                Verdict::Throttled
            );
        }
        assert_eq!(
            checks.check(address(1), "CS2", &verifier, b"right").await,
            Verdict::Right
        );
        assert_eq!(
            checks.check(address(2), "CS1", &verifier, b"right").await,
            Verdict::Right
        );
    }

    #[tokio::test]
    async fn a_flood_of_wrong_passwords_fills_the_queue_and_leaves_known_ones_alone() {
        let checks = Arc::new(PasswordChecks::new(1, u32::MAX).unwrap());
        let verifier = PasswordVerifier::new(b"right", 1_000).unwrap();
        assert_eq!(
            checks.check(address(1), "CS1", &verifier, b"right").await,
            Verdict::Right
        );
        let _turn = checks.running.acquire().await.unwrap();
        let flood: Vec<_> = (0..MAX_WAITING)
            .map(|_| {
                let (checks, verifier) = (Arc::clone(&checks), verifier.clone());
                tokio::spawn(async move { checks.check(address(9), "CS9", &verifier, b"wrong").await })
            })
            .collect();
        while checks.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            checks.check(address(9), "CS9", &verifier, b"wrong").await,
            Verdict::Busy
        );
        assert_eq!(
            checks.check(address(1), "CS1", &verifier, b"right").await,
            Verdict::Right
        );
        flood.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
