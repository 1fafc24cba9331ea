//! The times of tests. With `TEST_TIMES=<file>` each test adds a line: its seconds, and its name.

use std::fs::OpenOptions;
use std::io::Write;
use std::thread;
use std::time::Instant;

/// Measures the test of this thread until it is dropped.
pub struct TestTime(Instant);

impl TestTime {
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Drop for TestTime {
    fn drop(&mut self) {
        let Some(file) = std::env::var_os("TEST_TIMES") else { return };
        let (thread, seconds) = (thread::current(), self.0.elapsed().as_secs_f64());
        let line = format!("{seconds:.2} {}\n", thread.name().unwrap_or("?"));
        let file = OpenOptions::new().create(true).append(true).open(file);
        // One write, so that lines of several tests do not mix.
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}
