//! PKIBody (RFC 9810 §5.1.2).

use core::fmt;
use der::{Choice, asn1::Null};

use crate::{
    CertConfirmContent, CertRepMessage, CertReqMessages, ErrorMsgContent, GenMsgContent, PollRepContent,
    PollReqContent, Raw, RevRepContent, RevReqContent,
};

macro_rules! pki_body {
    ($($tag:literal $variant:ident($content:ty) $name:literal;)+) => {
        /// What a message asks or answers: one of 27 kinds. Those that the profile does not use are kept unparsed,
        /// and so is what `nested` holds, so that depth stays the reader's decision.
        #[derive(Clone, Debug, PartialEq, Eq, Choice)]
        pub enum PkiBody {
            $(
                #[doc = concat!("`", $name, "`")]
                #[asn1(context_specific = $tag, tag_mode = "EXPLICIT", constructed = "true")]
                $variant($content),
            )+
        }

        /// The kind of a body, without its content.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum BodyType {
            $(#[doc = concat!("`", $name, "`")] $variant,)+
        }

        impl PkiBody {
            /// The kind.
            pub fn body_type(&self) -> BodyType {
                match self { $(Self::$variant(_) => BodyType::$variant,)+ }
            }
        }

        impl BodyType {
            /// The name in the standard.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// By its name in the standard.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

pki_body! {
    "0" Ir(CertReqMessages) "ir";
    "1" Ip(CertRepMessage) "ip";
    "2" Cr(CertReqMessages) "cr";
    "3" Cp(CertRepMessage) "cp";
    "4" P10cr(Raw) "p10cr";
    "5" Popdecc(Raw) "popdecc";
    "6" Popdecr(Raw) "popdecr";
    "7" Kur(CertReqMessages) "kur";
    "8" Kup(CertRepMessage) "kup";
    "9" Krr(Raw) "krr";
    "10" Krp(Raw) "krp";
    "11" Rr(RevReqContent) "rr";
    "12" Rp(RevRepContent) "rp";
    "13" Ccr(Raw) "ccr";
    "14" Ccp(Raw) "ccp";
    "15" Ckuann(Raw) "ckuann";
    "16" Cann(Raw) "cann";
    "17" Rann(Raw) "rann";
    "18" Crlann(Raw) "crlann";
    "19" PkiConf(Null) "pkiconf";
    "20" Nested(Raw) "nested";
    "21" Genm(GenMsgContent) "genm";
    "22" Genp(GenMsgContent) "genp";
    "23" Error(ErrorMsgContent) "error";
    "24" CertConf(CertConfirmContent) "certConf";
    "25" PollReq(PollReqContent) "pollReq";
    "26" PollRep(PollRepContent) "pollRep";
}

impl fmt::Display for BodyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
