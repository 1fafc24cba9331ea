//! The pages by hand.

mod access;
mod audit;
mod budgets;
mod bulk;
mod customers;
mod effective;
mod inspect;
mod invitation;
mod keys;
#[cfg(debug_assertions)]
mod kit;
mod license_lists;
mod licenses;
mod log;
mod me;
mod organizations;
mod overview;
mod people;
mod plans;
mod search;
mod seats;
mod setup;
mod start;
mod suspension;
mod tokens;
mod usage;
mod webhooks;

use super::view::Pages;

/// Adds the pages.
pub(super) fn all(pages: &mut Pages) {
    start::pages(pages);
    search::pages(pages);
    organizations::pages(pages);
    customers::pages(pages);
    licenses::pages(pages);
    license_lists::pages(pages);
    keys::pages(pages);
    audit::pages(pages);
    log::pages(pages);
    inspect::pages(pages);
    setup::pages(pages);
    suspension::pages(pages);
    usage::pages(pages);
    seats::pages(pages);
    effective::pages(pages);
    budgets::pages(pages);
    webhooks::pages(pages);
    people::pages(pages);
    access::pages(pages);
    invitation::pages(pages);
    tokens::pages(pages);
    plans::pages(pages);
    bulk::pages(pages);
    me::pages(pages);
    #[cfg(debug_assertions)]
    kit::pages(pages);
}
