//! The attribute of the tests that run on both databases.

use proc_macro::TokenStream;
use quote::quote;
use syn::{ItemFn, parse_macro_input};

/// Runs `async fn name(world: World)` as two tests: `name::sqlite` and `name::postgres`.
///
/// The function stays as it is written, so that rustfmt, editors and the compiler's messages see
/// a function. The tests are in a module of the same name, which is another namespace.
#[proc_macro_attribute]
pub fn on_both(_: TokenStream, function: TokenStream) -> TokenStream {
    let function = parse_macro_input!(function as ItemFn);
    let name = &function.sig.ident;
    quote! {
        #function

        mod #name {
            use crate::world::World;

            #[tokio::test]
            async fn sqlite() {
                super::#name(World::on_sqlite().await).await;
            }

            #[tokio::test]
            async fn postgres() {
                if let Some(world) = World::on_postgres().await {
                    super::#name(world).await;
                }
            }
        }
    }
    .into()
}
