//! The seeds of each target: made from the fixtures and from a few lines here, so that no binary is kept twice.

use std::fs;
use std::path::{Path, PathBuf};

/// A target by name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("pki_message", crate::pki_message),
    ("pki_body", crate::pki_body),
    ("validation", crate::validation),
    ("bridge_header", crate::bridge_header),
    ("certificate", crate::certificate),
    ("enveloped_data", crate::enveloped_data),
    ("crl", crate::crl),
    ("public_key", crate::public_key),
    ("private_key", crate::private_key),
    ("ocpp_frame", crate::ocpp_frame),
    ("data_transfer", crate::data_transfer),
    ("binding_station", crate::binding_station),
    ("binding_csms", crate::binding_csms),
    ("binding_sequence", crate::binding_sequence),
    ("client_sequence", crate::client_sequence),
    ("splice", crate::splice),
];

/// The seeds of the target of this name, each with a file name.
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    match target {
        "pki_message" => fixtures(".der"),
        "pki_body" => bodies(),
        "validation" => fixtures(".1.req.der"),
        "bridge_header" => fixtures(".der"),
        "certificate" => certificates(),
        "enveloped_data" => fixtures_of("envelope", ".der"),
        "crl" => crls(),
        "public_key" => public_keys(),
        "private_key" => private_keys(),
        "ocpp_frame" => texts(OCPP_FRAMES),
        "data_transfer" => texts(DATA_TRANSFERS),
        "binding_station" => texts(STATION),
        "binding_csms" => texts(CSMS),
        "binding_sequence" => sequences(),
        "client_sequence" => client_sequences(),
        "splice" => splices(),
        _ => Vec::new(),
    }
}

fn texts(all: &[&str]) -> Vec<(String, Vec<u8>)> {
    all.iter()
        .enumerate()
        .map(|(n, text)| (format!("text-{n}"), text.as_bytes().to_vec()))
        .collect()
}

fn sequences() -> Vec<(String, Vec<u8>)> {
    let all: [&[u8]; 5] = [
        &[0x15, 0, 0, 6, 0, 0, 0],
        &[0xf5, 0, 0, 2, 0x0b, 3, 0x0b, 0, 6, 9, 0, 0, 8, 0, 0],
        &[0x0d, 0x75, 14, 0, 0, 0, 0, 6, 0, 0, 0, 0],
        &[
            0x55, 0x65, 0x75, 0x85, 0x95, 0, 0, 0, 0, 7, 0x17, 0x27, 6, 0x3b, 0, 0, 0,
        ],
        &[0x25, 0, 12, 6, 10, 0x1b, 4, 4, 9, 0xff, 0x0f, 0],
    ];
    let named = |(n, bytes): (usize, &&[u8])| (format!("sequence-{n}"), bytes.to_vec());
    all.iter().enumerate().map(named).collect()
}

/// Each operation with an RA that behaves, and some of what may go wrong.
fn client_sequences() -> Vec<(String, Vec<u8>)> {
    let calm = (0..10).map(|operation| vec![operation, 0, 0, 0xff]);
    let led: [&[u8]; 8] = [
        &[0, 0, 2, 0xff, 0, 10, 0, 11, 0],
        &[0, 0b11, 0, 0xff, 7, 8, 1, 1, 0, 3],
        &[1, 0b100, 0, 0xf3, 6, 9, 0],
        &[3, 0b1_0000, 0, 0xff, 0, 12, 2, 0x30, 0, 0],
        &[4, 0b10_0000, 1, 0xff, 0, 0, 2, 0, 40],
        &[5, 0, 0, 0xff, 7, 5, 6, 0],
        &[7, 0, 3, 0xf2, 5, 3, 10, 0, 4, 3, 1, 2, 3],
        &[9, 0b1000, 2, 0xff, 0, 5, 2, 255, 0],
    ];
    let all = calm.chain(led.iter().map(|bytes| bytes.to_vec()));
    all.enumerate()
        .map(|(n, bytes)| (format!("client-{n}"), bytes))
        .collect()
}

