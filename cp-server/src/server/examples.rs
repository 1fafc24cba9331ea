//! Examples of requests and answers, as the tests' world has them.

use std::sync::LazyLock;

use serde_json::Value;

/// The request and the answer of each operation, by its name. A test writes the file.
pub static EXAMPLES: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("examples.json")).unwrap_or_default());
