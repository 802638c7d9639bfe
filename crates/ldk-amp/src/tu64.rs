//! Truncated integers (`tu32` and `tu64` of BOLT 1): big-endian numbers without leading zero bytes.
//!
//! Onion payloads use them for amounts, expiries and the child index. Zero is the empty string.

/// The bytes are not a valid truncated integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TruncatedError {
    /// There are more bytes than the type has.
    TooLong,
    /// There is a leading zero byte.
    NotMinimal,
}

/// Encodes a number in its shortest form; zero has no bytes.
pub fn encode(number: u64) -> Vec<u8> {
    number
        .to_be_bytes()
        .into_iter()
        .skip_while(|byte| *byte == 0)
        .collect()
}

/// Decodes a `tu64`.
///
/// # Errors
/// If there are more than 8 bytes, or a leading zero byte.
pub fn decode_u64(value: &[u8]) -> Result<u64, TruncatedError> {
    decode(value, size_of::<u64>())
}

/// Decodes a `tu32`.
///
/// # Errors
/// If there are more than 4 bytes, or a leading zero byte.
pub fn decode_u32(value: &[u8]) -> Result<u32, TruncatedError> {
    let number = decode(value, size_of::<u32>())?;
    u32::try_from(number).map_err(|_| TruncatedError::TooLong)
}

fn decode(value: &[u8], max_len: usize) -> Result<u64, TruncatedError> {
    if value.len() > max_len {
        return Err(TruncatedError::TooLong);
    }
    if value.first() == Some(&0) {
        return Err(TruncatedError::NotMinimal);
    }
    Ok(value
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_numbers_minimally() {
        let numbers = [
            0,
            1,
            0xff,
            0x100,
            0xff_ffff,
            u32::MAX.into(),
            1 << 32,
            u64::MAX,
        ];
        for (number, length) in numbers.into_iter().zip([0, 1, 1, 2, 3, 4, 5, 8]) {
            assert_eq!(encode(number).len(), length, "{number}");
            assert_eq!(decode_u64(&encode(number)), Ok(number));
        }
    }

    #[test]
    fn rejects_long_and_padded_numbers() {
        assert_eq!(decode_u64(&[1; 9]), Err(TruncatedError::TooLong));
        assert_eq!(decode_u64(&[0]), Err(TruncatedError::NotMinimal));
        assert_eq!(decode_u32(&[1; 5]), Err(TruncatedError::TooLong));
        assert_eq!(decode_u32(&[0; 5]), Err(TruncatedError::TooLong));
        assert_eq!(decode_u32(&[0, 1]), Err(TruncatedError::NotMinimal));
        assert_eq!(decode_u32(&[0xff; 4]), Ok(u32::MAX));
    }
}
