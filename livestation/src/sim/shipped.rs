//! The scenarios that come with the program.

use std::fmt::Write as _;

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../overlay/sim/scenarios/", $name, ".toml")))),*]
    };
}

/// Name and text.
const SHIPPED: [(&str, &str); 17] = shipped![
    "steady",
    "churn",
    "event-churn",
    "cruel-churn",
    "flash-crowd",
    "kill-20",
    "kill-25",
    "kill-50",
    "scarce",
    "lossy",
    "partition",
    "tracker-down",
    "free-riders-50",
    "polluters-30",
    "hd",
    "uhd",
    "radio",
];

/// The file of this name.
pub(super) fn text(name: &str) -> Option<&'static str> {
    let found = SHIPPED.iter().find(|(other, _)| *other == name)?;
    Some(found.1)
}

/// All of them with the first sentence about each.
pub(super) fn list() -> String {
    let mut list = String::new();
    for (name, text) in SHIPPED {
        let about = super::file::read(text, &[]).map(|(about, _)| about);
        let about = about.unwrap_or_default().replace('\n', " ");
        let first = about.split(". ").next().unwrap_or_default();
        let first = first.trim().trim_end_matches('.');
        let _ = writeln!(list, "  {name:<15} {first}");
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_them_can_be_read() {
        for (name, text) in SHIPPED {
            let (about, scenario) = super::super::file::read(text, &[]).expect(name);
            assert!(about.len() > 40 && scenario.peers >= 100, "{name}");
        }
        assert_eq!(list().lines().count(), SHIPPED.len());
    }
}
