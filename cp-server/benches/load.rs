//! What the server is worth to its callers while others misbehave: whoami a second beside slow
//! readers, slow writers, many connections and a flood of made-up tokens, against whoami alone in the
//! same run; and the memory of the process, which must not grow from one pass to the next.
//!
//! All of it runs on loopback, client and server on the same cores: what the misbehaving cost *as
//! clients* is in the ratio, too. The last column shows how much that is: the same whoami while they
//! do the same to a peer that closes every connection at once.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot measure has nothing to say")]

mod measure;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::interval;

use self::measure::local::is_test;
use self::measure::network::rate;
use self::measure::process::{Process, request};

const CALLERS: usize = 8;
const ROUND: Duration = Duration::from_secs(3);
const PASSES: usize = 5;

fn main() {
    if is_test() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Process::serve(
        folder.path(),
        // The callers go as fast as they can, which is faster than one credential may.
        &[("CP_RATE_CREDENTIAL", "off"), ("CP_LOG", "warn,cp_server::cli=info")],
    );
    fill(&server);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let closing = closing();
    let address = server.address;
    let attacks = [
        ("500 connections that ask once a second", Attack::Many),
        ("300 heads that come a byte at a time", Attack::SlowHeads),
        ("200 clients that read nothing", Attack::SlowReaders),
        ("20 HTTP/2 connections that ask without a pause", Attack::Multiplexed),
        ("1,000 made-up tokens a second, of one address", Attack::Guesses),
        ("1,000 requests a second without a token", Attack::Strangers),
    ];
    let mut runs: [[Vec<f64>; 3]; 6] = Default::default();
    // Connections, caches and pools have their size after a first round.
    whoami(&server);
    println!("resident before: {:.1} MiB", memory(&server, "VmRSS:"));
    for pass in 1..=PASSES {
        for ((_, attack), [quiet, beside, elsewhere]) in attacks.iter().zip(&mut runs) {
            quiet.push(whoami(&server));
            for (at, into) in [(address, beside), (closing, elsewhere)] {
                let attackers = runtime.block_on(attack.begin(at));
                into.push(whoami(&server));
                drop(attackers);
            }
        }
        println!("resident after pass {pass}: {:.1} MiB", memory(&server, "VmRSS:"));
    }
    println!("resident at most: {:.1} MiB", memory(&server, "VmHWM:"));
    println!(
        "\n{:<46} {:>8} {:>8} {:>6} {:>14}",
        "whoami/s, medians", "quiet", "beside", "ratio", "peer's ratio"
    );
    for ((what, _), runs) in attacks.iter().zip(runs) {
        let [quiet, beside, elsewhere] = runs.map(median);
        let (ratio, peer) = (beside / quiet, elsewhere / quiet);
        println!("{what:<46} {quiet:>8.0} {beside:>8.0} {ratio:>6.2} {peer:>14.2}");
    }
    let (status, _) = server.call("GET", "/readyz", None);
    assert_eq!(status, 200);
}

/// A peer that sends no answer: it closes each connection that it accepts.
fn closing() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    address
}

fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

#[derive(Clone, Copy)]
enum Attack {
    Many,
    SlowHeads,
    SlowReaders,
    Multiplexed,
    Guesses,
    Strangers,
}

impl Attack {
    /// Goes on until it is dropped.
    async fn begin(self, address: SocketAddr) -> JoinSet<()> {
        let mut attackers = JoinSet::new();
        let connections = match self {
            Self::Many => 500,
            Self::SlowHeads => 300,
            Self::SlowReaders => 200,
            Self::Multiplexed | Self::Guesses | Self::Strangers => 20,
        };
        for n in 0..connections {
            attackers.spawn(async move {
                // Who is let go comes back.
                loop {
                    let _ = self.connection(address, n).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
        attackers
    }

    async fn connection(self, address: SocketAddr, n: u64) -> std::io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        if let Self::SlowReaders = self {
            socket.set_recv_buffer_size(4096)?;
        }
        // Not the address of the callers.
        socket.bind("127.0.0.9:0".parse().unwrap())?;
        let mut stream = socket.connect(address).await?;
        let mut buffer = [0; 4096];
        match self {
            Self::Many => {
                let mut ticks = interval(Duration::from_secs(1));
                loop {
                    ticks.tick().await;
                    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await?;
                    if stream.read(&mut buffer).await? == 0 {
                        return Ok(());
                    }
                }
            }
            Self::SlowHeads => {
                let mut ticks = interval(Duration::from_millis(500));
                for byte in
                    b"GET / HTTP/1.1\r\nhost: x\r\nx: ".iter().chain(std::iter::repeat(&b'a'))
                {
                    ticks.tick().await;
                    stream.write_all(&[*byte]).await?;
                }
                Ok(())
            }
            Self::SlowReaders => loop {
                stream.write_all(&b"GET /docs HTTP/1.1\r\nhost: x\r\n\r\n".repeat(50)).await?;
            },
            Self::Multiplexed => {
                let (mut client, connection) =
                    h2::client::handshake(stream).await.map_err(std::io::Error::other)?;
                let mut connection = tokio::spawn(connection);
                let asking = async {
                    let mut asked = FuturesUnordered::new();
                    loop {
                        client = client.ready().await?;
                        let ask = axum::http::Request::get("http://x/healthz").body(()).unwrap();
                        asked.push(client.send_request(ask, true)?.0);
                        if asked.len() >= 100 {
                            asked.next().await.transpose()?;
                        }
                    }
                };
                let asking: Result<(), h2::Error> = tokio::select! {
                    failed = asking => failed,
                    _ = &mut connection => Ok(()),
                };
                connection.abort();
                asking.map_err(std::io::Error::other)
            }
            Self::Guesses | Self::Strangers => {
                let mut ticks = interval(Duration::from_millis(20));
                for guess in 0_u64.. {
                    ticks.tick().await;
                    let token = match self {
                        Self::Guesses => {
                            format!("authorization: Bearer guess-{n:04}-{guess:012}\r\n")
                        }
                        _ => String::new(),
                    };
                    let ask = format!("GET /api/v1/me HTTP/1.1\r\nhost: x\r\n{token}\r\n");
                    stream.write_all(ask.as_bytes()).await?;
                    if stream.read(&mut buffer).await? == 0 {
                        return Ok(());
                    }
                }
                Ok(())
            }
        }
    }
}

/// Creates a person whom whoami finds.
fn fill(server: &Process) {
    let (_, user) = server.call("POST", "/api/v1/users", Some(json!({"email": "a@b.example"})));
    let id = user["id"].as_str().unwrap();
    let account = json!({"provider": "auth0", "subject": "anna"});
    let made = server.call("POST", &format!("/api/v1/users/{id}/auth-accounts"), Some(account));
    assert_eq!(made.0, 201, "{}", made.1);
    let org = json!({"name": "Acme", "owner_user_id": id});
    assert_eq!(server.call("POST", "/api/v1/organizations", Some(org)).0, 201);
}

/// whoami a second, of so many callers on a connection each.
fn whoami(server: &Process) -> f64 {
    let ask = request("GET", "/api/v1/users/whoami?provider=auth0&subject=anna", "");
    rate(server.address, &ask, CALLERS, ROUND)
}

/// Returns what the process has in memory, in MiB.
fn memory(server: &Process, which: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(which)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
