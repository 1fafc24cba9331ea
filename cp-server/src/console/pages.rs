//! The pages by hand.

mod start;

use super::view::Pages;

/// Adds the pages.
pub(super) fn all(pages: &mut Pages) {
    start::pages(pages);
}
