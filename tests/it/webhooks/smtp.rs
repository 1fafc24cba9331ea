//! An SMTP server on this machine that answers as a test plans (RFC 5321).

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A message that was accepted.
#[derive(Clone, Debug)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    /// The headers and the text, as they were sent.
    pub data: String,
}

impl Mail {
    /// The value of a header.
    pub fn header(&self, name: &str) -> &str {
        let head = self.data.split("\r\n\r\n").next().unwrap();
        let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {head}"))
    }

    /// The text, without the line breaks of quoted-printable.
    pub fn text(&self) -> String {
        let text = self.data.split_once("\r\n\r\n").unwrap().1;
        text.replace("=\r\n", "").replace("=3D", "=").replace("\r\n", "\n")
    }
}

/// What the server does at a command, such as `RCPT`.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers with this line.
    Answer(&'static str),
    /// Does not answer.
    Stall,
    /// Closes the connection.
    Drop,
}

#[derive(Default)]
struct Inner {
    mails: Vec<Mail>,
    faults: Vec<(&'static str, Fault)>,
    connections: usize,
}

pub struct Smtp {
    pub port: u16,
    inner: Arc<Mutex<Inner>>,
    serving: JoinHandle<()>,
}

impl Drop for Smtp {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Smtp {
    pub async fn start() -> Self {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = inner.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                state.lock().unwrap().connections += 1;
                let state = state.clone();
                tokio::spawn(async move {
                    // The client may leave at any time.
                    let _ = serve(stream, state).await;
                });
            }
        });
        Self { port, inner, serving }
    }

    /// The URL of the server, without encryption.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}?tls=none", self.port)
    }

    /// Fails at commands that begin with this text: `RCPT TO:<a@b.example>`, or `DATA`. `.` is the end of
    /// the message.
    pub fn fail(&self, at: &'static str, fault: Fault) {
        self.inner.lock().unwrap().faults.push((at, fault));
    }

    pub fn recover(&self) {
        self.inner.lock().unwrap().faults.clear();
    }

    pub fn connections(&self) -> usize {
        self.inner.lock().unwrap().connections
    }

    /// The messages since the last call.
    pub fn take(&self) -> Vec<Mail> {
        std::mem::take(&mut self.inner.lock().unwrap().mails)
    }
}

async fn serve(stream: TcpStream, inner: Arc<Mutex<Inner>>) -> std::io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut lines = BufReader::new(reading).lines();
    let (mut from, mut to) = (String::new(), Vec::new());
    let mut command = "CONNECT".to_owned();
    loop {
        let fault = {
            let inner = inner.lock().unwrap();
            inner
                .faults
                .iter()
                .find(|(at, _)| command.starts_with(at))
                .map(|(_, fault)| fault.clone())
        };
        let verb = command.split(' ').next().unwrap_or_default().to_uppercase();
        let answer = match fault {
            Some(Fault::Stall) => std::future::pending().await,
            Some(Fault::Drop) => return Ok(()),
            Some(Fault::Answer(line)) => line.to_owned(),
            None => match verb.as_str() {
                "CONNECT" => "220 mail.test ready".to_owned(),
                "EHLO" => "250-mail.test\r\n250-8BITMIME\r\n250 SIZE 1000000".to_owned(),
                "MAIL" => {
                    (from, to) = (bracketed(&command), Vec::new());
                    "250 ok".to_owned()
                }
                "RCPT" => {
                    to.push(bracketed(&command));
                    "250 ok".to_owned()
                }
                "DATA" => "354 go on".to_owned(),
                "." => "250 queued".to_owned(),
                "QUIT" => "221 bye".to_owned(),
                _ => "502 unknown".to_owned(),
            },
        };
        writing.write_all(format!("{answer}\r\n").as_bytes()).await?;
        if verb == "QUIT" {
            return Ok(());
        }
        if verb == "DATA" && answer.starts_with('3') {
            let mut data = String::new();
            loop {
                let Some(line) = lines.next_line().await? else { return Ok(()) };
                if line == "." {
                    break;
                }
                data.push_str(line.strip_prefix('.').unwrap_or(&line));
                data.push_str("\r\n");
            }
            ".".clone_into(&mut command);
            let fails = inner.lock().unwrap().faults.iter().any(|(at, _)| *at == ".");
            if !fails {
                let mail = Mail { from: from.clone(), to: to.clone(), data };
                inner.lock().unwrap().mails.push(mail);
            }
            continue;
        }
        let Some(line) = lines.next_line().await? else { return Ok(()) };
        command = line;
    }
}

fn bracketed(command: &str) -> String {
    let after = command.split('<').nth(1).unwrap_or_default();
    after.split('>').next().unwrap_or_default().to_owned()
}
