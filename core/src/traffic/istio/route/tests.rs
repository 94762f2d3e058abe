use super::*;

#[test]
fn canary_part_is_rounded_and_leaves_something_for_both() {
    let table = [
        (100, 0, 0),
        (100, 1, 1),
        (100, 37, 37),
        (100, 99, 99),
        (100, 100, 100),
        (50, 1, 1),
        (50, 5, 3),
        (50, 99, 49),
        (30, 10, 3),
        (2, 1, 1),
        (2, 99, 1),
        (2, 100, 2),
        (1, 60, 0),
        (1, 100, 1),
        (0, 50, 0),
        (250, 10, 25),
        (i64::MAX, 100, i64::MAX),
    ];
    for (share, percent, part) in table {
        assert_eq!(
            canary_part(share, Weight::saturating(percent)),
            part,
            "{percent} % of {share}"
        );
    }
}

#[test]
fn every_percentage_of_a_scaled_share_is_a_whole_number() {
    let table: [(&[i64], i64, i64); 7] = [
        (&[3], 4, 100),
        (&[40], 100, 5),
        (&[50], 100, 2),
        (&[100], 200, 1),
        (&[30, 70], 100, 10),
        (&[0], 5, 1),
        (&[3], i64::MAX, 1),
    ];
    for (shares, sum, scale) in table {
        assert_eq!(least_scale(shares.iter().copied(), sum), scale, "{shares:?}");
    }
}

#[test]
fn a_large_share_is_split_without_overflow() {
    let half = canary_part(i64::MAX, Weight::saturating(50));
    assert!((i64::MAX / 2 - half).abs() < 100, "{half}");
}
