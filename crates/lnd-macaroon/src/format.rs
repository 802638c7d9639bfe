//! The binary format, version 2 of libmacaroons: fields of type, length and value, in sections that end
//! with a zero byte.

/// Maximum length of an encoded macaroon; lnd's are far smaller.
const MAX_BYTES: usize = 64 * 1024;
const VERSION: u8 = 2;

const END_OF_SECTION: u8 = 0;
const LOCATION: u8 = 1;
const IDENTIFIER: u8 = 2;
const VERIFICATION_ID: u8 = 4;
const SIGNATURE: u8 = 6;

/// The fields of a macaroon in the binary format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    pub location: Option<Vec<u8>>,
    pub id: Vec<u8>,
    pub caveats: Vec<Vec<u8>>,
    pub signature: [u8; 32],
}

/// The bytes are not a valid macaroon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The text is lnd's, because clients match on it.
    #[error("cannot determine data format of binary-encoded macaroon")]
    UnknownVersion,
    /// Larger than any real macaroon; the length in bytes.
    #[error("the macaroon has {0} bytes, more than the maximum of {MAX_BYTES}")]
    TooLong(usize),
    /// The bytes end within a field.
    #[error("the macaroon is truncated")]
    CutOff,
    /// A field of an unexpected type.
    #[error("the macaroon has an unexpected field of type {0}")]
    Field(u8),
    /// A length that is not a valid number.
    #[error("the macaroon has a field length that is not a valid varint")]
    Length,
    /// A caveat that a third party must discharge.
    #[error("the macaroon has a third-party caveat, which is not supported")]
    ThirdParty,
    /// A signature of the wrong length, in bytes.
    #[error("the macaroon's signature has {0} bytes instead of 32")]
    Signature(usize),
    /// Bytes after the signature.
    #[error("the macaroon is followed by {0} extra bytes")]
    Trailing(usize),
}

impl Parts {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        if let Some(location) = &self.location {
            put(&mut bytes, LOCATION, location);
        }
        put(&mut bytes, IDENTIFIER, &self.id);
        bytes.push(END_OF_SECTION);
        for caveat in &self.caveats {
            put(&mut bytes, IDENTIFIER, caveat);
            bytes.push(END_OF_SECTION);
        }
        bytes.push(END_OF_SECTION);
        put(&mut bytes, SIGNATURE, &self.signature);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() > MAX_BYTES {
            return Err(FormatError::TooLong(bytes.len()));
        }
        let [VERSION, rest @ ..] = bytes else {
            return Err(FormatError::UnknownVersion);
        };
        let mut reader = Reader(rest);
        let (location, id) = reader.head()?;
        let mut caveats = Vec::new();
        while !reader.ends_section() {
            // First-party caveats have no location; some implementations write an empty one.
            let (_, caveat) = reader.head()?;
            caveats.push(caveat);
        }
        let signature = reader.field(SIGNATURE)?;
        match reader.0.len() {
            0 => Ok(Self {
                location,
                id,
                caveats,
                signature: signature
                    .try_into()
                    .map_err(|_| FormatError::Signature(signature.len()))?,
            }),
            more => Err(FormatError::Trailing(more)),
        }
    }
}

fn put(bytes: &mut Vec<u8>, field: u8, content: &[u8]) {
    bytes.push(field);
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads a section of an optional location and an identifier.
    fn head(&mut self) -> Result<(Option<Vec<u8>>, Vec<u8>), FormatError> {
        let location = match self.peek()? {
            LOCATION => Some(self.field(LOCATION)?.to_vec()),
            _ => None,
        };
        let id = self.field(IDENTIFIER)?.to_vec();
        match self.byte()? {
            END_OF_SECTION => Ok((location, id)),
            VERIFICATION_ID => Err(FormatError::ThirdParty),
            other => Err(FormatError::Field(other)),
        }
    }

    /// Consumes the end of the section if it follows, and returns whether it did.
    fn ends_section(&mut self) -> bool {
        let ends = self.0.first() == Some(&END_OF_SECTION);
        if ends {
            self.0 = &self.0[1..];
        }
        ends
    }

    fn field(&mut self, wanted: u8) -> Result<&'a [u8], FormatError> {
        match self.byte()? {
            field if field == wanted => {}
            other => return Err(FormatError::Field(other)),
        }
        let length = self.length()?;
        let (content, rest) = self.0.split_at_checked(length).ok_or(FormatError::CutOff)?;
        self.0 = rest;
        Ok(content)
    }

    fn length(&mut self) -> Result<usize, FormatError> {
        let mut length = 0usize;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(length);
            }
        }
        Err(FormatError::Length)
    }

    fn byte(&mut self) -> Result<u8, FormatError> {
        let (&first, rest) = self.0.split_first().ok_or(FormatError::CutOff)?;
        self.0 = rest;
        Ok(first)
    }

    fn peek(&self) -> Result<u8, FormatError> {
        self.0.first().copied().ok_or(FormatError::CutOff)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::test_data;
    use super::*;

    #[test]
    fn rejects_truncated_and_extended_macaroons() {
        for vector in test_data::all() {
            let bytes = &vector.bytes;
            for length in 0..bytes.len() {
                assert!(Parts::decode(&bytes[..length]).is_err(), "{length}");
            }
            let longer = [bytes.as_slice(), &[0]].concat();
            assert_eq!(Parts::decode(&longer), Err(FormatError::Trailing(1)));
        }
    }

    #[test]
    fn reports_why_bytes_are_not_a_macaroon() {
        for bytes in [&[][..], &[1, 2, 3], b"{}", &[0xff; 10]] {
            assert_eq!(Parts::decode(bytes), Err(FormatError::UnknownVersion));
        }
        let long = vec![VERSION; MAX_BYTES + 1];
        assert_eq!(Parts::decode(&long), Err(FormatError::TooLong(65_537)));
        let other = [
            VERSION,
            IDENTIFIER,
            0,
            0,
            IDENTIFIER,
            0,
            VERIFICATION_ID,
            0,
            0,
        ];
        assert_eq!(Parts::decode(&other), Err(FormatError::ThirdParty));
        let endless = [VERSION, IDENTIFIER, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Parts::decode(&endless), Err(FormatError::Length));
        let short = [VERSION, IDENTIFIER, 0, 0, 0, SIGNATURE, 1, 9];
        assert_eq!(Parts::decode(&short), Err(FormatError::Signature(1)));
        let unexpected = [VERSION, IDENTIFIER, 0, 9];
        assert_eq!(Parts::decode(&unexpected), Err(FormatError::Field(9)));
    }

    proptest! {
        #[test]
        fn encoded_macaroons_round_trip(
            location in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
            id in proptest::collection::vec(any::<u8>(), 0..400),
            caveats in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..5),
            signature: [u8; 32],
        ) {
            let parts = Parts { location, id, caveats, signature };
            prop_assert_eq!(Parts::decode(&parts.encode()), Ok(parts));
        }

        #[test]
        fn random_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let with_version = [&[VERSION], bytes.as_slice()].concat();
            for bytes in [&bytes, &with_version] {
                let _ = Parts::decode(bytes);
            }
        }
    }
}
