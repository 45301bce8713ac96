//! The contract's page names every flag that there is, and none that there is not.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context, ensure};

const PAGE: &str = include_str!("../../docs/contract.md");
const COMMANDS: [&[&str]; 9] = [
    &["standalone"],
    &["admin"],
    &["ingest"],
    &["encoder"],
    &["watch"],
    &["swarm"],
    &["demo"],
    &["sim", "run"],
    &["pki", "init"],
];

/// The flags that lines begin with, and `--help` apart.
fn flags<'a>(lines: impl Iterator<Item = &'a str>, before: &str) -> BTreeSet<&'a str> {
    lines
        .filter_map(|line| line.trim_start().strip_prefix(before))
        .filter_map(|rest| rest.split([' ', '`']).next())
        .filter(|flag| flag.starts_with("--"))
        .collect()
}

fn section<'a>(command: &[&str]) -> anyhow::Result<&'a str> {
    let title = format!("## livestation {}", command.join(" "));
    let start = PAGE.find(&title).with_context(|| title.clone())?;
    let rest = &PAGE[start + title.len()..];
    Ok(rest.split("\n## ").next().unwrap_or(rest))
}

#[test]
fn the_page_and_the_program_name_the_same_flags() -> anyhow::Result<()> {
    for command in COMMANDS {
        let output = Command::new(env!("CARGO_BIN_EXE_livestation"))
            .args(command)
            .arg("-h")
            .output()?;
        let help = String::from_utf8(output.stdout)?;
        // Examples name flags of other commands too.
        let help = help.split("\nExample").next().unwrap_or_default();
        let program: BTreeSet<&str> = flags(help.lines(), "");
        let page = flags(section(command)?.lines(), "| `");
        ensure!(!program.is_empty(), "{command:?} has no flags");
        ensure!(
            program == page,
            "{command:?}: {:?}",
            program.symmetric_difference(&page)
        );
    }
    Ok(())
}

#[test]
fn the_page_names_every_exit_code() {
    for code in 0..=5 {
        assert!(PAGE.contains(&format!("\n| {code} | ")));
    }
}
