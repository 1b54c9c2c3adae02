//! What the types of a configuration do not check.

use cmp_binding::{DoOperation, csms};

use super::{ClientAuth, Config, ConfigError, DEFAULT_LISTENER, Mode, error::range, listener};

impl Config {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// All that is wrong and that the types do not show.
    #[must_use]
    pub fn problems(&self) -> Vec<ConfigError> {
        let mut found = Vec::new();
        let mut note = |result: Result<(), ConfigError>| found.extend(result.err());
        if self.routes.is_empty() {
            note(Err(ConfigError::NoRoute));
        }
        for (name, route) in &self.routes {
            note(route.check(name.as_str()));
        }
        note(self.store.check());
        note(self.check_listeners());
        if self.mode == Mode::Proxy {
            note(self.proxy.check());
        }
        note(self.admin.check());
        note(self.check_sidecar());
        note(self.check_pending_do());
        note(range(
            "drain_notice_s",
            self.drain_notice_s,
            0..=3_600,
            "0 to 3,600",
        ));
        let unit = self.unit_bytes as u64;
        note(range(
            "unit_bytes",
            unit,
            512..=self.max_frame_bytes as u64,
            "512 to max_frame_bytes",
        ));
        note(range(
            "max_exchanges",
            self.max_exchanges as u64,
            1..=csms::MOST_EXCHANGES as u64,
            "1 to 8",
        ));
        // The length of the string, as OCPP limits it.
        note(range(
            "characters of vendor_id",
            self.vendor_id.chars().count() as u64,
            1..=ocpp_rpc::data_transfer::VENDOR_ID_MAX_CHARS as u64,
            "1 to 255",
        ));
        note(range("retention_h", self.retention_h, 1..=8_760, "1 to 8,760"));
        let upload = self.upload_retention_s;
        note(range(
            "upload_retention_s",
            upload,
            1..=31_536_000,
            "1 to 31,536,000",
        ));
        note(range("wait_max_s", self.wait_max_s, 2..=3_600, "2 to 3,600"));
        note(range(
            "max_connections",
            self.max_connections as u64,
            1..=1_000_000,
            "1 to 1,000,000",
        ));
        note(range(
            "max_connections_per_address",
            self.max_connections_per_address as u64,
            1..=1_000_000,
            "1 to 1,000,000",
        ));
        note(range(
            "handshake_timeout_s",
            self.handshake_timeout_s,
            1..=300,
            "1 to 300",
        ));
        note(range(
            "max_head_bytes",
            self.max_head_bytes as u64,
            1_024..=65_536,
            "1,024 to 65,536",
        ));
        note(range(
            "max_calls_per_minute",
            self.max_calls_per_minute.into(),
            1..=1_000_000,
            "1 to 1,000,000",
        ));
        note(range(
            "ra_retry_ms",
            self.ra_retry_ms,
            1..=300_000,
            "1 to 300,000",
        ));
        note(range(
            "answer_budget_ms",
            self.answer_budget_ms,
            0..=25_000,
            "0 to 25,000",
        ));
        note(range(
            "max_message_bytes",
            self.max_message_bytes as u64,
            1024..=(16 << 20),
            "1,024 to 16,777,216",
        ));
        // Room for one exchange of the largest size, or no station could ever be served.
        note(range(
            "max_bytes",
            self.max_bytes as u64,
            2 * self.max_message_bytes as u64..=u64::MAX,
            "at least twice max_message_bytes",
        ));
        note(range(
            "max_stations",
            self.max_stations as u64,
            self.max_connections as u64..=u64::MAX,
            "at least max_connections",
        ));
        found
    }

    fn check_listeners(&self) -> Result<(), ConfigError> {
        let (mut passwords, mut certificates) = (false, false);
        for (name, listener) in self.each_listener() {
            let error = |reason| ConfigError::Listener {
                name: name.clone(),
                reason,
            };
            if !listener::is_name(&name) {
                return Err(error("a listener's name is 1 to 32 of a-z, 0-9 and -"));
            }
            listener.check(&name)?;
            passwords |= listener.wants_password();
            certificates |= listener.client_auth() != ClientAuth::None;
        }
        if self.listeners.contains_key(DEFAULT_LISTENER) {
            return Err(ConfigError::Listener {
                name: DEFAULT_LISTENER.into(),
                reason: "this name is for listen, security_profile and [tls]",
            });
        }
        if !self.serves_default() && (self.tls.is_some() || self.security_profile.is_some()) {
            return Err(ConfigError::Listener {
                name: DEFAULT_LISTENER.into(),
                reason: "security_profile and [tls] are of listen, which is not given: put them into [listeners.NAME]",
            });
        }
        // In the mode sidecar the certificates are of the CSMS.
        self.access
            .check(passwords, certificates && self.mode != Mode::Sidecar)
    }

    fn check_sidecar(&self) -> Result<(), ConfigError> {
        self.sidecar.check()?;
        if self.mode != Mode::Sidecar {
            return Ok(());
        }
        if self.hold_pending {
            return Err(ConfigError::Useless {
                key: "hold_pending",
                without: "a mode in which the bridge boots stations: in sidecar the CSMS does",
            });
        }
        for (name, listener) in self.each_listener() {
            let knows = self.sidecar.token_file.is_some() || listener.client_auth() == ClientAuth::Required;
            if listener.security_profile.is_some() {
                return Err(ConfigError::Listener {
                    name,
                    reason: "security profiles are for stations; in mode sidecar the CSMS connects here",
                });
            }
            if listener
                .tls
                .as_ref()
                .is_some_and(|tls| !tls.manufacturer_cas.is_empty())
            {
                return Err(ConfigError::Listener {
                    name,
                    reason: "manufacturer_cas are for stations; in mode sidecar the CSMS connects here",
                });
            }
            if !listener.listen.ip().is_loopback() && !knows {
                return Err(ConfigError::OpenToAll {
                    table: "sidecar",
                    address: listener.listen,
                });
            }
        }
        Ok(())
    }

    fn check_pending_do(&self) -> Result<(), ConfigError> {
        let slot = self.pending_slot.chars().count() as u64;
        range("characters of pending_slot", slot, 1..=64, "1 to 64")?;
        match &self.pending_do {
            Some(name) if DoOperation::parse(name).is_none() => Err(ConfigError::Word {
                key: "pending_do",
                value: name.clone(),
                allowed: "enroll, update, ca-certs, root-update, template, crl",
            }),
            _ => Ok(()),
        }
    }
}