/// Own calls beside those of a CSMS, late and broken answers, a boot; and frames as texts.
fn splices() -> Vec<(String, Vec<u8>)> {
    let led: [&[u8]; 4] = [
        &[0, 3, 11, 0, 7, 0, 7, 0, 0, 4, 5, 0, 7, 0],
        &[11, 0, 14, 200, 7, 0, 0xc7, 0, 0xe7, 0, 1, 129, 11, 0],
        &[
            0xb6, 0, 0x73, 0, 12, 0, 11, 0, 14, 40, 0xb6, 0, 0x63, 0, 10, 0, 13, 0,
        ],
        &[12, 0, 0xf0, 1, 0xf0, 2, 0xf0, 3, 14, 255, 5, 0, 0xb3, 0],
    ];
    let named = |(n, bytes): (usize, &&[u8])| (format!("splice-{n}"), bytes.to_vec());
    let text = |(n, frame): (usize, &&str)| {
        let lines = format!("#s{frame}\nc{frame}\np\nc{frame}\ns[4,\"-1\",\"X\"]\nt\nn\ns{frame}");
        (format!("frames-{n}"), lines.into_bytes())
    };
    let texts = OCPP_FRAMES.iter().enumerate().map(text);
    led.iter().enumerate().map(named).chain(texts).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

/// Every fixture file whose name ends so.
fn fixtures(end: &str) -> Vec<(String, Vec<u8>)> {
    fixtures_of(".", end)
}

/// Those of one folder.
fn fixtures_of(folder: &str, end: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("a directory entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                let name = path
                    .file_name()
                    .expect("a file name")
                    .to_string_lossy()
                    .into_owned();
                found.push((name, fs::read(&path).expect("a readable fixture")));
            }
        }
    }
    found.sort();
    found
}

/// The bodies of the messages of the fixtures.
fn bodies() -> Vec<(String, Vec<u8>)> {
    let messages = fixtures(".der").into_iter();
    let body = |(name, bytes): (String, Vec<u8>)| {
        let message = cmp_message::PkiMessage::from_bytes(&bytes).ok()?;
        Some((name, message.body.as_der().to_vec()))
    };
    messages.filter_map(body).collect()
}

/// The keys of the certificates of `tests/fixtures/algorithms`, each with the signature over its certificate.
fn public_keys() -> Vec<(String, Vec<u8>)> {
    let roots = fixtures_of("algorithms", ".root.der").into_iter();
    let key = |(name, der): (String, Vec<u8>)| {
        let root = cmp_message::certificate::Certificate::from_der(der).expect("a certificate");
        (name, [root.public_key(), root.signature()].concat())
    };
    roots.map(key).collect()
}

/// A key of each type, and an expanded ML-DSA key, of which every coefficient is the largest.
fn private_keys() -> Vec<(String, Vec<u8>)> {
    let identifier = [
        0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x11,
    ];
    let expanded = [0_u8; 2560];
    let expanded = [
        &[0x30, 0x82, 0x0a, 0x18, 0x02, 1, 0][..],
        &identifier,
        &[0x04, 0x82, 0x0a, 0x04, 0x04, 0x82, 0x0a, 0x00],
        &expanded,
    ]
    .concat();
    let mut keys = fixtures_of("algorithms", ".key.der");
    keys.push(("ml-dsa-44.expanded".into(), expanded));
    keys
}

/// The CA of [`CRLS`].
pub(crate) const CRL_CA: &[u8] = include_bytes!("../../crates/cmp-message/tests/data/crl-ca.der");
/// What it has signed.
pub(crate) const CRLS: [&[u8]; 4] = [
    include_bytes!("../../crates/cmp-message/tests/data/crl.der"),
    include_bytes!("../../crates/cmp-message/tests/data/crl-empty.der"),
    include_bytes!("../../crates/cmp-message/tests/data/crl-partial.der"),
    include_bytes!("../../crates/cmp-message/tests/data/crl-indirect.der"),
];

fn crls() -> Vec<(String, Vec<u8>)> {
    let named = |(n, bytes): (usize, &&[u8])| (format!("crl-{n}"), bytes.to_vec());
    CRLS.iter().enumerate().map(named).collect()
}

/// The certificates of the fixtures, DER.
fn certificates() -> Vec<(String, Vec<u8>)> {
    use x509_cert::Certificate;
    use x509_cert::der::{Decode as _, DecodePem as _, Encode as _};
    let read = |(name, bytes): (String, Vec<u8>)| {
        let certificate = Certificate::from_pem(&bytes).or_else(|_| Certificate::from_der(&bytes));
        let certificate = certificate.unwrap_or_else(|e| panic!("{name}: {e}"));
        (name, certificate.to_der().expect("a certificate encodes"))
    };
    fixtures(".crt").into_iter().map(read).collect()
}

