//! The pages by hand.

mod audit;
mod keys;
mod licenses;
mod organizations;
mod overview;
mod search;
mod start;

use super::view::Pages;

/// Adds the pages.
pub(super) fn all(pages: &mut Pages) {
    start::pages(pages);
    search::pages(pages);
    organizations::pages(pages);
    licenses::pages(pages);
    keys::pages(pages);
    audit::pages(pages);
}
