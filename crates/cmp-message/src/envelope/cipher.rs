//! The ciphers: AES key wrap, AES-CBC with padding, and the key derivation of X9.63.
//!
//! Both providers use these: AES in pure Rust is constant-time, and a private key is short.

use alloc::vec::Vec;

use aes::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, consts::U16};
use aes::{Aes128, Aes256};
use aes_kw::{KeyInit, KwAes128, KwAes256};
use subtle::{Choice, ConstantTimeEq, ConstantTimeGreater};
use zeroize::Zeroizing;

use super::algorithm::{AesCbc, KeyWrap};
use crate::crypto::{Crypto, CryptoError, Digest, HashAlgorithm};

const BLOCK_BYTES: usize = 16;

/// `wrapped` decrypted with AES key wrap (RFC 3394 §2.2.2); `None` if it was not made with `kek`.
pub(super) fn unwrap_key(wrap: KeyWrap, kek: &[u8], wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut key = Zeroizing::new(alloc::vec![0; wrapped.len().checked_sub(8)?]);
    let len = match wrap {
        KeyWrap::Aes128 => KwAes128::new_from_slice(kek).ok()?.unwrap_key(wrapped, &mut key),
        KeyWrap::Aes256 => KwAes256::new_from_slice(kek).ok()?.unwrap_key(wrapped, &mut key),
    };
    len.is_ok().then_some(key)
}

/// `key` encrypted with AES key wrap (RFC 3394 §2.2.1).
pub(super) fn wrap_key(wrap: KeyWrap, kek: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut wrapped = alloc::vec![0; key.len().saturating_add(8)];
    let done = match wrap {
        KeyWrap::Aes128 => KwAes128::new_from_slice(kek).map(|kw| kw.wrap_key(key, &mut wrapped).is_ok()),
        KeyWrap::Aes256 => KwAes256::new_from_slice(kek).map(|kw| kw.wrap_key(key, &mut wrapped).is_ok()),
    };
    match done {
        Ok(true) => Ok(wrapped),
        _ => Err(CryptoError::InvalidParameter),
    }
}

/// `content` decrypted, without its padding (RFC 5652 §6.3). Nothing is told of why it failed, nor by the time taken.
pub(super) fn cbc_decrypt(algorithm: &AesCbc, key: &[u8], content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut plain = Zeroizing::new(content.to_vec());
    let (blocks, rest) = Array::<u8, U16>::slice_as_chunks_mut(&mut plain);
    if !rest.is_empty() || blocks.is_empty() {
        return None;
    }
    match algorithm.key_len {
        16 => cbc::Decryptor::<Aes128>::new_from_slices(key, &algorithm.iv)
            .ok()?
            .decrypt_blocks(blocks),
        _ => cbc::Decryptor::<Aes256>::new_from_slices(key, &algorithm.iv)
            .ok()?
            .decrypt_blocks(blocks),
    }
    let padding = padding_len(plain.last_chunk()?)?;
    let len = plain.len().checked_sub(padding)?;
    plain.truncate(len);
    Some(plain)
}

/// `content` padded and encrypted with AES-256-CBC.
pub(super) fn cbc_encrypt(key: &[u8; 32], iv: &[u8; 16], content: &[u8]) -> Vec<u8> {
    let padding = BLOCK_BYTES - content.len() % BLOCK_BYTES;
    let mut out = Vec::with_capacity(content.len() + padding);
    out.extend_from_slice(content);
    out.extend(core::iter::repeat_n(padding as u8, padding));
    let (blocks, _) = Array::<u8, U16>::slice_as_chunks_mut(&mut out);
    cbc::Encryptor::<Aes256>::new(key.into(), iv.into()).encrypt_blocks(blocks);
    out
}

/// How many bytes at the end of `last` are padding: each of them says that number, 1 to 16.
fn padding_len(last: &[u8; BLOCK_BYTES]) -> Option<usize> {
    let [.., padding] = *last;
    let mut good = padding.ct_gt(&0) & !padding.ct_gt(&(BLOCK_BYTES as u8));
    for (before_end, byte) in (1_u8..).zip(last.iter().rev()) {
        let is_padding: Choice = !before_end.ct_gt(&padding);
        good &= !is_padding | byte.ct_eq(&padding);
    }
    bool::from(good).then_some(usize::from(padding))
}

