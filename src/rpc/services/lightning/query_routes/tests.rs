//! QueryRoutes: parameters and results.

use super::*;

fn limit(limit: Limit) -> FeeLimit {
    FeeLimit { limit: Some(limit) }
}

#[test]
fn fee_limits_match_lnd() {
    for (given, amount_msat, limit_msat) in [
        (None, 1_000_000, 1_000_000),
        (None, 1_000_020, 50_001),
        (Some(limit(Limit::Fixed(5))), 1, 5_000),
        (Some(limit(Limit::FixedMsat(5))), 1, 5),
        (Some(limit(Limit::Percent(3))), 1_000, 30),
        (Some(limit(Limit::Fixed(0))), 1_000, 0),
        (Some(limit(Limit::Percent(i64::MAX))), u64::MAX, u64::MAX),
        // A FeeLimit without a value.
        (Some(FeeLimit { limit: None }), 1_000, 1_000),
    ] {
        assert_eq!(
            fee_limit_msat(given.as_ref(), amount_msat).unwrap(),
            limit_msat
        );
    }
    for negative in [Limit::Fixed(-1), Limit::FixedMsat(-1), Limit::Percent(-1)] {
        assert!(fee_limit_msat(Some(&limit(negative)), 1_000).is_err());
    }
}

#[test]
fn cltv_limit_must_exceed_final_delta() {
    assert_eq!(cltv_limit(0, 80).unwrap(), DEFAULT_CLTV_LIMIT);
    assert_eq!(cltv_limit(81, 80).unwrap(), 81);
    let text = |limit| cltv_limit(limit, 80).unwrap_err().message().to_owned();
    assert_eq!(text(80), "cltv limit 80 should be greater than 80");
    assert_eq!(
        text(2017),
        "total time lock of 2017 exceeds max allowed 2016"
    );
}

#[test]
fn rejects_unknown_required_features() {
    assert!(check_features(&[9, 15, 30, 31, 1_001]).is_ok());
    let error = check_features(&[9, 1_000]).unwrap_err();
    assert_eq!(
        error.message(),
        "destination requires feature 1000, which is unknown"
    );
}

#[test]
fn rejects_records_below_the_custom_range() {
    assert!(onion(1_000, &[(65_536, vec![1])].into()).is_ok());
    let error = onion(1_000, &[(14, vec![1])].into()).unwrap_err();
    assert_eq!(
        error.message(),
        "no custom records with types below 65536 allowed"
    );
}
