//! Why a command failed, as ampcli prints it after `[ampcli] `.

use tonic::{Code, Status};

/// A command's failure.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The node refused; in the words that lncli uses, which scripts look for.
    #[error("rpc error: code = {} desc = {}", code_name(.0.code()), .0.message())]
    Rpc(Box<Status>),
    /// Anything that went wrong on our side.
    #[error("{0}")]
    Text(String),
    #[error("cannot print: {0}")]
    Output(#[from] std::io::Error),
    #[error("cannot decode the node's response: {0}")]
    Answer(#[from] prost::DecodeError),
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        CliError::Rpc(Box::new(status))
    }
}

/// An error out of a text.
pub fn error<T>(text: impl Into<String>) -> Result<T, CliError> {
    Err(CliError::Text(text.into()))
}

/// The name of a gRPC code as Go writes it.
fn code_name(code: Code) -> String {
    match code {
        Code::Ok => "OK".to_owned(),
        Code::Cancelled => "Canceled".to_owned(),
        other => format!("{other:?}"),
    }
}
