//! Roots that have come: the first ones in caPubs (RFC 9483 §4.1.1, §4.1.5), and successors of roots (§4.3.2).
//!
//! ```text
//! DIR/anchors/N/root.pem          the root
//! DIR/anchors/N/replaces.pem      the root that vouched for it; not there for one that came in caPubs
//! DIR/anchors/N/new-with-old.pem  the new key, certified with the old one
//! DIR/anchors/N/old-with-new.pem  the old key, certified with the new one, where the RA has sent it
//! DIR/anchors/N/proven            an RA has spoken under the new root: the one that it replaces is not trusted any more
//! ```
//! Until that both are trusted: the old root is what is left where the new one does not work.

use std::{fs, path::PathBuf, vec::Vec};

use cmp_client::RootCaKeyUpdate;
use cmp_message::{
    certificate::Certificate,
    crypto::Crypto,
    path::{MAX_UNTRUSTED_CERTIFICATES, PathRequest},
};

use super::{
    StateDir, StateError,
    files::{
        CERTIFICATE, at, make_dir, next_number, numbered, read_certificate, sync_dir, write_atomically,
        write_pem,
    },
};

/// What is trusted.
#[derive(Clone, Debug, Default)]
pub struct Anchors {
    /// The trust anchors.
    pub trusted: Vec<Certificate>,
    /// oldWithNew of roots that were replaced: through them, what was issued under an old root leads to the new one.
    pub links: Vec<Certificate>,
}

/// A root that has come.
struct StoredRoot {
    dir: PathBuf,
    root: Certificate,
    replaces: Option<Certificate>,
    link: Option<Certificate>,
}

impl StoredRoot {
    fn read(dir: PathBuf) -> Result<Self, StateError> {
        let optional = |name: &str| {
            let file = dir.join(name);
            file.exists().then(|| read_certificate(&file)).transpose()
        };
        Ok(Self {
            root: read_certificate(&dir.join(ROOT))?,
            replaces: optional(REPLACES)?,
            link: optional(OLD_WITH_NEW)?,
            dir,
        })
    }

    fn is_proven(&self) -> bool {
        self.dir.join(PROVEN).exists()
    }
}

/// Roots that came in caPubs and are kept, at most.
const MAX_HANDED_OUT: usize = 8;

const ROOT: &str = "root.pem";
const REPLACES: &str = "replaces.pem";
const NEW_WITH_OLD: &str = "new-with-old.pem";
const OLD_WITH_NEW: &str = "old-with-new.pem";
const PROVEN: &str = "proven";

impl StateDir {
    /// What is trusted: `given` and the roots that came since, without those that were replaced for good.
    pub fn anchors(&self, given: &[Certificate]) -> Result<Anchors, StateError> {
        let stored = self.stored_roots()?;
        let is_replaced = |root: &Certificate| {
            stored
                .iter()
                .any(|new| new.is_proven() && new.replaces.as_ref() == Some(root))
        };
        let mut anchors = Anchors::default();
        for root in given.iter().chain(stored.iter().map(|new| &new.root)) {
            if !is_replaced(root) && !anchors.trusted.contains(root) {
                anchors.trusted.push(root.clone());
            }
        }
        anchors.links = stored.iter().filter_map(|new| new.link.clone()).collect();
        Ok(anchors)
    }

    /// Keeps a new root, trusted from now on; gives its file. One that is there already stays as it is.
    pub fn add_root(&self, update: &RootCaKeyUpdate) -> Result<PathBuf, StateError> {
        let mut files = std::vec![
            (ROOT, &update.new_root),
            (REPLACES, &update.old_root),
            (NEW_WITH_OLD, &update.new_with_old),
        ];
        files.extend(update.old_with_new.as_ref().map(|link| (OLD_WITH_NEW, link)));
        self.store_root(&update.new_root, &files)
    }

    /// Keeps a root that somebody has handed out who may do that, trusted from now on; gives its file. One that is there already
    /// stays as it is. `None` where there are eight already.
    pub fn add_anchor(&self, root: &Certificate) -> Result<Option<PathBuf>, StateError> {
        let stored = self.stored_roots()?;
        let known = stored.iter().any(|known| known.root == *root);
        let handed_out = stored.iter().filter(|known| known.replaces.is_none());
        if !known && handed_out.count() >= MAX_HANDED_OUT {
            return Ok(None);
        }
        self.store_root(root, &[(ROOT, root)]).map(Some)
    }

