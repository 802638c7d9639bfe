//! Lets through who sends the token.

use tonic::{Request, Status};

use super::token::Token;
use super::{TOKEN_FILE, TOKEN_HEADER};

/// Refuses every call, known or not, that does not bring the token.
#[derive(Debug, Clone)]
pub(super) struct TokenCheck(pub(super) Token);

impl tonic::service::Interceptor for TokenCheck {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let given = request.metadata().get(TOKEN_HEADER);
        match given.map(|value| value.to_str()) {
            Some(Ok(text)) if self.0.matches(text) => Ok(request),
            Some(_) => Err(Status::unauthenticated(format!(
                "wrong token in metadata {TOKEN_HEADER}: it changes with every start of ampd; \
                 read it again from {TOKEN_FILE} in the node's data directory"
            ))),
            None => Err(Status::unauthenticated(format!(
                "metadata {TOKEN_HEADER} is missing: send the hex text from {TOKEN_FILE} in the \
                 node's data directory"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic::service::Interceptor;

    use super::*;

    #[test]
    fn only_the_token_opens_the_door() {
        let directory = tempfile::tempdir().unwrap();
        let mut check = TokenCheck(Token::create(directory.path()).unwrap());
        let call = |text: &str| {
            let mut request = Request::new(());
            let value = text.parse().unwrap();
            request.metadata_mut().insert(TOKEN_HEADER, value);
            request
        };
        let text = std::fs::read_to_string(directory.path().join(TOKEN_FILE)).unwrap();
        assert!(check.call(call(&text)).is_ok());
        for request in [Request::new(()), call("00"), call(&"00".repeat(32))] {
            let status = check.call(request).unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated);
            assert!(status.message().contains(TOKEN_FILE));
        }
    }
}
