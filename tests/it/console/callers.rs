//! Every page as five callers: the platform, an owner, a member, the owner of another organization,
//! and a browser that is not signed in.

use axum::http::Method;
use cp_server::kernel::http::line::{BASE, Line};

use super::generated::{form_of, lines};
use super::{Browser, platform, sound};
use crate::sweep::examples::prepare;
use crate::world::{Answer, Client, World, on_both};

const CALLERS: [&str; 5] = ["platform", "owner", "member", "stranger", "visitor"];

async fn callers(world: &World) -> [Client; 5] {
    [
        world.root(),
        world.person("auth0|olga-acme"),
        world.member("member").await,
        world.person("auth0|olga-globex"),
        world.anyone(),
    ]
}

/// Asserts the status of a page, and that the page is one.
#[track_caller]
fn assert_page(answer: &Answer, status: u16, who: &str, path: &str) {
    assert_eq!(answer.status, status, "{who}, {path}: {}", answer.text());
    if status == 303 {
        assert!(answer.header("location").starts_with("/console"), "{who}, {path}");
    } else {
        sound(answer, status);
    }
}

/// The page of a read has the status that the API returns for it.
#[on_both]
async fn pages_admit_the_callers_of_their_reads(world: World) {
    let callers = callers(&world).await;
    for line in lines().filter(Line::reads) {
        let _server = prepare(&world, &line).await;
        let path = world.path_of(&line);
        let below = path.strip_prefix(BASE).unwrap();
        for (who, client) in CALLERS.iter().zip(&callers) {
            let status = client.call(Method::GET, &path, None).await.status;
            let answer = Browser::new(client.clone()).get(below).await;
            if *who == "visitor" {
                assert_page(&answer, 303, who, below);
                let sign_in = answer.header("location");
                assert!(sign_in.starts_with("/console/sign-in?return_to="), "{below}: {sign_in}");
                continue;
            }
            match status {
                // Parameters are missing: the page asks for them, or shows the refusal.
                400 | 422 => assert!([200, 404, 422].contains(&answer.status), "{who}, {below}"),
                status => assert_page(&answer, status, who, below),
            }
        }
    }
}

/// The form of a change is a page for callers that see its thing. To others it is missing, or not
/// permitted.
#[on_both]
async fn forms_admit_no_stranger(world: World) {
    let callers = callers(&world).await;
    for line in lines().filter(|line| !line.reads()) {
        let Some(path) = form_of(&world, &line).await else { continue };
        for (who, client) in CALLERS.iter().zip(&callers) {
            let answer = Browser::new(client.clone()).get(&path).await;
            match *who {
                "visitor" => assert_page(&answer, 303, who, &path),
                "platform" => assert_page(&answer, 200, who, &path),
                _ => assert!([200, 403, 404].contains(&answer.status), "{who}, {path}"),
            }
            let is_foreign = *who == "stranger" && is_of_acme(&world, &path);
            if is_foreign && answer.status == 200 {
                let text = answer.text();
                let shown = ["Acme", "acme"].iter().any(|name| text.contains(name));
                assert!(!shown, "{path} shows a stranger the organization: {text}");
            }
        }
    }
}

fn is_of_acme(world: &World, path: &str) -> bool {
    let ids = [&world.acme.org, &world.acme.license, &world.acme.deployment];
    ids.iter().any(|id| path.contains(id.as_str()))
}

/// The pages that are no path of the API.
#[on_both]
async fn other_pages_admit_their_callers(world: World) {
    let callers = callers(&world).await;
    let org = format!("/organizations/{}", world.acme.org);
    let pages: [(&str, [u16; 5]); 9] = [
        ("", [200, 303, 303, 303, 303]),
        ("/all", [200, 200, 200, 200, 303]),
        ("/inspect", [200, 200, 200, 200, 303]),
        ("/search", [200, 200, 200, 200, 303]),
        ("/setup", [200, 403, 403, 403, 303]),
        ("/sign-in", [200, 200, 200, 200, 200]),
        (&format!("{org}/suspend"), [200, 403, 403, 404, 303]),
        (&format!("{org}/reactivate"), [200, 403, 403, 404, 303]),
        ("/nothing/here", [404, 404, 404, 404, 303]),
    ];
    for (path, statuses) in pages {
        for ((who, client), status) in CALLERS.iter().zip(&callers).zip(statuses) {
            let answer = Browser::new(client.clone()).get(path).await;
            assert_page(&answer, status, who, path);
        }
    }
    // A foreign thing and a missing one are the same page.
    let stranger = Browser::new(callers[3].clone());
    let text = async |path: &str| {
        let page = sound(&stranger.get(path).await, 404);
        page.split("<main").nth(1).unwrap().split("Code ").next().unwrap().to_owned()
    };
    let missing = "/licenses/01900000-0000-7000-8000-000000000000";
    assert_eq!(text(&format!("/licenses/{}", world.acme.license)).await, text(missing).await);
}

#[on_both]
async fn customer_has_no_link_to_what_only_the_platform_reads(world: World) {
    let org = format!("/organizations/{}", world.acme.org);
    let pages = [org.clone(), format!("{org}/audit"), format!("/licenses/{}", world.acme.license)];
    for path in pages {
        let page = sound(&platform(&world).get(&path).await, 200);
        assert!(page.contains("/audit/0"), "{path}: {page}");
        let owner = Browser::new(world.person("auth0|olga-acme"));
        let page = sound(&owner.get(&path).await, 200);
        assert!(!page.contains("/audit/0"), "{path}: {page}");
    }
}
