//! Programs that are started by a test.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::DEADLINE;

/// A program that runs. It ends with this value, and with the thread that started it.
pub struct Program {
    name: String,
    child: Child,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Output {
    lines: Mutex<Lines>,
    more: Condvar,
}

#[derive(Default)]
struct Lines {
    all: Vec<String>,
    open: usize,
}

/// How a program ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote, both streams line by line as they came.
    pub output: String,
}

impl Finished {
    /// The same, if it ended well.
    #[must_use]
    #[track_caller]
    pub fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.output);
        self
    }

    /// The same, if it ended with `code` and said `text`.
    #[must_use]
    #[track_caller]
    pub fn failure(self, code: i32, text: &str) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.output);
        assert!(
            self.output.contains(text),
            "nothing of {text:?} in:\n{}",
            self.output
        );
        self
    }
}

/// Runs a program to its end.
#[track_caller]
#[must_use]
pub fn run(program: &str, arguments: &[&str]) -> Finished {
    Program::start(program, arguments).finish()
}

impl Program {
    /// Starts `program`, killed when the calling thread ends.
    #[track_caller]
    #[must_use]
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", program])
            .args(arguments);
        command.env("PYTHONUNBUFFERED", "1").env_remove("RUST_BACKTRACE");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("setpriv {program}: {e}"));
        let output = Arc::new(Output::default());
        output.lines.lock().unwrap().open = 2;
        let readers = vec![
            collect(child.stdout.take().unwrap(), output.clone()),
            collect(child.stderr.take().unwrap(), output.clone()),
        ];
        Self {
            name: program.into(),
            child,
            output,
            readers,
        }
    }

    /// Waits for a line, present or future, that has `text` in it.
    #[track_caller]
    #[must_use]
    pub fn wait_line(&self, text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        let mut lines = self.output.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.all.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                lines.open > 0 && !left.is_zero(),
                "{} did not say {text:?}, but:\n{}",
                self.name,
                lines.all.join("\n")
            );
            lines = self.output.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// The address of the line `listening on ADDRESS`.
    #[track_caller]
    #[must_use]
    pub fn address(&self) -> String {
        let line = self.wait_line("listening on ");
        line.rsplit(' ').next().unwrap().to_owned()
    }

    /// What it wrote so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.output.lines.lock().unwrap().all.join("\n")
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends it at once, as a loss of power does.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Sends it a signal, such as `HUP`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {}", self.name);
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    #[track_caller]
    #[must_use]
    pub fn terminate(self) -> Finished {
        self.signal("TERM");
        self.finish()
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    #[must_use]
    pub fn finish(mut self) -> Finished {
        let end = Instant::now() + DEADLINE;
        let mut lines = self.output.lines.lock().unwrap();
        while lines.open > 0 {
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{} does not end:\n{}",
                self.name,
                lines.all.join("\n")
            );
            lines = self.output.more.wait_timeout(lines, left).unwrap().0;
        }
        drop(lines);
        let status: ExitStatus = self.child.wait().unwrap();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        Finished {
            code: status.code(),
            output: self.output(),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- {}:\n{}", self.name, self.output());
        }
    }
}

fn collect(stream: impl Read + Send + 'static, output: Arc<Output>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            output.lines.lock().unwrap().all.push(text);
            output.more.notify_all();
            line.clear();
        }
        output.lines.lock().unwrap().open -= 1;
        output.more.notify_all();
    })
}
