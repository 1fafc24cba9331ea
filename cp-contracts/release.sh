#!/bin/sh
# Checks that cp-contracts can be released as it stands, and says which tag to set. Changes nothing.
set -eu
cd "$(dirname "$0")/.."

fail() { echo "release: $1" >&2; exit 1; }

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' cp-contracts/Cargo.toml | head -n 1)
tag="contracts-v$version"

grep -q "^## $version\$" cp-contracts/CHANGELOG.md || fail "CHANGELOG.md has no section '## $version'"
[ -d "cp-contracts/golden/$version" ] || fail "golden/$version is missing"
grep -q "^cp-contracts = .*version = \"$version\"" Cargo.toml || fail "Cargo.toml depends on another version of cp-contracts"
git rev-parse -q --verify "refs/tags/$tag" >/dev/null && fail "the tag $tag exists: bump the version"
[ -z "$(git status --porcelain -- cp-contracts)" ] || fail "cp-contracts has uncommitted changes"

# Documents of released versions are evidence: they may be added, never edited.
for released in $(git tag --list 'contracts-v*'); do
    git diff --quiet "$released" HEAD -- "cp-contracts/golden/${released#contracts-v}" \
        || fail "golden/${released#contracts-v} differs from its release"
done

cargo test -p cp-contracts --all-features
cargo publish --dry-run -p cp-contracts

echo "ready: git tag -s $tag -m 'cp-contracts $version' && git push origin $tag && cargo publish -p cp-contracts"
