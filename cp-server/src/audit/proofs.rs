//! Proofs that a leaf is in the tree, and that a tree begins with an older one. A proof has some
//! twenty hashes for a million leaves.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tlog_tiles::{Hash, prove_record, prove_tree};
use uuid::Uuid;

use super::key::Signed;
use super::stored_hashes::proven;
use super::{checkpoints, integrator};
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::journal::store;

/// The first line of a proof (C2SP tlog-proof).
const FORMAT: &str = "c2sp.org/tlog-proof@v1";

/// The proof that a bundle's issuance is in the log.
pub struct Inclusion {
    /// The encoded proof, which contains its checkpoint.
    pub proof: String,
    pub checkpoint: String,
}

/// Returns the proof of a bundle's issuance; `None` while the event waits for its position.
pub async fn of_bundle(app: &App, jti: Uuid) -> Result<Option<Inclusion>> {
    let signed = checkpoints::current(app).await?;
    inclusion(&mut app.db.read(), jti, signed).await
}

/// Returns the proof of an issuance in this transaction, for a response that is sent after the
/// commit.
///
/// The event gets its position immediately, together with all events that wait before it. Returns
/// `None` when too many events wait.
pub async fn in_transaction(app: &App, tx: &mut Conn, jti: Uuid) -> Result<Option<Inclusion>> {
    integrator::place_now(tx).await?;
    let signed = checkpoints::in_transaction(app, tx).await?;
    inclusion(tx, jti, signed).await
}

async fn inclusion(tx: &mut Conn, jti: Uuid, signed: Signed) -> Result<Option<Inclusion>> {
    let found = store::issue_of(tx, jti).await?;
    let (facts, seq) = found.ok_or_else(|| Error::not_found("bundle in the log"))?;
    let Some(seq) = seq else { return Ok(None) };
    let index = u64::try_from(seq).map_err(Error::internal)?;
    if index >= signed.size {
        return Ok(None);
    }
    let path = proven(tx, |hashes| prove_record(signed.size, index, hashes)).await?;
    let leaf = STANDARD.encode(facts.leaf(seq));
    let mut proof = format!("{FORMAT}\nextra {leaf}\nindex {index}\n");
    for hash in path {
        let _ = writeln!(proof, "{hash}");
    }
    proof.push('\n');
    proof.push_str(&signed.note);
    Ok(Some(Inclusion { proof, checkpoint: signed.note }))
}

/// Returns the proof that the tree of `to` leaves begins with that of `from` (RFC 6962, section
/// 2.1.2).
pub async fn consistency(tx: &mut Conn, from: u64, to: u64) -> Result<Vec<Hash>> {
    if from == 0 || from == to {
        return Ok(Vec::new());
    }
    proven(tx, |hashes| prove_tree(to, from, hashes)).await
}
