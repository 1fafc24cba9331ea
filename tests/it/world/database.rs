//! A database for every test: cloned from a template that was migrated and filled once.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use cp_server::kernel::db::{Db, FileOptions, Growth};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqliteSynchronous;
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;
use tokio::runtime::Builder;

use super::cluster;
use super::times::TestTime;

/// The name of an SQLite file in its folder.
pub const FILE: &str = "test.db";

/// Where a test's data is; it ends with the test.
pub struct Database {
    pub db: Db,
    /// The URL in the settings of a server.
    pub url: String,
    /// The folder of the SQLite file, which is deleted with it.
    folder: Option<TempDir>,
    /// The PostgreSQL database, which is dropped with it.
    dropped: Option<Dropped>,
    _time: TestTime,
}

impl Database {
    /// A copy of the template file.
    pub async fn sqlite(template: Option<&[u8]>) -> Self {
        Self::sqlite_with(template, Growth::default()).await
    }

    /// A copy whose groups of transactions grow for that time.
    pub async fn sqlite_with(template: Option<&[u8]>, growth: Growth) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if let Some(template) = template {
            std::fs::write(folder.path().join(FILE), template).unwrap();
        }
        Self::open(folder, growth).await
    }

    /// The file in this folder.
    pub async fn sqlite_in(folder: TempDir) -> Self {
        Self::open(folder, Growth::default()).await
    }

    async fn open(folder: TempDir, growth: Growth) -> Self {
        let time = TestTime::start();
        let file = folder.path().join(FILE);
        // The data of a test is temporary, so no commit waits for the disk.
        let synchronous = SqliteSynchronous::Off;
        let options = FileOptions { synchronous, growth, ..FileOptions::default() };
        let db = Db::open_sqlite(&file, options).await.unwrap();
        let url = format!("sqlite:{}", file.display());
        Self { db, url, folder: Some(folder), dropped: None, _time: time }
    }

    /// `None` where there is no PostgreSQL.
    pub async fn postgres(template: Option<&str>) -> Option<Self> {
        let time = TestTime::start();
        let url = tokio::task::spawn_blocking(cluster::url).await.unwrap()?;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        create(url, &name, template).await;
        let dropped = Some(Dropped { server: url, name: name.clone() });
        let url = format!("{url}/{name}");
        let db = Db::open(&url).await.unwrap();
        Some(Self { db, url, folder: None, dropped, _time: time })
    }

    /// Closes it for good, so that it can be copied.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// Closes it, and returns the folder of its SQLite file.
    pub async fn into_folder(self) -> TempDir {
        self.db.close().await;
        self.folder.expect("an SQLite database has a folder")
    }

    /// Closes it, and gives what clones are made from.
    pub async fn into_template(mut self) -> Template {
        self.db.close().await;
        if let Some(dropped) = &mut self.dropped {
            dropped.name.clear();
        }
        match (&self.db, &self.folder) {
            (Db::Postgres(pool), _) => {
                Template::Postgres(pool.connect_options().get_database().unwrap().to_owned())
            }
            (Db::Sqlite { .. }, folder) => {
                let folder = folder.as_ref().expect("an SQLite database has a folder");
                Template::Sqlite(std::fs::read(folder.path().join(FILE)).unwrap())
            }
        }
    }
}

/// A database that is dropped with this value. Those of all tests together would fill the memory.
struct Dropped {
    server: &'static str,
    name: String,
}

impl Drop for Dropped {
    fn drop(&mut self) {
        // A template stays.
        if self.name.is_empty() {
            return;
        }
        // The thread of a test may be inside a runtime, so another one drops.
        static NAMES: LazyLock<Sender<(&str, String)>> = LazyLock::new(|| {
            let (sender, names) = channel();
            thread::spawn(move || drop_all(&names));
            sender
        });
        let _ = NAMES.send((self.server, std::mem::take(&mut self.name)));
    }
}

fn drop_all(names: &Receiver<(&str, String)>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for (server, name) in names {
        runtime.block_on(run(server, format!("DROP DATABASE {name} WITH (FORCE)")));
    }
}

/// What clones are made from.
pub enum Template {
    /// The bytes of the file.
    Sqlite(Vec<u8>),
    /// The name of the database.
    Postgres(String),
}

async fn create(url: &str, name: &str, template: Option<&str>) {
    let template = template.unwrap_or("template0");
    run(url, format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
}

async fn run(url: &str, sql: String) {
    let admin: PgPool =
        PgPoolOptions::new().max_connections(1).connect(&format!("{url}/postgres")).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&admin).await.unwrap();
    admin.close().await;
}