    fn store_root(&self, root: &Certificate, files: &[(&str, &Certificate)]) -> Result<PathBuf, StateError> {
        let stored = self.stored_roots()?;
        if let Some(known) = stored.iter().find(|known| known.root == *root) {
            return Ok(known.dir.join(ROOT));
        }
        let all = self.path("anchors");
        // Whole or not at all: it gets its name when everything is in it.
        let new = all.join("new");
        match fs::remove_dir_all(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(&new)(error)),
            _ => make_dir(&new)?,
        }
        for (name, certificate) in files {
            write_pem(&new.join(name), CERTIFICATE, certificate.as_der())?;
        }
        let dir = all.join(next_number(&all)?);
        fs::rename(&new, &dir).map_err(at(&dir))?;
        sync_dir(&all)?;
        Ok(dir.join(ROOT))
    }

    /// Says who has signed for the RA, and with which certificates beside its own. Gives the roots that have proven
    /// themselves by that, for the first time: those that they replace are not trusted any more.
    pub fn prove_roots(
        &self,
        signer: &Certificate,
        received: &[Certificate],
        crypto: &dyn Crypto,
        now_s: Option<u64>,
    ) -> Result<Vec<Certificate>, StateError> {
        let received = received.get(..MAX_UNTRUSTED_CERTIFICATES).unwrap_or(received);
        let mut proven = Vec::new();
        for stored in self.stored_roots()? {
            let anchor = core::slice::from_ref(&stored.root);
            let mut path = PathRequest::new(signer, anchor, now_s.into());
            path.untrusted = received;
            if stored.replaces.is_some() && !stored.is_proven() && path.validate(crypto).is_ok() {
                write_atomically(&stored.dir.join(PROVEN), b"")?;
                proven.push(stored.root);
            }
        }
        Ok(proven)
    }

    fn stored_roots(&self) -> Result<Vec<StoredRoot>, StateError> {
        let dirs = numbered(&self.path("anchors"))?;
        dirs.into_iter().map(|(_, dir)| StoredRoot::read(dir)).collect()
    }

    /// Where a root that has come is; `None` for one that was given.
    pub fn root_path(&self, root: &Certificate) -> Result<Option<PathBuf>, StateError> {
        let stored = self.stored_roots()?;
        Ok(stored
            .iter()
            .find(|new| new.root == *root)
            .map(|new| new.dir.join(ROOT)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::state_dir::tests::{assert_private, fixture};
    use super::*;
    use cmp_message::crypto::RustCrypto;

    /// The directory does not ask whether the links are right: that is verified before.
    fn update() -> RootCaKeyUpdate {
        RootCaKeyUpdate {
            new_root: fixture("root.crt"),
            new_with_old: fixture("issuing.crt"),
            old_with_new: Some(fixture("lc.crt")),
            old_root: fixture("mfrroot.crt"),
        }
    }

    #[test]
    fn a_replaced_root_is_trusted_until_an_ra_has_spoken_under_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let given = [fixture("mfrroot.crt")];
        let trusted = || state.anchors(&given).unwrap().trusted;
        assert_eq!(trusted(), given);
        let path = state.add_root(&update()).unwrap();
        assert_private(&path);
        assert_eq!(state.add_root(&update()).unwrap(), path, "it is kept once");
        assert_eq!(trusted(), [given[0].clone(), update().new_root]);
        assert_eq!(state.anchors(&given).unwrap().links, [fixture("lc.crt")]);

        let prove = |signer: &str, with: &[Certificate]| {
            let signer = fixture(signer);
            state.prove_roots(&signer, with, &RustCrypto, None).unwrap()
        };
        let issuing = [fixture("issuing.crt")];
        assert_eq!(prove("idevid.crt", &issuing), [], "signed under the old root");
        assert_eq!(prove("ra.crt", &[]), [], "nothing leads to the new root");
        assert_eq!(trusted().len(), 2);
        assert_eq!(prove("ra.crt", &issuing), [update().new_root]);
        assert_eq!(trusted(), [update().new_root]);
        assert_eq!(prove("ra.crt", &issuing), [], "it is proven once");
    }

    #[test]
    fn roots_that_were_handed_out_are_trusted_up_to_a_number_and_not_after_they_were_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let (first, update) = (fixture("mfrroot.crt"), update());
        let path = state.add_anchor(&first).unwrap().unwrap();
        assert_private(&path);
        assert_eq!(state.add_anchor(&first).unwrap(), Some(path), "it is kept once");
        assert_eq!(state.anchors(&[]).unwrap().trusted, core::slice::from_ref(&first));

        state.add_root(&update).unwrap();
        let issuing = [fixture("issuing.crt")];
        let proven = state
            .prove_roots(&fixture("ra.crt"), &issuing, &RustCrypto, None)
            .unwrap();
        let new = core::slice::from_ref(&update.new_root);
        assert_eq!(proven, new);
        state.add_anchor(&first).unwrap();
        assert_eq!(state.anchors(&[]).unwrap().trusted, new);

        for n in 0..MAX_HANDED_OUT + 2 {
            let other = other_root(u8::try_from(n).unwrap());
            assert_eq!(
                state.add_anchor(&other).unwrap().is_some(),
                n + 1 < MAX_HANDED_OUT
            );
        }
        assert_eq!(state.anchors(&[]).unwrap().trusted.len(), MAX_HANDED_OUT);
    }

    /// A certificate that differs from others in one bit of its signature.
    fn other_root(n: u8) -> Certificate {
        let mut der = fixture("root.crt").as_der().to_vec();
        *der.last_mut().unwrap() ^= n + 1;
        Certificate::from_der(der).unwrap()
    }

    #[test]
    fn a_root_that_was_cut_off_while_it_was_kept_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        make_dir(&dir.path().join("anchors/new")).unwrap();
        fs::write(dir.path().join("anchors/new/root.pem"), b"torn").unwrap();
        assert_eq!(state.anchors(&[]).unwrap().trusted, []);
        state.add_root(&update()).unwrap();
        assert_eq!(state.anchors(&[]).unwrap().trusted, [update().new_root]);
    }
}
