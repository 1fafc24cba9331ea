use axum::http::Method;
use cp_contracts::ProblemCode;

use crate::world::{Client, World, on_both};

async fn page(client: &Client, path: &str) -> String {
    let page = client.call(Method::GET, path, None).await;
    assert_eq!(page.status, 200, "{path}: {}", page.text());
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    page.text()
}

#[on_both]
async fn the_type_of_each_problem_leads_to_its_page(world: World) {
    let list = page(&world.anyone(), "/problems").await;
    for code in ProblemCode::ALL {
        let path = format!("/problems/{code}");
        assert!(list.contains(&format!("<a href=\"{path}\">")), "{code}");
        let page = page(&world.anyone(), &path).await;
        assert!(page.contains(&format!("<h1>{}</h1>", code.title())), "{code}: {page}");
        let (_, text) = page.split_once("</div><p>").unwrap_or_else(|| panic!("{code}: {page}"));
        assert!(!text.contains("](") && !text.contains("###"), "{code}: {text}");
    }
    world.anyone().call(Method::GET, "/problems/other", None).await.refused(404, "not_found");
}

#[on_both]
async fn behind_a_path_the_type_leads_there_too(world: World) {
    let (_, client) =
        world.server(|settings| settings.shared.base_url = "https://x.example/licenses".to_owned());
    let refused = client.call(Method::GET, "/api/v1/nothing", None).await.expect(404);
    assert_eq!(refused["type"], "/licenses/problems/not_found");
    // The proxy strips the path.
    let page = page(&client, "/problems/not_found").await;
    assert!(page.contains("<a href=\"/licenses/problems\">all problem codes</a>"), "{page}");
}
