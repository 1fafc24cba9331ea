//! What a member who writes as much as they may costs the others: memory and disk.

use serde_json::json;

use crate::server::{Server, TOKEN, folder};

/// Linux alone reports the peak memory of a process.
#[cfg(target_os = "linux")]
#[test]
fn large_objects_and_long_lists_take_bounded_memory_and_disk() {
    let folder = folder();
    let server = Server::start(folder.path());
    let organization =
        server.post("/organizations", json!({"name": "Acme", "plan_code": "enterprise"}));
    let path = format!("/organizations/{}", organization["id"].as_str().unwrap());
    let mut sent = 0;
    let mut change = |project: &str, n: usize| {
        // Many small members: they take the most memory for their bytes.
        let many: Vec<usize> = (n..n + 900).collect();
        let metadata = json!({"list": vec![many; 8], "text": "x".repeat(10_000)});
        sent += metadata.to_string().len();
        let body = Some(json!({"metadata": metadata}));
        let (status, answer) =
            server.call("PATCH", &format!("/api/v1/projects/{project}"), body, &format!("{n}"));
        assert_eq!(status, 200, "{answer}");
    };
    for p in 0..20 {
        let project = json!({"name": format!("Project {p}")});
        let project = server.post(&format!("{path}/projects"), project);
        for n in 0..30 {
            change(project["id"].as_str().unwrap(), p * 1000 + n);
        }
    }
    let process = format!("/proc/{}", server.child.id());
    // 5 forgets the peak that was (proc(5), clear_refs).
    std::fs::write(format!("{process}/clear_refs"), "5").unwrap();
    let before = peak(&process);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for list in ["audit", "projects", "audit", "projects"] {
                    let url = format!("http://{}/api/v1{path}/{list}?limit=500", server.address);
                    let answer =
                        ureq::get(url).header("authorization", format!("Bearer {TOKEN}")).call();
                    let text = answer.unwrap().body_mut().read_to_vec().unwrap();
                    assert!(text.len() < 1_300_000, "{list} is answered with {} bytes", text.len());
                }
            });
        }
    });
    let grown = peak(&process).saturating_sub(before);
    assert!(grown < 160 * 1024, "the lists took {grown} kB more");
    let file = folder.path().join("data/control-plane.db");
    let size = usize::try_from(file.metadata().unwrap().len()).unwrap();
    assert!(
        size < 3 * sent + 8 * 1024 * 1024,
        "{size} bytes on the disk for {sent} that were sent"
    );
}

/// The most memory that the process had, in kilobytes.
fn peak(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}
