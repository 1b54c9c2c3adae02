//! The server behind, over HTTP or HTTPS.

use cmp_http::{Client, Limits, Tls, TlsError, Url};
use std::{collections::BTreeMap, sync::Arc};

use super::{MAX_RESPONSE_BYTES, UpstreamError};

/// Where a path ends that takes a profile.
const WELL_KNOWN: &str = "/.well-known/cmp";

/// A CMP server that is asked over HTTP; profiles that this RA knows may have paths of their own there.
#[derive(Clone, Debug)]
pub struct HttpUpstream {
    client: Arc<Client>,
    by_profile: BTreeMap<String, Arc<Client>>,
}

impl HttpUpstream {
    /// The server at `url`. If that ends in `/.well-known/cmp`, each of these profiles has its path below it
    /// (RFC 9811 §3.3).
    ///
    /// # Errors
    /// Any [`TlsError`].
    pub fn new<'a>(
        url: Url,
        tls: Option<Tls>,
        limits: Limits,
        profiles: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, TlsError> {
        let limits = Limits {
            max_response_bytes: MAX_RESPONSE_BYTES,
            ..limits
        };
        let client = |url: Url| Client::new(url, tls.clone(), limits).map(Arc::new);
        let mut by_profile = BTreeMap::new();
        let text = url.to_string();
        if text.ends_with(WELL_KNOWN) {
            for profile in profiles {
                if let Ok(url) = format!("{text}/p/{profile}").parse() {
                    by_profile.insert(profile.to_owned(), client(url)?);
                }
            }
        }
        Ok(Self {
            client: client(url)?,
            by_profile,
        })
    }

    /// Whether profiles have paths there.
    pub fn has_profile_paths(&self) -> bool {
        !self.by_profile.is_empty()
    }

    /// Posts a message.
    ///
    /// # Errors
    /// [`UpstreamError::Http`].
    pub async fn ask(&self, profile: Option<&str>, message: &[u8]) -> Result<Vec<u8>, UpstreamError> {
        let own = profile.and_then(|profile| self.by_profile.get(profile));
        Ok(own.unwrap_or(&self.client).post(message).await?)
    }
}
