//! Confirmation prompts.

use std::io::{self, BufRead};

use super::error::{CliError, error};
use super::output::print_text;

/// Asks until the answer is yes or no; end of input means no.
///
/// # Errors
/// With the text `refused` if the answer is no.
pub(crate) fn confirm(question: &str, refused: &str) -> Result<(), CliError> {
    match is_confirmed(question)? {
        true => Ok(()),
        false => error(refused),
    }
}

/// Asks until the answer is yes or no, and returns whether it is yes; end of input means no.
pub(crate) fn is_confirmed(question: &str) -> Result<bool, CliError> {
    loop {
        print_text(question)?;
        let mut answer = String::new();
        let length = io::stdin().lock().read_line(&mut answer)?;
        match answer.trim() {
            "yes" => return Ok(true),
            "no" => return Ok(false),
            _ if length == 0 => return Ok(false),
            _ => print_text("Please answer yes or no.\n")?,
        }
    }
}
