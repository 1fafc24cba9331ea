//! The processor time of this process and of the database's processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::world::World;

/// A switch to another task updates the accounts of the kernel.
const SWITCH: Duration = Duration::from_micros(200);

/// Measures a world.
pub struct Meter {
    /// A part of the command line of the database's processes.
    title: Option<String>,
}

impl Meter {
    pub fn of(world: &World) -> Self {
        let name = world.database_name();
        Self { title: name.map(|name| format!("postgres: tests {name} ")) }
    }

    /// Returns the processor time of some work, and its result.
    pub async fn time<T>(&self, work: impl Future<Output = T>) -> (Duration, T) {
        let before = self.read();
        let result = work.await;
        let after = self.read();
        // A task that ended meanwhile is not counted.
        let spent = after.iter().map(|(task, spent)| {
            let before = before.get(task).copied().unwrap_or_default();
            spent.saturating_sub(before)
        });
        (Duration::from_nanos(spent.sum()), result)
    }

    /// The nanoseconds of each task.
    fn read(&self) -> BTreeMap<u32, u64> {
        sleep(SWITCH);
        let mut tasks = BTreeMap::new();
        for task in numbers(Path::new("/proc/self/task")) {
            tasks.insert(task, spent(&format!("/proc/self/task/{task}/schedstat")));
        }
        let Some(title) = &self.title else { return tasks };
        for process in numbers(Path::new("/proc")) {
            let is_backend = fs::read(format!("/proc/{process}/cmdline"))
                .is_ok_and(|text| text.starts_with(title.as_bytes()));
            if is_backend {
                tasks.insert(process, spent(&format!("/proc/{process}/schedstat")));
            }
        }
        tasks
    }
}

fn numbers(folder: &Path) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(folder).unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The first number is the time on a processor; zero when the task has ended.
fn spent(path: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split(' ').next().unwrap_or_default().parse().unwrap_or_default()
}
