//! `pelton completions` and `pelton man`: shell completions and the man page.

use std::io::{self, Write};

use anyhow::Context;
use clap::CommandFactory;

use crate::args::Arguments;
use crate::args::completions::CompletionsArgs;
use crate::exit::Failure;

/// Prints a script that completes the command line.
pub(crate) fn completions(arguments: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "pelton", &mut script);
    print(&script);
    Ok(())
}

/// Prints the man page, with a section for each subcommand.
pub(crate) fn man() -> Result<(), Failure> {
    let mut page = Vec::new();
    render_man(&mut page).context("the man page cannot be made").map_err(Failure::Run)?;
    print(&page);
    Ok(())
}

fn render_man(page: &mut Vec<u8>) -> io::Result<()> {
    let mut command = Arguments::command();
    command.build();
    clap_mangen::Man::new(command.clone()).render(page)?;
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let title = format!("pelton {}", subcommand.get_name());
        writeln!(page, ".SH {}", title.to_uppercase())?;
        let man = clap_mangen::Man::new(subcommand.clone());
        man.render_description_section(page)?;
        man.render_synopsis_section(page)?;
        man.render_options_section(page)?;
    }
    Ok(())
}

/// A closed stdout is not an error.
fn print(text: &[u8]) {
    let _ = io::stdout().write_all(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_man_page_names_every_subcommand() {
        let mut page = Vec::new();
        render_man(&mut page).expect("a page");
        let page = String::from_utf8(page).expect("text");
        for name in ["CHECK", "RUN", "DEV", "NEW", "BUILD", "APPLY", "STATUS", "DLQ", "COMPLETIONS"] {
            assert!(page.contains(&format!(".SH PELTON {name}")), "{name}\n{page}");
        }
    }
}
