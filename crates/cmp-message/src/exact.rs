//! Values that keep the bytes they came in.
//!
//! What is hashed or signed must be the bytes received, never a re-encoding of what was understood.

use alloc::vec::Vec;
use core::ops::Deref;
use der::{
    Choice, Decode, DecodeValue, Encode, EncodeValue, Header, Length, Reader, SliceReader, Tag, Tagged,
    Writer,
};

/// One DER element of any type, kept as it is: content that is only passed on, or parsed when somebody asks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Raw(Vec<u8>);

impl Raw {
    /// Takes `der` if it is exactly one element: tag, length and value, with nothing behind it.
    pub fn new(der: impl Into<Vec<u8>>) -> der::Result<Self> {
        let der = der.into();
        Self::from_der(&der)
    }

    /// Encodes `value`.
    pub fn encode(value: &impl Encode) -> der::Result<Self> {
        value.to_der().map(Self)
    }

    /// The whole element, tag and length included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What is behind tag and length.
    pub fn value(&self) -> der::Result<&[u8]> {
        let mut reader = SliceReader::new(&self.0)?;
        let header = Header::decode(&mut reader)?;
        reader.read_slice(header.length())
    }

    /// Parses the element as a `T`.
    pub fn parse<'a, T: Decode<'a>>(&'a self) -> Result<T, T::Error> {
        T::from_der(&self.0)
    }
}

impl core::fmt::Debug for Raw {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Raw({} bytes)", self.0.len())
    }
}

impl<'a> Decode<'a> for Raw {
    type Error = der::Error;

    fn decode<R: Reader<'a>>(reader: &mut R) -> der::Result<Self> {
        Ok(Self(reader.tlv_bytes()?.to_vec()))
    }
}

impl<'a> DecodeValue<'a> for Raw {
    type Error = der::Error;

    fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> der::Result<Self> {
        let mut der = Vec::new();
        header.encode_to_vec(&mut der)?;
        der.extend_from_slice(reader.read_slice(header.length())?);
        Ok(Self(der))
    }
}

impl EncodeValue for Raw {
    fn value_len(&self) -> der::Result<Length> {
        Length::try_from(self.value()?.len())
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        writer.write(self.value()?)
    }
}

impl Tagged for Raw {
    fn tag(&self) -> Tag {
        Tag::from_der(self.0.get(..1).unwrap_or_default()).unwrap_or(Tag::Null)
    }
}

impl Choice<'_> for Raw {
    fn can_decode(_tag: Tag) -> bool {
        true
    }
}

/// A parsed `T` together with its exact DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exact<T> {
    der: Raw,
    value: T,
}

impl<T: Encode> Exact<T> {
    /// Encodes `value`, once.
    pub fn new(value: T) -> der::Result<Self> {
        Ok(Self {
            der: Raw::encode(&value)?,
            value,
        })
    }
}

impl<T> Exact<T> {
    /// The DER as received, or as encoded when the value was made here.
    pub fn as_der(&self) -> &[u8] {
        self.der.as_bytes()
    }

    /// The value alone.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> Deref for Exact<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'a, T: Decode<'a>> Decode<'a> for Exact<T> {
    type Error = T::Error;

    fn decode<R: Reader<'a>>(reader: &mut R) -> Result<Self, T::Error> {
        let bytes = reader.tlv_bytes()?;
        Ok(Self {
            value: T::from_der(bytes)?,
            der: Raw(bytes.to_vec()),
        })
    }
}

impl<T> Encode for Exact<T> {
    fn encoded_len(&self) -> der::Result<Length> {
        self.der.encoded_len()
    }

    fn encode(&self, writer: &mut impl Writer) -> der::Result<()> {
        self.der.encode(writer)
    }
}
