//! Environment variables that look like settings but are not.

use clap::Command;

/// The minimum similarity of a name to a suggested one, from 0 to 1.
const ALIKE: f64 = 0.85;

/// Returns the warnings about environment variables that look like settings but are not.
pub fn unknown_variables(command: &Command, names: impl Iterator<Item = String>) -> Vec<String> {
    let known = variables(command);
    let mut unknown: Vec<String> = names
        .filter(|name| name.starts_with("CP_") && !known.contains(name) && !is_kubernetes(name))
        .collect();
    unknown.sort();
    let warning = |name: String| {
        let alike = known.iter().map(|known| (strsim::jaro_winkler(known, &name), known));
        let nearest = alike.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(alike, _)| *alike > ALIKE);
        let meant = nearest.map(|(_, meant)| format!(" Did you mean {meant}?"));
        let text = crate::kernel::text::named(&name);
        format!(
            "The variable {text} is not a setting and has no effect.{}",
            meant.unwrap_or_default()
        )
    };
    unknown.into_iter().map(warning).collect()
}

fn variables(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_env());
    let own = own.map(|name| name.to_string_lossy().into_owned());
    own.chain(command.get_subcommands().flat_map(variables)).collect()
}

/// Whether Kubernetes sets this variable in a pod, for a service whose name begins with `cp-`.
fn is_kubernetes(name: &str) -> bool {
    ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"].iter().any(|end| name.ends_with(end))
        || ["_SERVICE_PORT_", "_TCP"].iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn unknown_variable_is_named_with_the_nearest_setting() {
        let command = Command::new("x")
            .arg(Arg::new("a").env("CP_DATABASE_URL"))
            .subcommand(Command::new("y").arg(Arg::new("b").env("CP_TOKEN")));
        let names = ["CP_TOKEN", "CP_DATABASE", "CP_QQQ", "PATH", "CP_SERVER_SERVICE_HOST"];
        let warnings = unknown_variables(&command, names.map(str::to_owned).into_iter());
        assert_eq!(
            warnings,
            [
                "The variable `CP_DATABASE` is not a setting and has no effect. Did you mean \
                 CP_DATABASE_URL?",
                "The variable `CP_QQQ` is not a setting and has no effect.",
            ]
        );
    }
}
