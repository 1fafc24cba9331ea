//! The log over audit events: what is published, what is proven, and what verification finds.

mod abridged;
mod erase;
mod integrator;
mod keys;
mod newest;
mod proofs;
mod verify;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ct_merkle::RootHash;
use sha2::Sha256;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::Checkpoint;

use crate::world::World;

/// What a checkpoint says, once its signature was checked with the published key.
pub struct Head {
    pub size: u64,
    pub root: RootHash<Sha256>,
}

/// Reads a checkpoint with the log's key.
pub async fn read(world: &World, checkpoint: &str) -> Head {
    let key = world.anyone().get("/log/key").await.text();
    let key = StandardVerifier::new(key.trim_end()).unwrap();
    let note = Note::from_bytes(checkpoint.as_bytes()).unwrap();
    note.verify(&VerifierList::new(vec![Box::new(key)])).unwrap();
    let checkpoint = Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!(checkpoint.origin(), "cp.example/api/v1/log");
    let (size, root) = (checkpoint.size(), checkpoint.hash().0);
    Head { size, root: RootHash::new(root.into(), size) }
}

pub async fn checkpoint(world: &World) -> String {
    let answer = world.anyone().get("/log/checkpoint").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

/// The parts of a proof (C2SP tlog-proof).
pub struct Proof {
    pub leaf: Vec<u8>,
    pub index: u64,
    pub path: Vec<sha2::digest::Output<Sha256>>,
    pub checkpoint: String,
}

pub fn parse(proof: &str) -> Proof {
    let (head, checkpoint) = proof.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
    let leaf = lines.next().unwrap().strip_prefix("extra ").unwrap();
    let index = lines.next().unwrap().strip_prefix("index ").unwrap();
    Proof {
        leaf: STANDARD.decode(leaf).unwrap(),
        index: index.parse().unwrap(),
        path: hashes(lines),
        checkpoint: checkpoint.to_owned(),
    }
}

pub fn hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<sha2::digest::Output<Sha256>> {
    lines
        .map(|line| {
            let hash: [u8; 32] = STANDARD.decode(line).unwrap().try_into().unwrap();
            hash.into()
        })
        .collect()
}

/// Drops the triggers that protect the log's tables, as a caller with full access to the database can.
pub async fn unlock(world: &World) {
    let (lite, postgres): (&[&str], &[&str]) = (
        &[
            "DROP TRIGGER audit_events_begun",
            "DROP TRIGGER audit_events_kept",
            "DROP TRIGGER audit_events_fixed",
            "DROP TRIGGER audit_events_placed",
            "DROP TRIGGER audit_events_committed",
            "DROP TRIGGER audit_events_told",
            "DROP TRIGGER log_tree_kept",
            "DROP TRIGGER log_tree_grows",
            "DROP TRIGGER log_hashes_kept",
            "DROP TRIGGER log_hashes_fixed",
            "DROP TRIGGER log_checkpoints_kept",
            "DROP TRIGGER log_checkpoints_grow",
        ],
        &["DROP FUNCTION log_refuse CASCADE"],
    );
    for sql in if world.app.db.writes_alone() { lite } else { postgres } {
        world.exec(sql).await;
    }
}