const OCPP_FRAMES: &[&str] = &[
    r#"[2,"1","Heartbeat",{}]"#,
    r#"[2,"6ba7b810-9dad-11d1-80b4-00c04fd430c8","DataTransfer",{"vendorId":"v","messageId":"CmpSend","data":"{}"}]"#,
    r#"[3,"1",{"currentTime":"2024-01-01T00:00:00Z"}]"#,
    r#"[4,"1","NotImplemented","",{}]"#,
    r#"[5,"1","FormatViolation","why",{"a":[1,2.50,null]}]"#,
    r#"[6,"1","NotifyPeriodicEventStream",{"id":1}]"#,
    r#" [ 2 , "a\u0062" , "B" , { "c" : "\ud83d\ude00" } ] "#,
];

const DATA_TRANSFERS: &[&str] = &[
    r#"{"vendorId":"io.github.ocpp-cmp","messageId":"CmpSend","data":"{\"id\":\"AAAAAAAAAAAAAAAAAAAAAA\"}"}"#,
    r#"{"vendorId":"v","data":{"len":5,"off":0,"data":"MAMCAQE="},"customData":{"vendorId":"x"}}"#,
    r#"{"status":"Accepted","data":"{\"next\":3}"}"#,
    r#"{"status":"Rejected","statusInfo":{"reasonCode":"NotEnabled","additionalInfo":"no"}}"#,
    r#"{"status":"UnknownVendorId"}"#,
];

/// `WlpaWlpaWlpaWlpaWlpaWg` is the exchange that the target begins with.
const STATION: &[&str] = &[
    "r{\"next\":2500}\nr{\"wait\":1}\ntxx\nr{\"len\":5,\"off\":0,\"data\":\"MAMCAQE=\"}",
    "m\np{\"v\":1,\"unit\":600,\"max\":65536,\"have\":[]}\np{\"id\":\"WlpaWlpaWlpaWlpaWlpaWg\",\"off\":300}\n\
     d{\"id\":\"WlpaWlpaWlpaWlpaWlpaWg\",\"len\":5,\"off\":0,\"data\":\"MAMCAQE=\"}",
    "N{\"ready\":\"WlpaWlpaWlpaWlpaWlpaWg\"}\nn{\"do\":\"update\",\"slot\":\"a\"}\nr{\"error\":{\"code\":\"gap\",\"retry\":0,\"next\":0}}",
    "r{\"done\":true}\nd{\"id\":\"WlpaWlpaWlpaWlpaWlpaWg\",\"error\":{\"code\":\"ra-timeout\",\"text\":\"none\"}}",
    "c\nx\neNotImplemented\nr{\"error\":{\"code\":\"busy\",\"retry\":5}}",
];

const CSMS: &[&str] = &[
    "h{\"v\":[1],\"unit\":4096,\"max\":65536,\"slots\":[{\"slot\":\"a\",\"state\":\"Active\",\"notAfter\":\"2030-01-01T00:00:00Z\"}]}",
    "s{\"id\":\"WlpaWlpaWlpaWlpaWlpaWg\",\"len\":5,\"off\":0,\"data\":\"MAMCAQE=\",\"route\":\"default\"}\naxx\n\
     f{\"id\":\"WlpaWlpaWlpaWlpaWlpaWg\",\"off\":0}\nF{\"ack\":[\"WlpaWlpaWlpaWlpaWlpaWg\"]}",
    "s{\"id\":\"WlpaWlpaWlpaWlpaWlpaWg\",\"len\":8,\"off\":0,\"data\":\"MAYC\"}\n\
     s{\"id\":\"WlpaWlpaWlpaWlpaWlpaWg\",\"len\":8,\"off\":3,\"data\":\"AQECAQE=\"}\nw\nb\ntxx\na\nr{}",
    "p\nr{\"id\":\"WlpaWlpaWlpaWlpaWlpaWg\",\"len\":5,\"off\":0,\"data\":\"MAMCAQE=\",\"unit\":600}\naxxxx\nr{\"next\":100}\nr{\"done\":true}\nr{\"idle\":true}",
];
