//! Cross-origin requests (CORS) from browsers.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};

/// The origins that the configuration allows; `*` allows all.
#[derive(Debug, Clone, Default)]
pub struct Origins(pub Vec<String>);

impl Origins {
    /// Adds the CORS headers if the request's origin is allowed.
    pub(super) fn allow(&self, request: &HeaderMap, response: &mut HeaderMap) {
        let Some(allowed) = request.get(ORIGIN).and_then(|origin| self.allowed(origin)) else {
            return;
        };
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        response.insert(VARY, HeaderValue::from_static("Origin"));
        let methods = HeaderValue::from_static("GET, POST, DELETE");
        response.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        let headers = HeaderValue::from_static("Content-Type, Accept, Grpc-Metadata-Macaroon");
        response.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
    }

    fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        let named = |name: &String| name == "*" || origin == name.as_str();
        let name = self.0.iter().find(|name| named(name))?;
        if name == "*" {
            return Some(HeaderValue::from_static("*"));
        }
        Some(origin.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origins: &[&str], origin: &'static str) -> Option<HeaderValue> {
        let origins = Origins(origins.iter().copied().map(str::to_owned).collect());
        let mut request = HeaderMap::new();
        request.insert(ORIGIN, HeaderValue::from_static(origin));
        let mut response = HeaderMap::new();
        origins.allow(&request, &mut response);
        response.remove(ACCESS_CONTROL_ALLOW_ORIGIN)
    }

    #[test]
    fn only_configured_origins_are_allowed() {
        let shop = "https://shop.example";
        assert_eq!(allowed(&[], shop), None);
        assert_eq!(allowed(&["https://other.example"], shop), None);
        assert_eq!(allowed(&[shop], shop).unwrap(), shop);
        assert_eq!(allowed(&["*"], shop).unwrap(), "*");
    }
}
