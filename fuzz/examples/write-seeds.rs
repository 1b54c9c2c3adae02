//! Writes the seeds of every target to `DIR/TARGET/` and prints the targets: `cargo run --example write-seeds DIR`.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let dir = PathBuf::from(
        env::args_os()
            .nth(1)
            .ok_or_else(|| io::Error::other("usage: write-seeds DIR"))?,
    );
    for (name, _) in fuzz::TARGETS {
        fs::create_dir_all(dir.join(name))?;
        for (file, bytes) in fuzz::seeds(name) {
            fs::write(dir.join(name).join(file), bytes)?;
        }
        println!("{name}");
    }
    Ok(())
}
