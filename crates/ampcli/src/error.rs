//! The error of a failed command, which ampcli prints after `[ampcli] `.

use tonic::{Code, Status};

/// The error of a failed command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// An error status from the node, in lncli's format, which scripts match on.
    #[error("rpc error: code = {} desc = {}", code_name(.0.code()), .0.message())]
    Rpc(Box<Status>),
    /// An error of ampcli itself.
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

/// Returns an error with this text.
pub(crate) fn error<T>(text: impl Into<String>) -> Result<T, CliError> {
    Err(CliError::Text(text.into()))
}

/// Returns the name of a gRPC code as in Go.
fn code_name(code: Code) -> String {
    match code {
        Code::Ok => "OK".to_owned(),
        Code::Cancelled => "Canceled".to_owned(),
        other => format!("{other:?}"),
    }
}
