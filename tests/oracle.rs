//! `oracle_*`: the kernel against the naive model, over random timelines with shrinking, in every mode.

mod harness;

use floodmark_oracle as oracle;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: harness::cases(3000), max_shrink_iters: 3000, ..ProptestConfig::default() })]

    #[test]
    fn oracle_random_timelines(case in oracle::generate::aligned_case()) {
        harness::run(&case).map_err(TestCaseError::fail)?;
    }
}
