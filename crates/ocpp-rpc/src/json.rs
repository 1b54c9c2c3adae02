//! JSON strings: written, and measured without being written.

use alloc::string::String;
use core::fmt::Write as _;

/// Appends `text` as a JSON string with its quotes; only what JSON demands is escaped.
pub(crate) fn push_str(out: &mut String, text: &str) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let Some(escape) = Escape::of(byte) else { continue };
        out.push_str(text.get(plain..at).unwrap_or_default());
        match escape {
            Escape::Short(letter) => {
                out.push('\\');
                out.push(letter);
            }
            Escape::Unicode => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
        plain = at + 1;
    }
    out.push_str(text.get(plain..).unwrap_or_default());
    out.push('"');
}

/// The bytes that [`push_str`] appends for `text`.
pub(crate) fn str_len(text: &str) -> usize {
    let escapes: usize = text
        .bytes()
        .map(|byte| match Escape::of(byte) {
            None => 0,
            Some(Escape::Short(_)) => 1,
            Some(Escape::Unicode) => 5,
        })
        .sum();
    text.len() + escapes + 2
}

enum Escape {
    Short(char),
    Unicode,
}

impl Escape {
    /// How `byte` is escaped inside a JSON string (RFC 8259 section 7); `None` where it stands for itself.
    const fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            b'"' => Self::Short('"'),
            b'\\' => Self::Short('\\'),
            0x08 => Self::Short('b'),
            0x0c => Self::Short('f'),
            b'\n' => Self::Short('n'),
            b'\r' => Self::Short('r'),
            b'\t' => Self::Short('t'),
            0x00..=0x1f => Self::Unicode,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_what_serde_json_writes_and_has_the_length_foretold(
            text in "[\\x00-\\x7f\\u{e4}\\u{20ac}\\u{1f50c}]{0,64}",
        ) {
            let mut written = String::new();
            push_str(&mut written, &text);
            prop_assert_eq!(&written, &serde_json::to_string(&text).unwrap());
            prop_assert_eq!(written.len(), str_len(&text));
        }
    }
}
