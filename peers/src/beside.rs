//! A program that runs beside this one and measures in turn with it.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::sample::Sample;

pub struct Beside {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Where its app listens.
    pub address: SocketAddr,
}

impl Beside {
    pub fn start(program: &str, sample: &Sample) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().expect("piped");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        writeln!(input, "{}\n{}", sample.jwks, sample.token)?;
        let mut line = String::new();
        output.read_line(&mut line)?;
        Ok(Self { child, input, output, address: line.trim().parse()? })
    }

    pub fn time(&mut self, checks: u32) -> anyhow::Result<Duration> {
        writeln!(self.input, "{checks}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(Duration::from_nanos(line.trim().parse()?))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // It has nothing to lose.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
