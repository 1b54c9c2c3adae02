//! CMP over HTTP (RFC 9811), the least of it: a client, and a server whose answers a test decides.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use cmp_message::{BodyType, PkiMessage};

use crate::DEADLINE;

/// A request and its response, as they were on the wire.
pub type Exchanged = (Vec<u8>, Vec<u8>);

/// What the requests are.
#[must_use]
pub fn kinds(seen: &[Exchanged]) -> Vec<BodyType> {
    let kind = |message: &[u8]| PkiMessage::from_bytes(message).unwrap().body.body_type();
    seen.iter().map(|(request, _)| kind(request)).collect()
}

/// A server that hands each request to a closure, one at a time, and remembers both.
pub struct Door {
    address: String,
    seen: Arc<Mutex<Vec<Exchanged>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    /// Opens a door. What `answer` returns is sent; `None` closes the connection without an answer.
    pub fn open(mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (record, stopped) = (seen.clone(), stop.clone());
        // One thread for all: programs that `answer` starts live as long as it does.
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A peer that goes away is its own business; the next one is served.
                let _ = serve(&stream, &mut answer, &record);
            }
        });
        Self {
            address,
            seen,
            stop,
            thread: Some(thread),
        }
    }

    /// A door in front of the server at `upstream` (`HOST:PORT`), every byte passed on.
    #[must_use]
    pub fn before(upstream: String) -> Self {
        Self::open(move |request| Some(post(&upstream, "/pkix/", request).unwrap()))
    }

    /// A door in front of the server at `upstream` that holds request number `at`, counted from 1, until it is let go.
    #[must_use]
    pub fn holding(upstream: String, at: usize) -> (Self, Held) {
        let (asked, is_asked) = channel();
        let (go, may_go) = channel::<()>();
        let mut count = 0;
        let door = Self::open(move |request| {
            count += 1;
            if count == at {
                asked.send(()).unwrap();
                may_go.recv().unwrap();
            }
            Some(post(&upstream, "/pkix/", request).unwrap())
        });
        (door, Held { is_asked, go })
    }

    /// Where the door is.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The same as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/pkix/", self.address)
    }

    /// All that went through, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<Exchanged> {
        self.seen.lock().unwrap().clone()
    }
}

/// A request that is held at a door.
pub struct Held {
    is_asked: Receiver<()>,
    go: Sender<()>,
}

impl Held {
    /// Waits until the request has come.
    pub fn wait(&self) {
        self.is_asked.recv_timeout(DEADLINE).unwrap();
    }

    /// Lets it go.
    pub fn release(self) {
        self.go.send(()).unwrap();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accept.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let failed = thread.join().is_err();
            assert!(!failed || thread::panicking(), "the door's thread failed");
        }
    }
}

type Answer<'a> = &'a mut (dyn FnMut(&[u8]) -> Option<Vec<u8>> + Send);

/// One request for each connection.
fn serve(stream: &TcpStream, answer: Answer<'_>, record: &Mutex<Vec<Exchanged>>) -> io::Result<()> {
    stream.set_read_timeout(Some(DEADLINE))?;
    let (_, request) = read_message(&mut BufReader::new(stream))?;
    let Some(response) = answer(&request) else {
        record.lock().unwrap().push((request, Vec::new()));
        return stream.shutdown(Shutdown::Both);
    };
    record.lock().unwrap().push((request, response.clone()));
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/pkixcmp\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        response.len()
    );
    let mut writer = stream;
    writer.write_all(&[head.as_bytes(), &response].concat())
}

/// Posts a CMP message; the body of the answer, whatever the status.
///
/// # Errors
/// Of the connection, or an answer that is not HTTP.
pub fn post(address: &str, path: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/pkixcmp\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    Ok(read_message(&mut BufReader::new(&stream))?.1)
}

/// Start line and body. A body without Content-Length ends with the connection.
fn read_message(reader: &mut BufReader<&TcpStream>) -> io::Result<(String, Vec<u8>)> {
    let mut start = String::new();
    reader.read_line(&mut start)?;
    let mut len = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            len = value.trim().parse::<usize>().ok();
        }
    }
    let mut body = Vec::new();
    match len {
        Some(len) => {
            body.resize(len, 0);
            reader.read_exact(&mut body)?;
        }
        None => drop(reader.read_to_end(&mut body)?),
    }
    Ok((start, body))
}
