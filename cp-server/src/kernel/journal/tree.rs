//! The Merkle tree (RFC 6962, section 2.1), reduced to what an append needs: its size, and the
//! roots of its complete subtrees.

use anyhow::ensure;
use tlog_tiles::{EMPTY_HASH, HASH_SIZE, Hash, node_hash, stored_hash_index};

/// A tree with `size` leaves.
#[derive(Clone, Debug)]
pub struct Tree {
    pub size: u64,
    /// The roots of the complete subtrees, the largest first: one for each bit of the size.
    peaks: Vec<Hash>,
}

impl Tree {
    pub fn empty() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    pub fn read(size: i64, peaks: &[u8]) -> anyhow::Result<Self> {
        let size = u64::try_from(size)?;
        let wanted = usize::try_from(size.count_ones())? * HASH_SIZE;
        ensure!(
            peaks.len() == wanted,
            "log_tree.peaks has {} bytes; a tree of {size} leaves needs {wanted}",
            peaks.len()
        );
        let peaks = peaks.chunks_exact(HASH_SIZE).map(hash_of).collect::<Result<_, _>>()?;
        Ok(Self { size, peaks })
    }

    pub fn peaks(&self) -> Vec<u8> {
        self.peaks.iter().flat_map(|peak| peak.0).collect()
    }

    /// Appends a leaf. Returns the new hashes and the index at which the first one is stored.
    pub fn append(&mut self, leaf: Hash) -> (u64, Vec<Hash>) {
        let first = stored_hash_index(0, self.size);
        let (mut new, mut hash) = (vec![leaf], leaf);
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(left, hash);
                new.push(hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
        (first, new)
    }

    pub fn root(&self) -> Hash {
        let mut from_the_right = self.peaks.iter().rev();
        let Some(last) = from_the_right.next() else { return EMPTY_HASH };
        from_the_right.fold(*last, |right, left| node_hash(*left, right))
    }
}

pub fn hash_of(bytes: &[u8]) -> anyhow::Result<Hash> {
    let bytes: [u8; HASH_SIZE] = bytes.try_into()?;
    Ok(Hash(bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tlog_tiles::{Error, HashReader, record_hash, tree_hash};

    use super::*;

    struct Stored(HashMap<u64, Hash>);

    impl HashReader for Stored {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
            Ok(indexes.iter().map(|index| self.0[index]).collect())
        }
    }

    #[test]
    fn every_size_has_the_root_of_rfc_6962() {
        let (mut tree, mut stored) = (Tree::empty(), Stored(HashMap::new()));
        for n in 0..600_u64 {
            assert_eq!(tree.root(), tree_hash(n, &stored).unwrap(), "{n} leaves");
            let (first, new) = tree.append(record_hash(&n.to_be_bytes()));
            stored.0.extend((first..).zip(new));
            let size = i64::try_from(tree.size).unwrap();
            assert_eq!(Tree::read(size, &tree.peaks()).unwrap().root(), tree.root());
        }
        assert!(Tree::read(3, &[0; 32]).is_err(), "three leaves have two peaks");
    }
}
