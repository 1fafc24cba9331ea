//! The security bar (i: the issuer must, s: the server must): each test bears the number of its line. Those of single functions
//! stand beside their code, those of the whole process in the server's own `tests/process.rs`.

mod canaries;
mod connections;
mod http;
mod inputs;
mod issuer;
mod keys;
mod panics;
mod problem_pages;
mod rates;
mod replicas;
mod storage;
mod streams;
mod tls;
