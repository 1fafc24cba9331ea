//! A PostgreSQL cluster of this process's own: made when the first test asks for it, gone with the
//! process, however that ends.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The shell outlives this process only until the pipe to its standard input closes.
const GUARD: &str = r#"
    "$1/postgres" -D "$2/data" -p "$3" -k "$2" -c listen_addresses=127.0.0.1 -c fsync=off \
        -c full_page_writes=off -c synchronous_commit=off -c max_connections=300 \
        -c shared_buffers="$4" -c max_wal_size="$5" >"$2/log" 2>&1 &
    server=$!
    read -r _
    kill -INT $server
    wait $server
    rm -rf "$2"
"#;

/// Whether a database is larger than the memory: its data is on the disk then, with a larger cache. Set
/// before the cluster starts.
pub static HAS_MUCH_DATA: AtomicBool = AtomicBool::new(false);

struct Cluster {
    url: String,
    /// Holds the other end of the guard's standard input.
    _guard: Child,
}

/// The URL of the cluster, without a database; `None` when this machine has no PostgreSQL.
///
/// # Panics
/// Where `CI` is `true`, which must not pass without PostgreSQL.
pub fn url() -> Option<&'static str> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| match binaries() {
        Some(folder) => Some(start(&folder)),
        None if std::env::var_os("CI").is_some_and(|ci| ci == "true") => {
            panic!("CI needs PostgreSQL: install it, or name the folder of initdb in CP_PG_BIN")
        }
        None => {
            eprintln!("PostgreSQL is not installed: its half of the tests is skipped");
            None
        }
    });
    cluster.as_ref().map(|cluster| cluster.url.as_str())
}

/// The folder of `initdb` and `postgres`: `CP_PG_BIN`, else `PATH`, else Debian's own place.
pub fn binaries() -> Option<PathBuf> {
    let named = std::env::var_os("CP_PG_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let debian = debian.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let complete =
        |folder: &PathBuf| ["initdb", "postgres"].iter().all(|b| folder.join(b).exists());
    let found =
        named.into_iter().chain(std::env::split_paths(&path)).chain(debian).find(complete)?;
    // A link on the PATH is followed: PostgreSQL finds its own files beside its real place.
    found.join("initdb").canonicalize().ok()?.parent().map(Path::to_owned)
}

fn start(binaries: &Path) -> Cluster {
    let mut folder = tempfile::Builder::new();
    let folder = folder.prefix("tests-postgres-").tempdir_in(place()).unwrap().keep();
    own(&folder);
    let made = command(binaries.join("initdb").as_os_str())
        .args(["-U", "tests", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C", "-D"])
        .arg(folder.join("data"))
        .output()
        .unwrap();
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    let port = reserved_address().port();
    let guard = command(OsStr::new("sh"))
        .args(["-c", GUARD, "sh"])
        .args([binaries, &folder])
        .arg(port.to_string())
        .args(match HAS_MUCH_DATA.load(Ordering::Relaxed) {
            true => ["2GB", "8GB"],
            false => ["64MB", "1GB"],
        })
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Control-C is for the tests; the guard still has to clean up after them.
        .process_group(0)
        .spawn()
        .unwrap();
    wait_until_ready(&folder.join("log"));
    Cluster { url: format!("postgres://tests@127.0.0.1:{port}"), _guard: guard }
}

/// A loopback address for a server that stops and starts again at the same one. No other test gets
/// it meanwhile: its port is below those that systems give to a listener without one.
pub fn reserved_address() -> SocketAddr {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Processes that run at once begin at distant ports.
    let begin = std::process::id().wrapping_mul(211);
    let candidates = std::iter::repeat_with(|| {
        let next = begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        u16::try_from(FIRST + next % COUNT).unwrap()
    });
    candidates
        .take(COUNT as usize)
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("every port is taken")
}

/// A command as an account that is not root: PostgreSQL and PgBouncer refuse to run as root.
pub fn command(program: &OsStr) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if rustix::process::geteuid().is_root() {
        let (user, group) = unprivileged();
        command.uid(user).gid(group);
    }
    command
}

/// Gives a file or a folder to the account of such commands.
pub fn own(path: &Path) {
    if rustix::process::geteuid().is_root() {
        let (user, group) = unprivileged();
        std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
    }
}

/// Memory, where there is plenty: a database is some hundred files to copy, and each test has one.
fn place() -> PathBuf {
    const ENOUGH: u64 = 8 << 30;
    let memory = Path::new("/dev/shm");
    match rustix::fs::statvfs(memory) {
        Ok(_) if HAS_MUCH_DATA.load(Ordering::Relaxed) => std::env::temp_dir(),
        Ok(found) if found.f_bavail * found.f_frsize >= ENOUGH => memory.to_owned(),
        _ => std::env::temp_dir(),
    }
}

/// The log shows readiness: there may be no client program to ask with.
pub fn wait_until_ready(log: &Path) {
    let started = Instant::now();
    loop {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        if text.contains("ready to accept ") {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "PostgreSQL did not start: {text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn unprivileged() -> (u32, u32) {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap();
    let ids_of = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids_of("postgres").or_else(|| ids_of("nobody")).expect("an unprivileged account to run as")
}
