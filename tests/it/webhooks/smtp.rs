//! An SMTP server on this machine that answers as a test plans (RFC 5321).

use std::io;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use ureq::tls::Certificate;

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

/// The encryption of the server, with a certificate for `localhost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    None,
    /// From the first byte.
    Implicit,
    /// After STARTTLS.
    Started,
}

#[derive(Default)]
struct Inner {
    mails: Vec<Mail>,
    /// The users and passwords of `AUTH PLAIN`, and whether the connection was encrypted.
    logins: Vec<(String, bool)>,
    faults: Vec<(&'static str, Fault)>,
    connections: usize,
}

pub struct Smtp {
    pub port: u16,
    /// The authority of the server's certificate.
    pub authority: Certificate<'static>,
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
        Self::with(Encryption::None).await
    }

    pub async fn with(encryption: Encryption) -> Self {
        let (acceptor, authority) = acceptor();
        let inner = Arc::new(Mutex::new(Inner::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = inner.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                state.lock().unwrap().connections += 1;
                let (state, acceptor) = (state.clone(), acceptor.clone());
                tokio::spawn(async move {
                    // The client may leave at any time.
                    let _: io::Result<()> = async {
                        match encryption {
                            Encryption::Implicit => {
                                let stream = acceptor.accept(stream).await?;
                                serve(stream, &state, "CONNECT", true, false).await?;
                            }
                            _ => {
                                let starts = encryption == Encryption::Started;
                                let started =
                                    serve(stream, &state, "CONNECT", false, starts).await?;
                                if let Some(stream) = started {
                                    let stream = acceptor.accept(stream).await?;
                                    serve(stream, &state, "", true, false).await?;
                                }
                            }
                        }
                        Ok(())
                    }
                    .await;
                });
            }
        });
        Self { port, authority, inner, serving }
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

    /// The logins so far: user and password, and whether the connection was encrypted.
    pub fn logins(&self) -> Vec<(String, bool)> {
        self.inner.lock().unwrap().logins.clone()
    }

    /// The messages since the last call.
    pub fn take(&self) -> Vec<Mail> {
        std::mem::take(&mut self.inner.lock().unwrap().mails)
    }
}

/// Creates an authority, and a certificate of it for `localhost`.
fn acceptor() -> (TlsAcceptor, Certificate<'static>) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap();
    let root = Certificate::from_der(root.der()).to_owned();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let own = own.signed_by(&key, &issuer).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], key.into())
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), root)
}

/// Serves a connection, whose first command is this one. Returns the stream after STARTTLS.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    inner: &Mutex<Inner>,
    first: &str,
    is_encrypted: bool,
    starts: bool,
) -> io::Result<Option<S>> {
    let mut lines = BufReader::new(stream).lines();
    let (mut from, mut to) = (String::new(), Vec::new());
    let mut command = first.to_owned();
    if first.is_empty() {
        let Some(line) = lines.next_line().await? else { return Ok(None) };
        command = line;
    }
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
            Some(Fault::Drop) => return Ok(None),
            Some(Fault::Answer(line)) => line.to_owned(),
            None => match verb.as_str() {
                "CONNECT" => "220 mail.test ready".to_owned(),
                "EHLO" => {
                    let starts = if starts { "250-STARTTLS\r\n" } else { "" };
                    let logs_in = if is_encrypted { "250-AUTH PLAIN\r\n" } else { "" };
                    format!("250-mail.test\r\n{starts}{logs_in}250-8BITMIME\r\n250 SIZE 1000000")
                }
                "STARTTLS" if starts => "220 go on".to_owned(),
                "AUTH" => {
                    let login = STANDARD.decode(command.rsplit(' ').next().unwrap()).unwrap();
                    let login = String::from_utf8(login).unwrap().replace('\0', " ");
                    let login = login.trim().to_owned();
                    inner.lock().unwrap().logins.push((login, is_encrypted));
                    "235 ok".to_owned()
                }
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
        let stream = lines.get_mut();
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
        stream.flush().await?;
        if verb == "QUIT" {
            return Ok(None);
        }
        if verb == "STARTTLS" && answer.starts_with('2') {
            return Ok(Some(lines.into_inner().into_inner()));
        }
        if verb == "DATA" && answer.starts_with('3') {
            let mut data = String::new();
            loop {
                let Some(line) = lines.next_line().await? else { return Ok(None) };
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
        let Some(line) = lines.next_line().await? else { return Ok(None) };
        command = line;
    }
}

fn bracketed(command: &str) -> String {
    let after = command.split('<').nth(1).unwrap_or_default();
    after.split('>').next().unwrap_or_default().to_owned()
}
