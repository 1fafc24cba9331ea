//! The icons: strokes of 16 pixels, by name.

/// The name and the path of each icon.
pub(super) const ALL: [(&str, &str); 27] = [
    (
        "home",
        "M2.5 7.2 8 2.5l5.5 4.7V13a.8.8 0 0 1-.8.8H3.3a.8.8 0 0 1-.8-.8zM6.3 13.6V9.3h3.4v4.3",
    ),
    (
        "building",
        "M3 13.5V3.3c0-.4.4-.8.8-.8h5c.4 0 .7.4.7.8v10.2M9.5 6.5h2.8c.4 0 .7.3.7.7v6.3M2 13.5h12M5.3 5.3h2M5.3 8h2M5.3 10.7h2",
    ),
    ("license", "M3.2 2.5h9.6v7.2H3.2zM5.6 5h4.8M5.6 7.2h2.6M9.2 9.7v4l1.5-1 1.5 1v-4"),
    ("server", "M3 2.8h10v4H3zM3 9.2h10v4H3zM5.3 4.8h.1M5.3 11.2h.1"),
    ("layers", "M8 2 14 5 8 8 2 5zM2.4 8 8 10.8 13.6 8M2.4 11 8 13.8 13.6 11"),
    (
        "people",
        "M6 7.6a2.4 2.4 0 1 0 0-4.8 2.4 2.4 0 0 0 0 4.8zM1.8 13.4c.2-2.5 1.9-4 4.2-4s4 1.5 4.2 4M10.6 3.1a2.3 2.3 0 0 1 0 4.3M12 9.8c1.3.6 2.1 1.9 2.2 3.6",
    ),
    ("chart", "M2.5 13.5h11M4.2 11V8M7.4 11V4.5M10.6 11V6.5M13 11V3"),
    ("token", "M2.5 5.5h11v5h-11zM5 8h.1M8 8h.1M11 8h.1"),
    (
        "key",
        "M10.6 2.2a3.2 3.2 0 1 0 0 6.4 3.2 3.2 0 0 0 0-6.4zM8.3 7.7 2.5 13.5M4.6 11.4l1.7 1.7M6.6 9.4l1.2 1.2",
    ),
    ("log", "M3 3h10M3 6.4h10M3 9.8h5M10 11.6l1.4 1.4 2.6-2.8"),
    (
        "settings",
        "M8 5.8a2.2 2.2 0 1 0 0 4.4 2.2 2.2 0 0 0 0-4.4zM8 1.8v1.7M8 12.5v1.7M1.8 8h1.7M12.5 8h1.7M3.6 3.6l1.2 1.2M11.2 11.2l1.2 1.2M3.6 12.4l1.2-1.2M11.2 4.8l1.2-1.2",
    ),
    ("menu", "M2.5 4.5h11M2.5 8h11M2.5 11.5h11"),
    ("down", "M3.5 6 8 10.5 12.5 6"),
    ("right", "M6 3.5 10.5 8 6 12.5"),
    ("find", "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.4 10.4l3.3 3.3"),
    ("copy", "M5.5 5.5h8v8h-8zM3.5 10.5h-1v-8h8v1"),
    ("more", "M3.5 8h.1M8 8h.1M12.5 8h.1"),
    ("plus", "M8 3v10M3 8h10"),
    ("check", "M3 8.6 6.3 12 13 4.5"),
    ("cross", "M4 4l8 8M12 4l-8 8"),
    ("warn", "M8 2.5 14.2 13H1.8zM8 6.5v3M8 11.3h.1"),
    ("pause", "M5.5 3.5v9M10.5 3.5v9"),
    ("play", "M5 3.2 12.5 8 5 12.8z"),
    ("edit", "M3 13l.6-2.8L10.8 3 13 5.2 5.8 12.4z"),
    ("clock", "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 5v3.2l2.2 1.3"),
    (
        "shield",
        "M8 1.9 13 3.8v3.7c0 3.2-2.1 5.4-5 6.6-2.9-1.2-5-3.4-5-6.6V3.8zM5.7 7.9 7.4 9.6 10.5 6.3",
    ),
    ("file", "M4 2h5l3.5 3.5V14H4zM9 2v3.5h3.5M8 7.5v4M6.3 10 8 11.7 9.7 10"),
];

/// The mark of the product.
pub(super) const SEAL: &str = "<svg class=\"seal\" viewBox=\"0 0 26 26\" aria-hidden=\"true\" \
    fill=\"none\" stroke=\"currentColor\"><path stroke-width=\"1.6\" stroke-linejoin=\"round\" \
    d=\"M13 1.7l2.7 2 3.4-.1 1 3.2 2.7 2-1.1 3.2 1.1 3.2-2.7 2-1 3.2-3.4-.1-2.7 2-2.7-2-3.4.1-1-3.2\
    -2.7-2L4.3 12 3.2 8.8l2.7-2 1-3.2 3.4.1z\" transform=\"translate(0 1)\"/><path \
    stroke-width=\"2\" stroke-linecap=\"round\" stroke-linejoin=\"round\" \
    d=\"M9 13.3l2.8 2.8 5.3-5.8\"/></svg>";

/// The icon of the browser's tab.
pub(super) const FAVICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 26 26\" \
    fill=\"none\" stroke=\"#5557e0\"><path stroke-width=\"2\" stroke-linejoin=\"round\" \
    d=\"M13 1.7l2.7 2 3.4-.1 1 3.2 2.7 2-1.1 3.2 1.1 3.2-2.7 2-1 3.2-3.4-.1-2.7 2-2.7-2-3.4.1-1-3.2\
    -2.7-2L4.3 12 3.2 8.8l2.7-2 1-3.2 3.4.1z\" transform=\"translate(0 1)\"/><path \
    stroke-width=\"2.6\" stroke-linecap=\"round\" stroke-linejoin=\"round\" \
    d=\"M9 13.3l2.8 2.8 5.3-5.8\"/></svg>";

/// Returns the icon of a collection, by the last segment of its path.
pub(super) fn of(segment: &str) -> &'static str {
    match segment {
        "organizations" | "workspaces" | "projects" => "building",
        "licenses" | "entitlements" => "license",
        "deployments" | "webhooks" | "identity-providers" => "server",
        "subscriptions" | "plans" | "groups" | "resources" | "artifacts" => "layers",
        "users" | "memberships" | "members" | "invitations" | "leases" | "pools" => "people",
        "usage" | "limits" | "quotas" | "budgets" | "costs" => "chart",
        "bundles" | "service-tokens" => "token",
        "keys" | "secret-refs" | "license-keys" => "key",
        "audit" | "events" => "log",
        _ => "layers",
    }
}
