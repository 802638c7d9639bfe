//! Any bytes as an AMP record, an MPP record and a truncated integer: what is accepted encodes to the same
//! bytes.
#![no_main]

use ldk_amp::{AmpRecord, MppRecord, tu64};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = AmpRecord::decode(bytes) {
        let encoded = record.encode();
        assert!(encoded.len() <= AmpRecord::MAX_LEN);
        assert!(*encoded == bytes);
    }
    if let Ok(record) = MppRecord::decode(bytes) {
        assert!(record.encode() == bytes);
    }
    if let Ok(number) = tu64::decode_u64(bytes) {
        assert_eq!(tu64::encode(number), bytes);
        assert_eq!(tu64::decode_u32(bytes).ok(), u32::try_from(number).ok());
    }
});
