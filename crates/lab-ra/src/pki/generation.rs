//! A new root in place of the old one (RFC 9810 §4.4).

use cmp_message::crypto::SigningKey;
use std::{fs, mem, path::Path, sync::Arc};

use super::{
    Authority, KGA_NAME, Pki, PkiError, ROOT_NAME, Role, authority, certify,
    files::{io_error, make_folder, read_pem, to_pem, write},
};
use crate::atomic_file::Access;

const NEW_WITH_OLD: &str = "root-new-with-old.pem";
const OLD_WITH_NEW: &str = "root-old-with-new.pem";

/// What a newer generation has replaced, and what links the two roots.
#[derive(Debug)]
pub(super) struct Previous {
    root: Authority,
    pub(super) ca: Authority,
    /// DER of the next root's key, certified by this root.
    new_with_old: Vec<u8>,
    /// DER of this root's key, certified by the next root.
    old_with_new: Vec<u8>,
}

impl Previous {
    /// DER of the root.
    pub(super) fn root(&self) -> &[u8] {
        self.root.certificate()
    }

    pub(super) fn new_with_old(&self) -> &[u8] {
        &self.new_with_old
    }
}

/// The way from one root to the next: three certificates, DER.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RootUpdate<'a> {
    /// The next root.
    pub new_with_new: &'a [u8],
    /// The next root's key, certified by this one.
    pub new_with_old: &'a [u8],
    /// This root's key, certified by the next one.
    pub old_with_new: &'a [u8],
}

impl Pki {
    /// Makes a new root of the same name, with link certificates, and a new issuing CA, RA and KGA under it.
    ///
    /// # Errors
    /// [`PkiError::Crypto`] or [`PkiError::Random`].
    pub fn roll_over(&mut self, now_s: u64) -> Result<(), PkiError> {
        // Who compares the two sees by their times which is the newer one.
        let now_s = now_s.max(self.root.not_before_s() + super::BACKDATE_S + 1);
        let algorithm = self.root.key().key_algorithm();
        let ca_name = format!("Lab Issuing CA {}", self.generation() + 1);
        let root = authority("root", ROOT_NAME, algorithm, None, now_s, Role::Ca(1))?;
        let ca = authority("ca", &ca_name, algorithm, Some(&root), now_s, Role::Ca(0))?;
        let ra = authority("ra", "Lab RA", algorithm, Some(&ca), now_s, Role::Ra)?;
        let kga = authority("kga", KGA_NAME, algorithm, Some(&ca), now_s, Role::Kga)?;
        let old = &self.root;
        // From the time at which the new key is made until the old one is over.
        let times = (now_s, old.not_after_s().saturating_sub(now_s));
        let new_with_old = link(&root, old, times)?;
        // From the time at which the old key was made until it is over.
        let times = (
            old.not_before_s() + super::BACKDATE_S,
            old.not_after_s().saturating_sub(old.not_before_s()),
        );
        let old_with_new = link(old, &root, times)?;
        (self.ra, self.kga) = (Arc::new(ra), kga);
        self.previous.push(Previous {
            root: mem::replace(&mut self.root, root),
            ca: mem::replace(&mut self.ca, ca),
            new_with_old,
            old_with_new,
        });
        Ok(())
    }

    /// Writes the present generation into the folder that the hierarchy was read from, as a folder with its number: either
    /// all of it is there afterwards or nothing.
    ///
    /// # Errors
    /// [`PkiError::Exists`] if there is one already, or [`PkiError::Io`].
    pub fn save_generation(&self, folder: &Path) -> Result<(), PkiError> {
        let number = self.generation().to_string();
        let (final_folder, beside) = (folder.join(&number), folder.join(format!("{number}.new")));
        if final_folder.exists() {
            return Err(PkiError::Exists);
        }
        make_folder(&beside)?;
        self.root.save(&beside, "root")?;
        self.ca.save(&beside, "ca")?;
        self.ra.save(&beside, "ra")?;
        self.kga.save(&beside, "kga")?;
        if let Some(previous) = self.previous.last() {
            for (file, der) in [
                (NEW_WITH_OLD, &previous.new_with_old),
                (OLD_WITH_NEW, &previous.old_with_new),
            ] {
                write(
                    &beside,
                    file,
                    to_pem("CERTIFICATE", der)?.as_bytes(),
                    Access::Public,
                )?;
            }
        }
        fs::rename(&beside, &final_folder).map_err(|error| io_error(&number, error))
    }

    pub(super) fn load_generations(&mut self, folder: &Path) -> Result<(), PkiError> {
        loop {
            let next = folder.join((self.generation() + 1).to_string());
            if !next.exists() {
                return Ok(());
            }
            let root = Authority::load(&next, "root")?;
            let ca = Authority::load(&next, "ca")?;
            self.ra = Arc::new(Authority::load(&next, "ra")?);
            self.kga = Authority::load(&next, "kga")?;
            self.previous.push(Previous {
                root: mem::replace(&mut self.root, root),
                ca: mem::replace(&mut self.ca, ca),
                new_with_old: read_pem(&next, NEW_WITH_OLD, "CERTIFICATE")?.to_vec(),
                old_with_new: read_pem(&next, OLD_WITH_NEW, "CERTIFICATE")?.to_vec(),
            });
        }
    }

    /// The way from the root of `generation` to the next; `None` from the present one.
    pub fn root_update(&self, generation: u32) -> Option<RootUpdate<'_>> {
        let at = generation.checked_sub(1)? as usize;
        let previous = self.previous.get(at)?;
        let next = self.previous.get(at + 1).map_or(&self.root, |next| &next.root);
        Some(RootUpdate {
            new_with_new: next.certificate(),
            new_with_old: &previous.new_with_old,
            old_with_new: &previous.old_with_new,
        })
    }

    /// The ways between all roots, the newest first.
    pub(crate) fn root_updates(&self) -> impl Iterator<Item = RootUpdate<'_>> {
        let all = (1..self.generation()).rev();
        all.filter_map(|generation| self.root_update(generation))
    }

    /// The generation that has this root, DER.
    pub(crate) fn generation_of_root(&self, root: &[u8]) -> Option<u32> {
        let mut roots = self.previous.iter().map(Previous::root);
        let previous = roots.position(|one| one == root);
        let present = (self.root.certificate() == root).then_some(self.previous.len());
        previous.or(present).map(|at| at as u32 + 1)
    }
}

/// The key of `subject`, certified by `issuer`: two roots of the same name.
fn link(subject: &Authority, issuer: &Authority, times: (u64, u64)) -> Result<Vec<u8>, PkiError> {
    let key = subject.key();
    let made = certify(
        subject.subject(),
        key.public_key(),
        (key, Some(issuer)),
        times,
        Role::Ca(1),
    )?;
    Ok(made.1)
}
