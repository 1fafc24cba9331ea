//! A server in its own process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::connection::{self, Connection};

/// The superadmin's token of a server that [`Process::serve`] starts.
pub(crate) const TOKEN: &str = "bootstrap-token-of-the-load";

/// A server, which ends when this is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts `cp-server serve` with its database in this folder, or where the variables say.
    pub(crate) fn serve(folder: &std::path::Path, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cp-server"));
        command
            .arg("serve")
            .current_dir(folder)
            .env_clear()
            .env("CP_LISTEN", "127.0.0.1:0")
            .env("CP_BOOTSTRAP_TOKEN", TOKEN)
            .envs(variables.iter().copied());
        Self::start(command)
    }

    /// Starts a server that writes `address=` and its address to standard error.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            let (_, rest) = line.split_once("address=")?;
            rest.split(' ').next()?.parse().ok()
        });
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: address.unwrap() }
    }

    /// Returns the status and the JSON of an answer.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map_or_else(String::new, |body| body.to_string());
        let mut connection = Connection::to(self.address);
        let (status, text) = connection.ask(&request(method, path, &body));
        (status, serde_json::from_slice(text).unwrap_or_default())
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request with the superadmin's token.
pub(crate) fn request(method: &str, path: &str, body: &str) -> String {
    connection::request(method, path, TOKEN, body)
}
