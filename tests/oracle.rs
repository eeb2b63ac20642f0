//! The kernel against the naive model over random timelines, in all modes.

mod harness;

use floodmark_oracle as oracle;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: harness::cases(800), max_shrink_iters: 3000, ..ProptestConfig::default() })]

    /// One definition of tumbling or sliding windows, which are made of slices.
    #[test]
    fn oracle_random_timelines_of_aligned_windows(case in oracle::generate::aligned_case()) {
        harness::run(&case).map_err(TestCaseError::fail)?;
    }

    /// Any definitions of windows, with any triggers and accumulations.
    #[test]
    fn oracle_random_timelines(case in oracle::generate::case()) {
        harness::run(&case).map_err(TestCaseError::fail)?;
    }
}
