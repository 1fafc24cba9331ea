//! The objects of an organization's products, and the people and places that may use them.

pub mod bindings;
pub mod effective;
pub mod ids;
pub mod marketplace;
pub mod resources;