/// A key-encryption key from an ECDH shared secret (SEC 1 §3.6.1, X9.63), for AES key wrap of at most 256 bits: one
/// hash is never shorter than it.
pub(super) fn x963(
    crypto: &dyn Crypto,
    hash: HashAlgorithm,
    shared_secret: &[u8],
    shared_info: &[u8],
) -> Result<Zeroizing<Digest>, CryptoError> {
    let counter = 1_u32.to_be_bytes();
    let len = shared_secret.len() + counter.len() + shared_info.len();
    let mut input = Zeroizing::new(Vec::with_capacity(len));
    input.extend_from_slice(shared_secret);
    input.extend_from_slice(&counter);
    input.extend_from_slice(shared_info);
    crypto.digest(hash, &input).map(Zeroizing::new)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_each_length_from_one_to_sixteen_and_nothing_else() {
        for n in 1..=16_u8 {
            let mut last = [0xaa; 16];
            last[16 - usize::from(n)..].fill(n);
            assert_eq!(padding_len(&last), Some(usize::from(n)));
            for at in 16 - usize::from(n)..15 {
                let mut wrong = last;
                wrong[at] ^= 1;
                assert_eq!(padding_len(&wrong), None, "{n} bytes, wrong at {at}");
            }
        }
        for bad in [0, 17, 0x80, 0xff] {
            assert_eq!(padding_len(&[bad; 16]), None);
        }
    }

    /// RFC 3394 §4.3 and §4.6.
    #[test]
    fn aes_key_wrap_gives_the_values_of_its_rfc() {
        let kek: Vec<u8> = (0..32).collect();
        let key: Vec<u8> = (0..=0xff).step_by(0x11).chain(0..16).collect();
        let wrapped = [
            0x28, 0xc9, 0xf4, 0x04, 0xc4, 0xb8, 0x10, 0xf4, 0xcb, 0xcc, 0xb3, 0x5c, 0xfb, 0x87, 0xf8, 0x26,
            0x3f, 0x57, 0x86, 0xe2, 0xd8, 0x0e, 0xd3, 0x26, 0xcb, 0xc7, 0xf0, 0xe7, 0x1a, 0x99, 0xf4, 0x3b,
            0xfb, 0x98, 0x8b, 0x9b, 0x7a, 0x02, 0xdd, 0x21,
        ];
        assert_eq!(wrap_key(KeyWrap::Aes256, &kek, &key).unwrap(), wrapped);
        assert_eq!(*unwrap_key(KeyWrap::Aes256, &kek, &wrapped).unwrap(), key);
        let wrapped = [
            0x1f, 0xa6, 0x8b, 0x0a, 0x81, 0x12, 0xb4, 0x47, 0xae, 0xf3, 0x4b, 0xd8, 0xfb, 0x5a, 0x7b, 0x82,
            0x9d, 0x3e, 0x86, 0x23, 0x71, 0xd2, 0xcf, 0xe5,
        ];
        assert_eq!(
            *unwrap_key(KeyWrap::Aes128, &kek[..16], &wrapped).unwrap(),
            key[..16]
        );
    }

    #[test]
    fn a_wrapped_key_that_was_changed_or_cut_is_not_unwrapped() {
        let (kek, key) = ([7; 32], [9; 16]);
        let wrapped = wrap_key(KeyWrap::Aes256, &kek, &key).unwrap();
        for at in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[at] ^= 0x80;
            assert!(unwrap_key(KeyWrap::Aes256, &kek, &changed).is_none());
            assert!(unwrap_key(KeyWrap::Aes256, &kek, &wrapped[..at]).is_none());
        }
        assert!(unwrap_key(KeyWrap::Aes256, &[8; 32], &wrapped).is_none());
        assert!(unwrap_key(KeyWrap::Aes256, &kek[..16], &wrapped).is_none());
    }
}
