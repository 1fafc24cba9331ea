//! The Merkle tree of RFC 6962 §2.1: the root that a proof leads to.

use crate::crypto::sha256;

/// A node of the tree.
pub(crate) type Hash = [u8; 32];

/// The maximum number of nodes in a proof, which is the maximum depth of a tree.
pub(crate) const MAX_PATH: usize = 63;

/// Returns the hash of an entry.
pub(crate) fn leaf_hash(entry: &[u8]) -> Hash {
    sha256(&[&[0], entry])
}

fn node(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// Computes the root of a tree of `size` entries from the entry at `index` and its path (RFC 9162
/// §2.1.3.2). Returns `None` when the path does not fit the tree.
pub(crate) fn root_of(entry: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    let mut last = size.checked_sub(1).filter(|last| index <= *last)?;
    let mut at = index;
    let mut hash = entry;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            up_to_the_right(&mut at, &mut last);
        } else {
            hash = node(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// Returns whether a proof shows that a tree begins with all entries of an older one (RFC 9162
/// §2.1.4.2).
pub(crate) fn extends(old: (u64, &Hash), new: (u64, &Hash), path: &[Hash]) -> bool {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size == new_size {
        return path.is_empty() && old_root == new_root;
    }
    if old_size == 0 {
        // Every tree extends the empty one, which has one root.
        return path.is_empty() && *old_root == sha256(&[]);
    }
    grown(old, new, path) == Some((*old_root, *new_root))
}

/// Computes the roots of both trees from a consistency proof.
fn grown(old: (u64, &Hash), new: (u64, &Hash), path: &[Hash]) -> Option<(Hash, Hash)> {
    let mut at = old.0.checked_sub(1)?;
    let mut last = new.0.checked_sub(1).filter(|last| at < *last)?;
    let mut path = path.iter();
    // A tree of 2^k entries is a node of every longer tree, so its root replaces the first hash.
    let first = if old.0.is_power_of_two() { old.1 } else { path.next()? };
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            old_hash = node(sibling, &old_hash);
            new_hash = node(sibling, &new_hash);
            up_to_the_right(&mut at, &mut last);
        } else {
            new_hash = node(&new_hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some((old_hash, new_hash))
}

/// Skips the levels at which the rightmost node has no sibling.
fn up_to_the_right(at: &mut u64, last: &mut u64) {
    while *at & 1 == 0 && *at != 0 {
        *at >>= 1;
        *last >>= 1;
    }
}
